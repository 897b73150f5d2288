package journal

import (
	"bytes"
	"encoding/json"
	"strconv"

	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
)

// Records are read by hand as well: reading them is most of what a replay costs, and for most of that encoding/json would be to
// blame. A test holds what is read here to what it reads.

// read reads what append has written. Where that is anything else, it is left to encoding/json.
func (r *Record) read(text []byte) error {
	in := reading{text: text}
	in.record(r)
	if in.odd || in.at != len(text) {
		*r = Record{}
		return json.Unmarshal(text, r)
	}
	return nil
}

// reading is JSON as it is written here: without white space. Once it is odd, nothing that is read counts.
type reading struct {
	text []byte
	at   int
	odd  bool
}

// take takes one byte.
func (in *reading) take(c byte) bool {
	if in.at < len(in.text) && in.text[in.at] == c {
		in.at++
		return true
	}
	return false
}

func (in *reading) expect(c byte) {
	if !in.take(c) {
		in.odd = true
	}
}

// members calls of with the key of each member of an object; it has to read the value.
func (in *reading) members(of func(key []byte)) {
	in.expect('{')
	if in.take('}') {
		return
	}
	for !in.odd {
		in.expect('"')
		n := bytes.IndexByte(in.text[in.at:], '"')
		if in.odd || n < 0 {
			in.odd = true
			return
		}
		key := in.text[in.at : in.at+n]
		in.at += n + 1
		in.expect(':')
		of(key)
		if in.take('}') {
			return
		}
		in.expect(',')
	}
}

// value is the next one as it stands.
func (in *reading) value() []byte {
	from, depth := in.at, 0
	for ; in.at < len(in.text); in.at++ {
		switch in.text[in.at] {
		case '"':
			for in.at++; in.at < len(in.text) && in.text[in.at] != '"'; in.at++ {
				if in.text[in.at] == '\\' {
					in.at++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return in.text[from:in.at]
			}
			depth--
		case ',':
			if depth == 0 {
				return in.text[from:in.at]
			}
			continue
		default:
			continue
		}
		if depth == 0 && in.at < len(in.text) {
			in.at++
			return in.text[from:in.at]
		}
	}
	in.odd = true
	return nil
}

// other leaves a value to encoding/json.
func (in *reading) other(into any) {
	if text := in.value(); in.odd || json.Unmarshal(text, into) != nil {
		in.odd = true
	}
}

func (in *reading) string() (s string) {
	if from := in.at + 1; in.take('"') {
		for ; in.at < len(in.text); in.at++ {
			switch c := in.text[in.at]; {
			case c == '"':
				in.at++
				return string(in.text[from : in.at-1])
			case c == '\\' || c < ' ' || c >= 0x7f:
				in.at = from - 1
				in.other(&s)
				return s
			}
		}
	}
	in.odd = true
	return ""
}

// number is the text of one. strconv takes more for numbers than JSON does.
func (in *reading) number() []byte {
	from := in.at
	in.take('-')
	if !in.take('0') {
		in.digits()
	}
	if in.take('.') {
		in.digits()
	}
	if in.take('e') || in.take('E') {
		if !in.take('+') {
			in.take('-')
		}
		in.digits()
	}
	return in.text[from:in.at]
}

// digits passes one or more.
func (in *reading) digits() {
	from := in.at
	for in.at < len(in.text) && '0' <= in.text[in.at] && in.text[in.at] <= '9' {
		in.at++
	}
	in.odd = in.odd || in.at == from
}

func (in *reading) integer() int64 {
	n, err := strconv.ParseInt(string(in.number()), 10, 64)
	in.odd = in.odd || err != nil
	return n
}

func (in *reading) unsigned() uint64 {
	n, err := strconv.ParseUint(string(in.number()), 10, 64)
	in.odd = in.odd || err != nil
	return n
}

func (in *reading) float() float64 {
	f, err := strconv.ParseFloat(string(in.number()), 64)
	in.odd = in.odd || err != nil
	return f
}

func (in *reading) boolean() bool {
	switch rest := in.text[in.at:]; {
	case bytes.HasPrefix(rest, []byte("true")):
		in.at += len("true")
		return true
	case bytes.HasPrefix(rest, []byte("false")):
		in.at += len("false")
		return false
	}
	in.odd = true
	return false
}

func (in *reading) strings() []string {
	list := []string{}
	in.elements(func() { list = append(list, in.string()) })
	return list
}

// elements calls of for each element of an array; it has to read that.
func (in *reading) elements(of func()) {
	in.expect('[')
	if in.take(']') {
		return
	}
	for !in.odd {
		of()
		if in.take(']') {
			return
		}
		in.expect(',')
	}
}

func (in *reading) record(r *Record) {
	in.members(func(key []byte) {
		switch string(key) {
		case "id":
			r.ID = in.string()
		case "at":
			in.odd = r.At.UnmarshalJSON(in.value()) != nil || in.odd
		case "generation":
			r.Generation = in.unsigned()
		case "seed":
			r.Seed = in.unsigned()
		case "organisation":
			r.Organisation = in.string()
		case "team":
			r.Team = in.string()
		case "key":
			r.Key = in.string()
		case "data_class":
			r.DataClass = in.string()
		case "labels":
			in.other(&r.Labels)
		case "claims":
			in.other(&r.Claims)
		case "sealed_claims":
			r.Sealed = new(Sealed)
			in.sealed(r.Sealed)
		case "request":
			in.request(&r.Request)
		case "policy_digest":
			r.Policy = in.string()
		case "catalog_digest":
			r.Catalog = in.string()
		case "configuration_digest":
			r.Configuration = in.string()
		case "statistics_tick":
			r.Tick = in.unsigned()
		case "sticky":
			r.Sticky = in.strings()
		case "holds":
			r.Holds = in.strings()
		case "made_by":
			r.Made = in.strings()
		case "value_of_time":
			in.other(&r.ValueOfTime)
		case "plan_us":
			r.PlanMicros = in.integer()
		case "scorers":
			r.Scorers = in.strings()
		case "shadows":
			r.Shadows = in.strings()
		case "weights":
			in.other(&r.Weights)
		case "abstained":
			in.other(&r.Abstained)
		case "rejections":
			in.other(&r.Rejections)
		case "warnings":
			in.other(&r.Warnings)
		case "log":
			r.Log = policy.LogLevel(in.string())
		case "dispatched":
			r.Dispatched = in.boolean()
		case "question":
			r.Question = in.boolean()
		case "attempts":
			in.elements(func() {
				r.Attempts = append(r.Attempts, Attempt{})
				in.attempt(&r.Attempts[len(r.Attempts)-1])
			})
		case "outcome":
			in.outcome(&r.Outcome)
		default:
			in.odd = true
		}
	})
}

func (in *reading) sealed(s *Sealed) {
	in.members(func(key []byte) {
		switch string(key) {
		case "month":
			s.Month = in.string()
		case "key":
			s.Key = in.string()
		case "box":
			s.Box = in.string()
		case "undeciding":
			s.Undeciding = in.boolean()
		default:
			in.odd = true
		}
	})
}

func (in *reading) request(q *Request) {
	in.members(func(key []byte) {
		switch string(key) {
		case "api":
			q.API = in.string()
		case "model":
			q.Model = in.string()
		case "models":
			q.Models = in.strings()
		case "stream":
			q.Stream = in.boolean()
		case "max_output_tokens":
			q.MaxOutputTokens = in.integer()
		case "n":
			q.N = in.integer()
		case "tool_kinds":
			q.ToolKinds = in.strings()
		case "tool_count":
			q.ToolCount = int(in.integer())
		case "egress_hosts":
			q.EgressHosts = in.strings()
		case "input_modalities":
			in.other(&q.InputModalities)
		case "images":
			q.Images = in.integer()
		case "output_modalities":
			in.other(&q.OutputModalities)
		case "response_format":
			q.ResponseFormat = in.string()
		case "store":
			q.Store = in.boolean()
		case "background":
			q.Background = in.boolean()
		case "previous_response":
			q.PreviousResponse = in.boolean()
		case "file_references":
			q.FileReferences = in.boolean()
		case "reasoning_effort":
			q.ReasoningEffort = in.string()
		case "reasoning_tokens":
			q.ReasoningTokens = in.integer()
		case "preferences":
			in.preferences(&q.Preferences)
		case "preset":
			q.Preset = in.string()
		case "service_tier":
			q.ServiceTier = in.string()
		case "data_class":
			q.DataClass = in.string()
		case "estimated_prompt_tokens":
			q.PromptTokens = in.integer()
		case "parameters":
			q.Parameters = in.strings()
		case "body_bytes":
			q.BodyBytes = int(in.integer())
		default:
			in.odd = true
		}
	})
}

func (in *reading) preferences(p *Preferences) {
	in.members(func(key []byte) {
		switch string(key) {
		case "order":
			p.Order = in.strings()
		case "only":
			p.Only = in.strings()
		case "ignore":
			p.Ignore = in.strings()
		case "allow_fallbacks":
			p.AllowFallbacks = in.boolean()
		case "require_parameters":
			p.RequireParameters = in.boolean()
		case "data_collection":
			p.DataCollection = in.string()
		case "zdr":
			p.ZDR = in.boolean()
		case "distillable_text":
			p.DistillableText = in.boolean()
		case "quantizations":
			p.Quantizations = in.strings()
		case "sort":
			p.Sort = in.string()
		case "partition":
			p.Partition = in.string()
		case "min_throughput":
			in.other(&p.MinThroughput)
		case "max_latency":
			in.other(&p.MaxLatency)
		case "max_price":
			in.other(&p.MaxPrice)
		default:
			in.odd = true
		}
	})
}

func (in *reading) attempt(a *Attempt) {
	in.members(func(key []byte) {
		switch string(key) {
		case "row":
			a.Row = in.string()
		case "provider":
			a.Provider = in.string()
		case "provider_id":
			a.ProviderID = in.string()
		case "tag":
			a.Tag = in.string()
		case "model":
			a.Model = in.string()
		case "credential":
			a.Credential = in.string()
		case "generation":
			a.Generation = in.unsigned()
		case "purpose":
			a.Purpose = in.string()
		case "started_ms":
			a.StartedMs = in.float()
		case "ttft_ms":
			a.TTFTMs = in.float()
		case "duration_ms":
			a.DurationMs = in.float()
		case "outcome":
			a.Outcome = in.string()
		case "scope":
			a.Scope = in.string()
		case "status":
			a.Status = int(in.integer())
		case "upstream_id":
			a.UpstreamID = in.string()
		case "body_sent":
			a.BodySent = in.string()
		case "usage":
			in.usage(&a.Usage)
		case "impossible_usage":
			a.Impossible = new(wire.Usage)
			in.usage(a.Impossible)
		case "service_tier":
			a.ServiceTier = in.string()
		case "cost_picodollars":
			a.Cost = catalog.Picodollars(in.integer())
		default:
			in.odd = true
		}
	})
}

func (in *reading) usage(u *wire.Usage) {
	in.members(func(key []byte) {
		switch string(key) {
		case "known":
			u.Known = in.boolean()
		case "prompt_tokens":
			u.PromptTokens = in.integer()
		case "completion_tokens":
			u.CompletionTokens = in.integer()
		case "cached_tokens":
			u.CachedTokens = in.integer()
		case "cache_write_tokens":
			u.CacheWriteTokens = in.integer()
		case "reasoning_tokens":
			u.ReasoningTokens = in.integer()
		case "cache_write_1h_tokens":
			u.CacheWrite1hTokens = in.integer()
		case "audio_tokens":
			u.AudioTokens = in.integer()
		default:
			in.odd = true
		}
	})
}

func (in *reading) outcome(o *Outcome) {
	in.members(func(key []byte) {
		switch string(key) {
		case "status":
			o.Status = int(in.integer())
		case "error":
			o.Error = in.string()
		case "provider":
			o.Provider = in.string()
		case "model":
			o.Model = in.string()
		case "row":
			o.Row = in.string()
		case "finish_reason":
			o.FinishReason = in.string()
		case "native_finish_reason":
			o.NativeReason = in.string()
		case "queued_ms":
			o.QueuedMs = in.float()
		case "ttft_ms":
			o.TTFTMs = in.float()
		case "duration_ms":
			o.DurationMs = in.float()
		case "rescued":
			o.Rescued = in.string()
		case "not_rescued":
			o.NotRescued = in.string()
		case "cached_from":
			o.CachedFrom = in.string()
		case "usage":
			in.usage(&o.Usage)
		case "cost_picodollars":
			o.Cost = catalog.Picodollars(in.integer())
		case "cache_discount_picodollars":
			o.CacheDiscount = catalog.Picodollars(in.integer())
		case "fallbacks":
			o.Fallbacks = int(in.integer())
		default:
			in.odd = true
		}
	})
}
