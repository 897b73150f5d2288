package scorer

import (
	"math"
	"slices"
	"strconv"

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
		Entry: Entry{Name: "meta.NAME", Prefix: "meta.", Unit: "the caller's", Meaning: "that entry of the request's metadata, read as a number",
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
		text, sent := b.Request.Claims.Metadata[name]
		if !sent {
			return math.NaN() // ParseFloat's error would be an allocation
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(v, 0) {
			return math.NaN()
		}
		return v
	}
}
