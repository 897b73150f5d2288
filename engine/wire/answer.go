package wire

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"chaperone/engine/wire/talk"
)

// ErrMalformed is returned for an answer that is no JSON object.
var ErrMalformed = errors.New("malformed answer")

// Usage is what a provider says it counted.
type Usage = talk.Usage

// Chunk is what routing and accounting need of one streamed event (or of a whole answer) in OpenAI's chat form.
type Chunk struct {
	Commits      bool   // holds text, reasoning, refusal, tool-call or audio output that is not empty
	FinishReason string // "" where none; the last one found
	NativeReason string // the provider's own word for it, where FinishReason is another
	Finished     uint64 // bit i: choice i has its finish reason; choices above 62 share the last bit
	Begun        uint64 // likewise, of choices in OpenAI's form: it holds output as Commits says
	Usage        Usage
	ServiceTier  string         // that it says it was served in, in its provider's own word; "" where it does not say
	Err          *UpstreamError // an error object in place of an answer
	OutputBytes  int            // bytes of generated text in it (content, reasoning, refusal, arguments), to estimate tokens
	HasChoices   bool           // a "choices" array is present

	form     int // of those that are relabelled
	finishes []finish
	fields   fieldIndex
}

// ScanChunk reads one streamed event's data (a JSON object) into c, which it resets first. It is tolerant: fields that
// are unknown or of an unexpected type are passed over. The error wraps ErrMalformed and names the byte.
func ScanChunk(data []byte, c *Chunk) error {
	*c = Chunk{fields: fieldIndex{members: c.fields.members[:0]}, finishes: c.finishes[:0]}
	a := answer{scanner: scanner{data: data}, c: c}
	if !a.read() {
		return a.malformed()
	}
	return nil
}

// malformed is the error of an answer that cannot be read.
func (a *answer) malformed() error {
	a.c.fields = fieldIndex{members: a.c.fields.members[:0]}
	return fmt.Errorf("%w: byte %d: %s", ErrMalformed, a.at, a.fault)
}

// ScanCompletion reads a whole answer into c likewise. Commits then also holds where there is a finish reason: an answer may
// well be empty.
func ScanCompletion(body []byte, c *Chunk) error {
	err := ScanChunk(body, c)
	c.Commits = c.Commits || c.FinishReason != ""
	return err
}

// AppendEdited appends data, which c was scanned from, with top-level fields replaced, added or removed; Field may name
// one level below ("usage.cost"). See Request.AppendEdited.
func (c *Chunk) AppendEdited(dst, data []byte, edits ...Edit) []byte {
	return c.fields.appendEdited(dst, data, edits)
}

// answer is one pass over an answer or a chunk of one.
type answer struct {
	scanner
	c *Chunk

	usageRank int // of where c.Usage stood: the higher counts
}

// Where usage is found, the less usual place first.
const (
	usageOfExtension = iota + 1 // x_groq.usage
	usageOfChoice               // choices[0].usage
	usageOfAnswer
)

func (a *answer) read() bool {
	if a.peek() != '{' {
		return a.wrong("an object")
	}
	var bare UpstreamError // an error whose fields stand at the top, as vLLM and Mistral send them
	bareError := false
	x := &a.c.fields
	o := a.object()
	for a.member(&o) {
		at := a.pos
		switch string(o.key) {
		case "choices":
			a.choices()
		case "usage":
			a.usage(usageOfAnswer)
		case "service_tier":
			a.tier()
		case "x_groq":
			a.extension()
		case "error":
			a.errorValue(&a.c.Err)
		case "object":
			if a.peek() == '"' {
				t, _ := a.text()
				bareError = t.is("error")
			} else {
				a.skip()
			}
		case "message", "type", "code":
			a.errorField(string(o.key), &bare)
		default:
			a.skip()
		}
		x.members = append(x.members, member{lead: o.lead, key: o.keyAt, value: at, end: a.pos})
	}
	if !a.end() {
		return false
	}
	x.start, x.end = o.at, a.pos
	for x.end > 0 && a.data[x.end-1] != '}' {
		x.end--
	}
	if bareError && a.c.Err == nil && !a.c.HasChoices {
		a.c.Err = bare.clone()
	}
	return true
}

// tiers are the words for service tiers that are looked for, so that reading one allocates nothing.
var tiers = []string{"default", "priority", "flex", "fast", "scale", "standard", "auto", "on_demand", "performance", "batch"}

func (a *answer) tier() {
	if a.peek() != '"' {
		a.skip()
		return
	}
	t, ok := a.text()
	if !ok {
		return
	}
	for _, known := range tiers {
		if t.is(known) {
			a.c.ServiceTier = known
			return
		}
	}
	a.c.ServiceTier = string(t.decoded())
}

func (a *answer) choices() {
	if a.peek() != '[' {
		a.skip()
		return
	}
	a.c.HasChoices = true
	list := a.array()
	for a.element(&list) {
		if a.peek() != '{' {
			a.skip()
			continue
		}
		o := a.object()
		index, finished, before := 0, false, a.c.Commits
		a.c.Commits = false
		var f finish
		for a.member(&o) {
			switch string(o.key) {
			case "index":
				index = a.choiceIndex()
			case "delta", "message":
				a.output()
			case "text":
				a.generated()
			case "finish_reason":
				a.peek()
				from := a.pos
				if a.finishReason() {
					finished, f.value = true, span{from, a.pos}
				}
			case "native_finish_reason":
				f.native = true
				a.skip()
			case "usage":
				a.usage(usageOfChoice)
			case "error":
				a.errorValue(&a.c.Err)
			default:
				a.skip()
			}
		}
		if a.c.Commits {
			a.c.Begun |= 1 << min(index, 63)
		}
		a.c.Commits = a.c.Commits || before
		if finished {
			a.c.Finished |= 1 << min(index, 63)
			a.c.finishes = append(a.c.finishes, f)
		}
	}
}

// choiceIndex is 0 where what stands there is no index.
func (a *answer) choiceIndex() int {
	if c := a.peek(); c < '0' || c > '9' {
		a.skip()
		return 0
	}
	raw, _ := a.number()
	n, err := strconv.ParseUint(string(raw), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

func (a *answer) finishReason() (found bool) {
	if a.peek() != '"' {
		a.skip()
		return false
	}
	t, ok := a.text()
	if !ok || t.size == 0 {
		return false
	}
	for _, known := range []string{"stop", "length", "tool_calls", "content_filter", "function_call", "error"} {
		if t.is(known) {
			a.c.FinishReason = known
			return true
		}
	}
	a.c.FinishReason = string(t.decoded())
	return true
}

// commit notes n bytes of output.
func (a *answer) commit(n int) {
	a.c.OutputBytes += n
	a.c.Commits = a.c.Commits || n > 0
}

// generated reads a string of output.
func (a *answer) generated() { a.commit(a.words()) }

// words reads a value and returns how many bytes of text it holds: a string, or parts with their text at any depth.
func (a *answer) words() (n int) {
	switch a.peek() {
	case '"':
		t, _ := a.text()
		return t.size
	case '[':
		list := a.array()
		for a.element(&list) {
			n += a.words()
		}
	case '{':
		o := a.object()
		for a.member(&o) {
			switch string(o.key) {
			case "text", "thinking", "refusal", "summary", "content", "reasoning":
				n += a.words()
			default:
				if m := media[string(o.key)]; m != "" && m != "text" && a.peek() != 'n' {
					a.c.Commits = true
				}
				a.skip()
			}
		}
	default:
		a.skip()
	}
	return n
}

// output reads a delta or a message.
func (a *answer) output() {
	if a.peek() != '{' {
		a.skip()
		return
	}
	reasoning := 0 // some providers send the same reasoning under two or three names
	o := a.object()
	for a.member(&o) {
		switch string(o.key) {
		case "content", "refusal":
			a.generated()
		case "reasoning", "reasoning_content":
			reasoning = max(reasoning, a.words())
		case "reasoning_details":
			reasoning = max(reasoning, a.details())
		case "tool_calls":
			if a.peek() != '[' {
				a.skip()
				continue
			}
			list := a.array()
			for a.element(&list) {
				a.call()
			}
		case "function_call":
			a.call()
		case "audio":
			a.audio()
		case "images":
			if a.peek() != '[' {
				a.skip()
				continue
			}
			list := a.array()
			for a.element(&list) {
				a.c.Commits = true
				a.skip()
			}
		default:
			a.skip()
		}
	}
	a.commit(reasoning)
}

// details reads reasoning_details, where encrypted reasoning stands as data.
func (a *answer) details() (n int) {
	if a.peek() != '[' {
		a.skip()
		return 0
	}
	list := a.array()
	for a.element(&list) {
		if a.peek() != '{' {
			a.skip()
			continue
		}
		o := a.object()
		for a.member(&o) {
			switch string(o.key) {
			case "text", "summary":
				n += a.words()
			case "data":
				if a.words() > 0 {
					a.c.Commits = true
				}
			default:
				a.skip()
			}
		}
	}
	return n
}

// call reads a tool call or a part of one, with or without its function object around it.
func (a *answer) call() {
	if a.peek() != '{' {
		a.skip()
		return
	}
	o := a.object()
	for a.member(&o) {
		switch string(o.key) {
		case "function", "custom":
			a.call()
		case "name":
			if a.words() > 0 {
				a.c.Commits = true
			}
		case "arguments", "input":
			switch from := a.pos; a.peek() {
			case '"':
				a.generated()
			case '{':
				a.skip()
				a.commit(a.pos - from)
			default:
				a.skip()
			}
		default:
			a.skip()
		}
	}
}

func (a *answer) audio() {
	if a.peek() != '{' {
		a.skip()
		return
	}
	o := a.object()
	for a.member(&o) {
		switch string(o.key) {
		case "transcript":
			a.generated()
		case "data":
			if a.words() > 0 {
				a.c.Commits = true
			}
		default:
			a.skip()
		}
	}
}

// extension reads Groq's own object, which holds usage and errors in streams.
func (a *answer) extension() {
	if a.peek() != '{' {
		a.skip()
		return
	}
	o := a.object()
	for a.member(&o) {
		switch string(o.key) {
		case "usage":
			a.usage(usageOfExtension)
		case "error":
			a.errorValue(&a.c.Err)
		default:
			a.skip()
		}
	}
}

func (a *answer) usage(rank int) {
	if a.peek() != '{' {
		a.skip()
		return
	}
	var u Usage
	o := a.object()
	for a.member(&o) {
		switch string(o.key) {
		case "prompt_tokens", "input_tokens":
			u.Known = a.tokens(&u.PromptTokens) || u.Known
		case "completion_tokens", "output_tokens":
			u.Known = a.tokens(&u.CompletionTokens) || u.Known
		case "cached_tokens", "prompt_cache_hit_tokens":
			a.tokens(&u.CachedTokens)
		case "reasoning_tokens":
			a.tokens(&u.ReasoningTokens)
		case "prompt_tokens_details", "input_tokens_details":
			a.usageDetails(&u, &u.AudioTokens)
		case "completion_tokens_details", "output_tokens_details":
			a.usageDetails(&u, nil)
		default:
			a.skip()
		}
	}
	if u.Known && rank >= a.usageRank {
		a.c.Usage, a.usageRank = u, rank
	}
}

// usageDetails reads the parts of a count; those of audio go into audio, if that is not nil.
func (a *answer) usageDetails(u *Usage, audio *int64) {
	if a.peek() != '{' {
		a.skip()
		return
	}
	o := a.object()
	for a.member(&o) {
		switch string(o.key) {
		case "cached_tokens":
			a.tokens(&u.CachedTokens)
		case "cache_write_tokens", "cache_creation_tokens":
			a.tokens(&u.CacheWriteTokens)
		case "reasoning_tokens":
			a.tokens(&u.ReasoningTokens)
		case "audio_tokens":
			if audio == nil {
				a.skip()
				continue
			}
			a.tokens(audio)
		default:
			a.skip()
		}
	}
}

// tokens reads a count; false where there is none. One that is negative or beyond what JSON's numbers hold exactly is read as the
// largest that they do: whoever bills by it finds it impossible.
func (a *answer) tokens(into *int64) bool {
	if c := a.peek(); c != '-' && (c < '0' || c > '9') {
		a.skip()
		return false
	}
	raw, ok := a.number()
	if !ok {
		return false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || math.Abs(f) > maxWhole {
			f = maxWhole
		}
		n = int64(f)
	}
	if n < 0 || n > maxWhole {
		n = maxWhole
	}
	*into = n
	return true
}
