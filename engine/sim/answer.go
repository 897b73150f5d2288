package sim

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Completion is the whole right answer to a request.
type Completion struct {
	Choices          []Choice
	PromptTokens     int64
	CachedTokens     int64 // of those
	CompletionTokens int64 // of all choices, reasoning included
	ReasoningTokens  int64
}

// Choice is one of the n alternatives.
type Choice struct {
	Text         string
	Reasoning    string
	Call         *Call  // in place of a text, or after one, where the request demands a tool call
	Others       []Call // after that one; see Profile.Calls
	FinishReason string // stop, length or tool_calls
	Tokens       int    // of output, reasoning included
}

func (c *Choice) calls() []Call {
	if c.Call == nil {
		return nil
	}
	return append([]Call{*c.Call}, c.Others...)
}

// Call is a call of a tool.
type Call struct {
	ID        string
	Name      string
	Arguments string // JSON; of a custom tool any text
	Custom    bool
}

// Answer is the whole right answer of a provider with that profile to a body: what a client has when nothing went wrong. The
// error says why the body is no chat completion request.
//
// Texts follow from the profile's seed and the messages alone, unless OwnAnswers is set; how long they are follows from
// those, OutputTokens and the request's limit. So a text that two providers end in different places begins the same.
func Answer(p Profile, body []byte) (Completion, error) {
	r, err := parse(body)
	if err != nil {
		return Completion{}, err
	}
	return answer(&p, r), nil
}

// prompted is an answer of which nothing has been said yet.
func prompted(p *Profile, r *request) Completion {
	n := r.promptTokens()
	return Completion{PromptTokens: n, CachedTokens: min(int64(p.CachedTokens), n)}
}

func answer(p *Profile, r *request) Completion {
	c := prompted(p, r)
	for i := range r.choices() {
		g := newGenerator(p, r, i)
		choice := Choice{FinishReason: g.finish}
		var text, reasoning strings.Builder
		var calls []Call
		for {
			d, ok := g.next()
			if !ok {
				break
			}
			choice.Tokens++
			switch d.kind {
			case textDelta:
				text.WriteString(d.text)
			case reasoningDelta:
				c.ReasoningTokens++
				reasoning.WriteString(d.text)
			case callDelta:
				if g.names() {
					calls = append(calls, Call{ID: g.callID, Name: g.call.Name, Custom: g.call.custom})
				}
				calls[len(calls)-1].Arguments += d.text
			}
		}
		choice.Text, choice.Reasoning = text.String(), reasoning.String()
		if len(calls) > 0 {
			choice.Call, choice.Others = &calls[0], calls[1:]
		}
		c.Choices = append(c.Choices, choice)
		c.CompletionTokens += int64(choice.Tokens)
	}
	return c
}

type deltaKind int

const (
	textDelta deltaKind = iota
	reasoningDelta
	callDelta // a piece of a call's arguments
)

// delta is one token of output.
type delta struct {
	kind deltaKind
	text string
}

// generator makes the tokens of one choice, one by one, so that thousands of slow streams hold no texts.
type generator struct {
	index     int
	words     *rand.Rand
	reasoning int // tokens that are left
	text      int
	begun     bool
	object    []string // pieces that are left of a structured answer
	call      *function
	others    []*function // that are called after it
	callID    string
	calls     int      // that have been named
	called    bool     // the call has been named
	arguments []string // pieces that are left
	finish    string
}

func newGenerator(p *Profile, r *request, index int) *generator {
	if r.messagesAPI && !r.thinks {
		quiet := *p
		quiet.ReasoningTokens = 0 // Anthropic's models think when they are asked to
		p = &quiet
	}
	own := ""
	if p.OwnAnswers {
		own = p.Name
	}
	about := r.messages()
	beginning, before, continues := r.continuation()
	if continues = continues && (p.Continues != "" || r.messagesAPI); continues {
		about = before
	}
	about = topic(about)
	source := func(purpose string) *rand.Rand {
		return random(p.Seed, purpose, []byte(own), binary.BigEndian.AppendUint64(nil, uint64(index)), about)
	}
	g := &generator{index: index, words: source("words"), finish: "stop"}
	limit, limited := r.limit()

	if g.call = r.call(); g.call != nil {
		g.finish = "tool_calls"
		g.reasoning, g.text = p.ReasoningTokens, p.PreambleTokens
		g.others = r.others(p.Calls)
		g.prepare()
		if limited && g.left() > limit {
			g.reasoning = min(g.reasoning, limit)
			g.text = min(g.text, limit-g.reasoning)
			g.arguments, g.finish = g.arguments[:min(len(g.arguments), limit-g.reasoning-g.text)], "length"
		}
		return g
	}
	if schema, ok := r.structure(); ok {
		g.reasoning = p.ReasoningTokens
		g.object = pieces(object(schema, g.words, wordsOfString))
		if limited && g.left() > limit {
			g.reasoning = min(g.reasoning, limit)
			g.object, g.finish = g.object[:min(len(g.object), limit-g.reasoning)], "length"
		}
		if continues {
			g.skip(len(beginning))
		}
		return g
	}

	g.reasoning, g.text = p.ReasoningTokens, 64
	switch {
	case p.OutputTokens.P50 != 0:
		g.text = max(1, int(p.OutputTokens.at(source("length").NormFloat64())))
	case limited:
		g.text = limit
	}
	if continues {
		g.skip(len(beginning))
		if p.OutputTokens.P50 == 0 && limited {
			g.text = limit
		}
	}
	if limited && g.reasoning+g.text >= limit {
		g.reasoning = min(g.reasoning, limit)
		g.text = limit - g.reasoning
		g.finish = "length"
	}
	return g
}

// next is the next token; false where there is none left.
func (g *generator) next() (delta, bool) {
	switch {
	case g.reasoning > 0:
		g.reasoning--
		return delta{reasoningDelta, g.word()}, true
	case g.text > 0:
		g.text--
		word := g.word()
		if !g.begun {
			g.begun = true
			word = strings.TrimPrefix(word, " ")
		}
		return delta{textDelta, word}, true
	case len(g.object) > 0:
		d := delta{textDelta, g.object[0]}
		g.object = g.object[1:]
		return d, true
	case len(g.arguments) > 0:
		d := delta{callDelta, g.arguments[0]}
		g.arguments = g.arguments[1:]
		return d, true
	case len(g.others) > 0 && g.finish == "tool_calls":
		g.call, g.others, g.called = g.others[0], g.others[1:], false
		g.prepare()
		return g.next()
	}
	return delta{}, false
}

// prepare makes the id and the arguments of the call.
func (g *generator) prepare() {
	g.callID = fmt.Sprintf("call_%016x", g.words.Uint64())
	if g.call.custom {
		var text strings.Builder
		for range wordsOfString {
			text.WriteString(g.word())
		}
		g.arguments = pieces(text.String())
		return
	}
	g.arguments = pieces(object(g.call.Parameters, g.words, 1))
}

// names says whether the call whose arguments come next has to be named first.
func (g *generator) names() bool {
	if g.called {
		return false
	}
	g.called = true
	g.calls++
	return true
}

// skip passes over the first bytes of the text, and the reasoning before it.
func (g *generator) skip(bytes int) {
	g.reasoning = 0
	for bytes > 0 && g.text+len(g.object) > 0 {
		d, _ := g.next()
		bytes -= len(d.text)
	}
}

// left is how many tokens are to come.
func (g *generator) left() int {
	return g.reasoning + g.text + len(g.object) + len(g.arguments) + len(g.others)
}

func (g *generator) word() string { return vocabulary[g.words.IntN(len(vocabulary))] }

// vocabulary is tokens as models make them: most with the space before them, some that need escapes in JSON or several bytes
// in UTF-8, so that a relay that damages bytes is found out.
var vocabulary = strings.Split(
	" a| the| of| to| and| in| is| it| that| for| as| on| with| by| at| from| this| which| one| two| more| other| than| then|"+
		" route| answer| question| model| token| river| harbour| lantern| window| garden| bridge| signal| winter| morning| paper|"+
		" quiet| early| narrow| bright| patient| certain| distant| careful| carries| opens| follows| returns| measures| keeps|"+
		" begins|,|.| —| naïve| café| Straße| \"quoted\"| back\\slash| 数据| слово| 🚢|\n\n|\n- |\ttab| <b>&amp;</b>", "|")

// wordsOfString is how long the strings of a structured answer are, and the texts for custom tools.
const wordsOfString = 8

// object makes an object that has the properties which a JSON schema requires, of the types that it says, with strings of so many
// words.
func object(schema json.RawMessage, r *rand.Rand, words int) string {
	var s struct {
		Properties map[string]struct {
			Type any   `json:"type"`
			Enum []any `json:"enum"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	// A schema that does not read like one makes an object without properties.
	_ = json.Unmarshal(schema, &s)
	object := map[string]any{}
	for _, name := range s.Required {
		property := s.Properties[name]
		if len(property.Enum) > 0 {
			object[name] = property.Enum[r.IntN(len(property.Enum))]
			continue
		}
		switch property.Type {
		case "integer":
			object[name] = r.IntN(100)
		case "number":
			object[name] = float64(r.IntN(1000)) / 10
		case "boolean":
			object[name] = r.IntN(2) == 1
		case "array":
			object[name] = []any{}
		case "object":
			object[name] = map[string]any{}
		case "null":
			object[name] = nil
		default:
			var text strings.Builder
			for range words {
				text.WriteString(vocabulary[r.IntN(len(vocabulary))])
			}
			object[name] = strings.TrimSpace(text.String())
		}
	}
	return string(mustJSON(object))
}

// pieces cuts a text into tokens of four characters.
func pieces(text string) []string {
	var out []string
	for chunk := range slices.Chunk([]rune(text), 4) {
		out = append(out, string(chunk))
	}
	return out
}

// mustJSON encodes what can always be encoded: strings, numbers and maps of them.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
