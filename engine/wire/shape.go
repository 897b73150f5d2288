package wire

import (
	"maps"
	"slices"

	"chaperone/engine/wire/talk"
)

// Shape is the API that a request is in, and its answer.
type Shape string

// The shapes. The zero value is Chat.
const (
	Chat        Shape = "chat"        // https://platform.openai.com/docs/api-reference/chat
	Responses   Shape = "responses"   // https://platform.openai.com/docs/api-reference/responses
	Completions Shape = "completions" // https://platform.openai.com/docs/api-reference/completions
	Embeddings  Shape = "embeddings"  // https://platform.openai.com/docs/api-reference/embeddings
	Rerank      Shape = "rerank"      // https://openrouter.ai/docs/api-reference/rerank
)

// Head is what of a request's meaning stands in its header.
type Head struct {
	AnthropicVersion string   // anthropic-version; "" where not sent
	AnthropicBeta    []string // anthropic-beta: what of it is still being tried out, in the order sent
}

// api is what there is to a shape. One that is no conversation has no talk functions, and cannot be translated.
type api struct {
	fields map[string]field           // of a request, at its top
	needs  func(s *skim, at int) bool // what must be there; at is where the body's object begins
	// instruct says instructions in a request that has none.
	instruct func(body *Version, text string) Edit // nil: there are none in this shape
	// put says what of a preset is Chat's alone; of differs the shape knows the name and has another form.
	put     func(r *Request, fields []Edit, tools [][]byte) worded
	differs []string

	event  func(ev Event, c *Chunk) (Kind, error) // reads one event of a stream for what accounting needs
	answer func(body []byte, c *Chunk) error      // a whole answer likewise
	text   func(dst, data []byte) ([]byte, bool)  // AppendText
	bill   func(c *Chunk, data []byte, b *talk.Bill) []Edit
	labels func(c *Chunk, l *Labels) []Edit // what this router says of an event or a whole answer that passes as it came
	absent func(c *Chunk, data []byte, whole bool) []Edit
	failed func(dst []byte, e *Error) []byte // AppendFor
	broken func(dst []byte, e *Error, l *talk.Label) []byte
	alive  string // what keeps a silent stream alive

	readRequest  func(body []byte) *talk.Request
	writeRequest func(*talk.Request) (body []byte, unsaid []string)
	readAnswer   func(body []byte) (a *talk.Answer, unknown []string)
	writeAnswer  func(a *talk.Answer, l talk.Label, bill talk.Bill) []byte
	reader       func() talk.EventReader
	writer       func() talk.EventWriter
}

// apis is filled by the files of the shapes.
var apis = map[Shape]*api{}

// String is the shape's name.
func (s Shape) String() string {
	if s == "" {
		s = Chat
	}
	return string(s)
}

// Shapes are the names of all shapes, sorted.
func Shapes() []string {
	var names []string
	for _, s := range slices.Sorted(maps.Keys(apis)) {
		names = append(names, string(s))
	}
	return names
}

func (s Shape) api() *api {
	if s == "" {
		s = Chat
	}
	if a := apis[s]; a != nil {
		return a
	}
	panic("wire: there is no shape " + string(s)) // shapes are this package's constants, never a client's words
}

// Kind is what an event of a stream is.
type Kind int

// The kinds of events.
const (
	Data    Kind = iota // holds a chunk
	Comment             // says nothing
	End                 // the end mark
)

// Event reads one event of a stream for what accounting needs of it; it says End where the event is the shape's end mark. c
// is overwritten.
func (s Shape) Event(ev Event, c *Chunk) (Kind, error) { return s.api().event(ev, c) }

// Answer reads a whole answer that was not streamed. c is overwritten.
func (s Shape) Answer(body []byte, c *Chunk) error { return s.api().answer(body, c) }

// AppendText appends to dst the text that data, one event of a stream of a single choice, adds to the answer. whole is false
// where the event adds anything else as well (a tool call, reasoning, a refusal, audio, log probabilities, another choice):
// then the text is not all that a client has of the answer.
func (s Shape) AppendText(dst, data []byte) (text []byte, whole bool) { return s.api().text(dst, data) }

// Labels are the edits that say who really served, made once for all events of a stream.
type Labels struct{ top []Edit }

// NewLabels makes them.
func NewLabels(l *talk.Label) *Labels {
	return &Labels{[]Edit{{"id", appendString(nil, l.ID)}, {"model", appendString(nil, l.Model)}, {"provider", appendString(nil, l.Provider)}}}
}

// in are those for an event that says it one level below. Only the first of a stream does, so they are not kept.
func (l *Labels) in(field string) []Edit {
	below := slices.Clone(l.top)
	for i := range below {
		below[i].Field = field + "." + below[i].Field
	}
	return below
}

// Labels are those of l that belong into an event, or a whole answer, that c was scanned from. They must not be changed.
func (s Shape) Labels(c *Chunk, l *Labels) []Edit { return s.api().labels(c, l) }

// Absent are the edits by which an event, or a whole answer, says in the way that strict clients expect that it has not got
// something.
func (s Shape) Absent(c *Chunk, data []byte, whole bool) []Edit {
	if absent := s.api().absent; absent != nil {
		return absent(c, data, whole)
	}
	return nil
}

// KeepAlive is an event that means nothing.
func (s Shape) KeepAlive() string { return s.api().alive }

// AppendError appends an error in the shape's own form.
func (s Shape) AppendError(dst []byte, e *Error) []byte {
	if e.Router == nil {
		return s.api().failed(dst, e)
	}
	return AppendAside(dst, s.api().failed(nil, e), RouterMetadata, e.Router)
}

// AppendErrorEvent appends the event that ends a stream which failed after its first content, in the shape's own form. No
// end mark follows.
func (s Shape) AppendErrorEvent(dst []byte, e *Error, l talk.Label) []byte {
	if e.Router == nil {
		return s.api().broken(dst, e, &l)
	}
	dst, _ = AppendEventsAside(dst, s.api().broken(nil, e, &l), RouterMetadata, e.Router)
	return dst
}

// Counts says whether nothing but a count is asked for.
func (s Shape) Counts() bool { return s == CountTokens }

// Conversation says whether there is an inner form of what is asked in this shape.
func (s Shape) Conversation() bool { return s.api().readRequest != nil }

// ReadAnswer reads a whole answer into the inner form; unknown is what of it has no place there.
func (s Shape) ReadAnswer(body []byte) (a *talk.Answer, unknown []string) {
	return s.api().readAnswer(body)
}

// WriteAnswer writes a whole answer.
func (s Shape) WriteAnswer(a *talk.Answer, l talk.Label, bill talk.Bill) []byte {
	return s.api().writeAnswer(a, l, bill)
}

// NewReader reads a stream in this shape.
func (s Shape) NewReader() talk.EventReader { return s.api().reader() }

// NewWriter writes one.
func (s Shape) NewWriter() talk.EventWriter { return s.api().writer() }
