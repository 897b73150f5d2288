package scorer

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"chaperone/engine/account"
	"chaperone/engine/wire"
)

// fields is the vocabulary for requests.
var fields = listed("request", []word[RequestField]{
	ofRequest("prompt_tokens", "tokens", "the prompt's estimated length", noRequest,
		func(r *wire.Request) float64 { return float64(r.PromptTokens) }),
	ofRequest("max_tokens", "tokens", "the most that the caller wants", "not sent",
		func(r *wire.Request) float64 { return positive(r.MaxOutputTokens) }),
	field("output_tokens", "tokens", "how long an answer is expected to be", "",
		func(b *Batch) float64 { return float64(b.OutputTokens) }),
	ofRequest("stream", "0 or 1", "the answer is streamed", noRequest,
		func(r *wire.Request) float64 { return truth(r.Stream) }),
	ofRequest("n", "answers", "how many answers are wanted", noRequest,
		func(r *wire.Request) float64 { return float64(r.N) }),
	ofRequest("tools", "tools", "how many tools are offered", noRequest,
		func(r *wire.Request) float64 { return float64(r.ToolCount) }),
	field("value_of_time", "USD an hour", "what waiting costs", "",
		func(b *Batch) float64 { return b.ValueOfTime }),
	field("hour", "0…23", "the hour of the day, UTC", "",
		func(b *Batch) float64 { return float64(b.Now.UTC().Hour()) }),
	ofPrincipal("org:", "the request is that organisation's",
		func(p *account.Principal, id string) bool { return p.Organisation != nil && p.Organisation.ID == id }),
	ofPrincipal("team:", "the request is that team's",
		func(p *account.Principal, id string) bool { return p.Team != nil && p.Team.ID == id }),
	ofNames("tag:", "TAG", "the caller has tagged the request so",
		func(b *Batch, tag string) bool {
			return b.Request != nil && slices.Contains(b.Request.Claims.Tags, tag)
		}),
	ofNames("model:", "ID", "the caller has named that model, or a row is of it",
		func(b *Batch, id string) bool {
			if b.Request != nil && (b.Request.Model == id || slices.Contains(b.Request.Models, id)) {
				return true
			}
			for _, row := range b.Rows {
				if row.Model.ID == id {
					return true
				}
			}
			return false
		}),
	{
		Entry: Entry{Name: "meta.NAME", Prefix: "meta.", Unit: "the caller's", Meaning: "that entry of the request's metadata, read as a decimal number",
			NaN: "not sent, or not a finite number"},
		resolve: metadata,
	},
})

const noRequest = "there is no request"

func field(name, unit, meaning, nan string, value RequestField) word[RequestField] {
	return word[RequestField]{
		Entry:   Entry{Name: name, Unit: unit, Meaning: meaning, NaN: nan},
		resolve: func(string) RequestField { return value },
	}
}

func ofRequest(name, unit, meaning, nan string, value func(*wire.Request) float64) word[RequestField] {
	return field(name, unit, meaning, nan, func(b *Batch) float64 {
		if b.Request == nil {
			return math.NaN()
		}
		return value(b.Request)
	})
}

func ofPrincipal(prefix, meaning string, holds func(p *account.Principal, id string) bool) word[RequestField] {
	return ofNames(prefix, "ID", meaning, func(b *Batch, id string) bool { return b.Principal != nil && holds(b.Principal, id) })
}

func ofNames(prefix, argument, meaning string, holds func(b *Batch, argument string) bool) word[RequestField] {
	return word[RequestField]{
		Entry: Entry{Name: prefix + argument, Prefix: prefix, Unit: "0 or 1", Meaning: meaning},
		resolve: func(argument string) RequestField {
			return func(b *Batch) float64 { return truth(holds(b, argument)) }
		},
	}
}

func metadata(name string) RequestField {
	return func(b *Batch) float64 {
		if b.Request == nil {
			return math.NaN()
		}
		text := b.Request.Claims.Metadata[name]
		if !decimal(text) {
			return math.NaN() // ParseFloat's error would be an allocation
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return math.NaN()
		}
		return v
	}
}

// decimal says whether a text is a decimal number below 10^309, [+-] digits [. digits] [e [+-] digits]: what ParseFloat reads
// without an error, but for the last numbers above the greatest float64.
func decimal(text string) bool {
	i := 0
	is := func(set string) bool {
		ok := i < len(text) && strings.IndexByte(set, text[i]) >= 0
		if ok {
			i++
		}
		return ok
	}
	digits := func(of string) (n int) {
		for is(of) {
			n++
		}
		return n
	}
	const digit = "0123456789"
	is("+-")
	zeros, whole, fraction := digits("0"), digits(digit), 0
	if is(".") {
		fraction = digits(digit)
	}
	exponent := 0
	if is("eE") {
		less := is("-")
		if !less {
			is("+")
		}
		from := i
		if digits(digit) == 0 {
			return false
		}
		for _, c := range []byte(text[from:i]) {
			exponent = min(10*exponent+int(c-'0'), 10_000)
		}
		if less {
			exponent = -exponent
		}
	}
	return i == len(text) && zeros+whole+fraction > 0 && whole+exponent <= 309
}
