package journal

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"chaperone/engine/policy"
	"chaperone/engine/scorer"
	"chaperone/engine/wire"
)

// Records are written by hand: encoding/json takes longer for one than everything else that the journal does. A test holds
// what is written here to the tags of the types.

// MarshalJSON is the record as it stands in the journal, but for claims, which are sealed there.
func (r *Record) MarshalJSON() ([]byte, error) { return r.appendJSON(nil), nil }

func (r *Record) appendJSON(dst []byte) []byte { return r.append(dst, nil, true) }

// appendFrame appends what stands in a frame, see candidates.go.
func (r *Record) appendFrame(dst, sealed []byte, known bool) []byte {
	return r.appendCandidates(append(r.append(dst, sealed, false), '\n'), known)
}

// append has sealed in the place of claims, where that is not nil.
func (r *Record) append(dst, sealed []byte, candidates bool) []byte {
	o := object(dst)
	o.text("id", r.ID) // first: readers look for it there
	o.b = r.At.AppendFormat(append(o.key("at"), '"'), time.RFC3339Nano)
	o.b = append(o.b, '"')
	o.unsigned("generation", r.Generation)
	o.unsigned("seed", r.Seed)
	o.text("organisation", r.Organisation)
	o.optional("team", r.Team)
	o.text("key", r.Key)
	o.text("data_class", r.DataClass)
	o.names("labels", r.Labels)
	if r.Claims != nil && sealed == nil {
		o.b = r.Claims.appendJSON(o.key("claims"))
	}
	if sealed != nil {
		o.b = append(o.key("sealed_claims"), sealed...)
	} else if r.Sealed != nil {
		o.b = r.Sealed.appendJSON(o.key("sealed_claims"), nil)
	}
	o.b = r.Request.appendJSON(o.key("request"))
	o.text("policy_digest", r.Policy)
	o.text("catalog_digest", r.Catalog)
	o.optional("configuration_digest", r.Configuration)
	o.unsigned("statistics_tick", r.Tick)
	o.list("sticky", r.Sticky)
	o.list("holds", r.Holds)
	o.list("made_by", r.Made)
	if r.ValueOfTime != nil {
		o.number("value_of_time", *r.ValueOfTime)
	}
	o.integer("plan_us", r.PlanMicros)
	o.list("scorers", r.Scorers)
	o.list("shadows", r.Shadows)
	o.numbers("weights", r.Weights)
	o.names("abstained", r.Abstained)
	switch {
	case !candidates:
	case r.Candidates == nil:
		o.b = append(o.key("candidates"), "null"...)
	default:
		o.b = append(o.key("candidates"), '[')
		for i := range r.Candidates {
			o.b = r.Candidates[i].appendJSON(comma(o.b, i))
		}
		o.b = append(o.b, ']')
	}
	o.reasons("rejections", r.Rejections)
	o.reasons("warnings", r.Warnings)
	o.optional("log", string(r.Log))
	o.boolean("dispatched", r.Dispatched)
	o.flag("question", r.Question)
	if len(r.Attempts) > 0 {
		o.b = append(o.key("attempts"), '[')
		for i := range r.Attempts {
			o.b = r.Attempts[i].appendJSON(comma(o.b, i))
		}
		o.b = append(o.b, ']')
	}
	o.b = r.Outcome.appendJSON(o.key("outcome"))
	return o.end()
}

func (c *Claims) appendJSON(dst []byte) []byte {
	o := object(dst)
	o.optional("user", c.User)
	o.names("metadata", c.Metadata)
	o.list("tags", c.Tags)
	o.optional("data_class", c.DataClass)
	o.optional("session", c.Session)
	o.names("trace", c.Trace)
	if a := c.App; a != nil {
		in := object(o.key("app"))
		in.optional("url", a.URL)
		in.optional("title", a.Title)
		in.list("categories", a.Categories)
		in.optional("user_agent", a.UserAgent)
		in.optional("origin", a.Origin)
		o.b = in.end()
	}
	return o.end()
}

// appendJSON has box, which is not encoded yet, in the place of Box where that is not nil.
func (s *Sealed) appendJSON(dst, box []byte) []byte {
	o := object(dst)
	o.text("month", s.Month)
	o.optional("key", s.Key)
	o.b = append(o.key("box"), '"')
	if box != nil {
		o.b = base64.StdEncoding.AppendEncode(o.b, box)
	} else {
		o.b = append(o.b, s.Box...)
	}
	o.b = append(o.b, '"')
	o.flag("undeciding", s.Undeciding)
	return o.end()
}

func (q *Request) appendJSON(dst []byte) []byte {
	o := object(dst)
	o.text("api", q.API)
	o.text("model", q.Model)
	o.list("models", q.Models)
	o.boolean("stream", q.Stream)
	o.count("max_output_tokens", q.MaxOutputTokens)
	o.integer("n", q.N)
	o.list("tool_kinds", q.ToolKinds)
	o.count("tool_count", int64(q.ToolCount))
	o.list("egress_hosts", q.EgressHosts)
	o.always("input_modalities", q.InputModalities)
	o.count("images", q.Images)
	o.always("output_modalities", q.OutputModalities)
	o.text("response_format", q.ResponseFormat)
	o.flag("store", q.Store)
	o.flag("background", q.Background)
	o.flag("previous_response", q.PreviousResponse)
	o.flag("file_references", q.FileReferences)
	o.optional("reasoning_effort", q.ReasoningEffort)
	o.count("reasoning_tokens", q.ReasoningTokens)
	o.b = q.Preferences.appendJSON(o.key("preferences"))
	o.optional("preset", q.Preset)
	o.optional("service_tier", q.ServiceTier)
	o.text("data_class", q.DataClass)
	o.integer("estimated_prompt_tokens", q.PromptTokens)
	o.list("parameters", q.Parameters)
	o.integer("body_bytes", int64(q.BodyBytes))
	return o.end()
}

func (p *Preferences) appendJSON(dst []byte) []byte {
	o := object(dst)
	o.list("order", p.Order)
	o.list("only", p.Only)
	o.list("ignore", p.Ignore)
	o.boolean("allow_fallbacks", p.AllowFallbacks)
	o.flag("require_parameters", p.RequireParameters)
	o.text("data_collection", p.DataCollection)
	o.flag("zdr", p.ZDR)
	o.flag("distillable_text", p.DistillableText)
	o.list("quantizations", p.Quantizations)
	o.optional("sort", p.Sort)
	o.text("partition", p.Partition)
	for name, c := range map[string]*Cutoffs{"min_throughput": p.MinThroughput, "max_latency": p.MaxLatency} {
		if c != nil {
			in := object(o.key(name))
			in.number("p50", c.P50)
			in.number("p75", c.P75)
			in.number("p90", c.P90)
			in.number("p99", c.P99)
			o.b = in.end()
		}
	}
	if c := p.MaxPrice; c != nil {
		in := object(o.key("max_price"))
		in.number("prompt", c.Prompt)
		in.number("completion", c.Completion)
		in.number("request", c.Request)
		in.number("image", c.Image)
		in.number("audio", c.Audio)
		o.b = in.end()
	}
	return o.end()
}

func (c *Candidate) appendJSON(dst []byte) []byte {
	o := object(dst)
	o.text("row", c.Row)
	o.text("model", c.Model)
	o.text("provider", c.Provider)
	o.text("tag", c.Tag)
	o.text("credential_group", c.Group)
	o.count("place", int64(c.Place))
	if c.Utility != nil {
		o.number("utility", *c.Utility)
	}
	if c.Share != nil {
		o.number("share", *c.Share)
	}
	c.restInto(&o, true, true, true)
	return o.end()
}

// restInto writes what frames hold as JSON, and scores, parts and terms where those are to be there too.
func (c *Candidate) restInto(o *writer, scores, parts, terms bool) {
	if e := c.Excluded; e != nil {
		in := object(o.key("excluded"))
		in.text("stage", string(e.Stage))
		in.text("code", e.Code)
		in.text("message", e.Message)
		in.reasons("denials", e.Denials)
		o.b = in.end()
	}
	o.reasons("warnings", c.Warnings)
	if c.Obligations != nil {
		o.b = appendObligations(o.key("obligations"), c.Obligations)
	}
	o.flag("unusable", c.Unusable)
	o.flag("resting", c.Resting)
	o.optional("rest", c.Rest)
	o.positive("rest_ms", c.RestMs)
	if scores && len(c.Scores) > 0 {
		o.b = c.Scores.appendJSON(o.key("scores"))
	}
	if parts && len(c.Parts) > 0 {
		o.b = c.Parts.appendJSON(o.key("parts"))
	}
	if terms && len(c.Terms) > 0 {
		o.b = append(o.key("terms"), '[')
		for i, t := range c.Terms {
			o.b = appendTerm(comma(o.b, i), t)
		}
		o.b = append(o.b, ']')
	}
	if len(c.Shadows) > 0 {
		o.b = c.Shadows.appendJSON(o.key("shadows"))
	}
}

func appendTerm(dst []byte, t scorer.Term) []byte {
	o := object(dst)
	o.text("name", t.Name)
	o.number("usd", t.USD)
	return o.end()
}

func appendObligations(dst []byte, v *policy.Obligations) []byte {
	o := object(dst)
	o.count("max_output_tokens", v.MaxOutputTokens)
	o.flag("no_store", v.NoStore)
	o.flag("zdr", v.ZDR)
	o.flag("no_provider_tools", v.NoProviderTools)
	o.count("max_processors", int64(v.MaxProcessors))
	o.flag("no_hedge", v.NoHedge)
	o.flag("no_rescue", v.NoRescue)
	o.flag("no_cache", v.NoCache)
	o.optional("log", string(v.Log))
	return o.end()
}

func (a *Attempt) appendJSON(dst []byte) []byte {
	o := object(dst)
	o.text("row", a.Row)
	o.text("provider", a.Provider)
	o.text("provider_id", a.ProviderID)
	o.text("tag", a.Tag)
	o.text("model", a.Model)
	o.optional("credential", a.Credential)
	o.unsigned("generation", a.Generation)
	o.text("purpose", a.Purpose)
	o.number("started_ms", a.StartedMs)
	o.positive("ttft_ms", a.TTFTMs)
	o.number("duration_ms", a.DurationMs)
	o.text("outcome", a.Outcome)
	o.optional("scope", a.Scope)
	o.count("status", int64(a.Status))
	o.optional("upstream_id", a.UpstreamID)
	o.text("body_sent", a.BodySent)
	o.b = appendUsage(o.key("usage"), &a.Usage)
	if a.Impossible != nil {
		o.b = appendUsage(o.key("impossible_usage"), a.Impossible)
	}
	o.optional("service_tier", a.ServiceTier)
	o.integer("cost_picodollars", int64(a.Cost))
	return o.end()
}

func appendUsage(dst []byte, u *wire.Usage) []byte {
	o := object(dst)
	o.boolean("known", u.Known)
	o.integer("prompt_tokens", u.PromptTokens)
	o.integer("completion_tokens", u.CompletionTokens)
	o.integer("cached_tokens", u.CachedTokens)
	o.integer("cache_write_tokens", u.CacheWriteTokens)
	o.integer("reasoning_tokens", u.ReasoningTokens)
	o.count("cache_write_1h_tokens", u.CacheWrite1hTokens)
	o.count("audio_tokens", u.AudioTokens)
	return o.end()
}

func (v *Outcome) appendJSON(dst []byte) []byte {
	o := object(dst)
	o.integer("status", int64(v.Status))
	o.optional("error", v.Error)
	o.optional("provider", v.Provider)
	o.optional("model", v.Model)
	o.optional("row", v.Row)
	o.optional("finish_reason", v.FinishReason)
	o.optional("native_finish_reason", v.NativeReason)
	o.positive("queued_ms", v.QueuedMs)
	o.positive("ttft_ms", v.TTFTMs)
	o.number("duration_ms", v.DurationMs)
	o.optional("rescued", v.Rescued)
	o.optional("not_rescued", v.NotRescued)
	o.optional("cached_from", v.CachedFrom)
	o.b = appendUsage(o.key("usage"), &v.Usage)
	o.integer("cost_picodollars", int64(v.Cost))
	o.count("cache_discount_picodollars", int64(v.CacheDiscount))
	o.integer("fallbacks", int64(v.Fallbacks))
	return o.end()
}

// writer appends the members of one JSON object.
type writer struct {
	b     []byte
	empty bool
}

func object(dst []byte) writer { return writer{append(dst, '{'), true} }

func (o *writer) end() []byte { return append(o.b, '}') }

// key appends a name, which needs no escape, and returns where its value goes.
func (o *writer) key(name string) []byte {
	if !o.empty {
		o.b = append(o.b, ',')
	}
	o.empty = false
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	return append(o.b, '"', ':')
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func (o *writer) text(name, v string) { o.b = appendString(o.key(name), v) }

func (o *writer) integer(name string, v int64) { o.b = strconv.AppendInt(o.key(name), v, 10) }

func (o *writer) unsigned(name string, v uint64) { o.b = strconv.AppendUint(o.key(name), v, 10) }

func (o *writer) boolean(name string, v bool) { o.b = strconv.AppendBool(o.key(name), v) }

func (o *writer) number(name string, v float64) { o.b = appendNumber(o.key(name), v) }

// The others leave a zero value out.

func (o *writer) optional(name, v string) {
	if v != "" {
		o.text(name, v)
	}
}

func (o *writer) count(name string, v int64) {
	if v != 0 {
		o.integer(name, v)
	}
}

func (o *writer) positive(name string, v float64) {
	if v != 0 {
		o.number(name, v)
	}
}

func (o *writer) flag(name string, v bool) {
	if v {
		o.boolean(name, v)
	}
}

func (o *writer) list(name string, v []string) {
	if len(v) > 0 {
		o.always(name, v)
	}
}

func (o *writer) always(name string, v []string) {
	if v == nil {
		o.b = append(o.key(name), "null"...)
		return
	}
	o.b = append(o.key(name), '[')
	for i, s := range v {
		o.b = appendString(comma(o.b, i), s)
	}
	o.b = append(o.b, ']')
}

func (o *writer) names(name string, v map[string]string) {
	if len(v) == 0 {
		return
	}
	in := object(o.key(name))
	for _, k := range slices.Sorted(maps.Keys(v)) {
		in.escaped(k)
		in.b = appendString(in.b, v[k])
	}
	o.b = in.end()
}

func (o *writer) numbers(name string, v map[string]float64) {
	if len(v) == 0 {
		return
	}
	in := object(o.key(name))
	for _, k := range slices.Sorted(maps.Keys(v)) {
		in.escaped(k)
		in.b = appendNumber(in.b, v[k])
	}
	o.b = in.end()
}

func (o *writer) escaped(name string) {
	if !o.empty {
		o.b = append(o.b, ',')
	}
	o.empty = false
	o.b = append(appendString(o.b, name), ':')
}

func (o *writer) reasons(name string, reasons []policy.Reason) {
	if len(reasons) == 0 {
		return
	}
	o.b = append(o.key(name), '[')
	for i := range reasons {
		o.b = appendReason(comma(o.b, i), &reasons[i])
	}
	o.b = append(o.b, ']')
}

func appendReason(dst []byte, r *policy.Reason) []byte {
	o := object(dst)
	o.text("binding", r.Binding)
	o.text("package", r.Package)
	o.text("rule", r.Rule)
	o.optional("code", r.Code)
	o.text("message", r.Message)
	o.optional("file", r.File)
	o.count("line", int64(r.Line))
	o.optional("title", r.Title)
	o.optional("control", r.Control)
	o.optional("severity", r.Severity)
	o.optional("enforcement", r.Enforcement)
	if w := r.Waiver; w != nil {
		in := object(o.key("waiver"))
		in.text("rule", w.Rule)
		in.text("for", w.For)
		in.text("endpoint", w.Endpoint)
		in.text("until", w.Until)
		in.text("ticket", w.Ticket)
		in.text("approved_by", w.ApprovedBy)
		in.text("file", w.File)
		in.integer("line", int64(w.Line))
		o.b = in.end()
	}
	return o.end()
}

// appendNumber writes null for what JSON cannot say.
func appendNumber(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if n := int64(f); float64(n) == f && n > -1e15 && n < 1e15 && (n != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, n, 10)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// appendString writes bytes that are no UTF-8 as encoding/json does: as U+FFFD.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == 0x7f || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
