package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// Request is one request of the demo's traffic.
type Request struct {
	Organisation string // open or strict
	Key          string // the client key to send it with
	Model        string
	Stream       bool
	Body         []byte // its user field is "organisation/number", which is what the providers judge it by
}

var prompts = []string{
	"Summarise the minutes of our last meeting in three sentences.",
	"Write a polite reminder for an invoice that is two weeks overdue.",
	"Explain to a new colleague how we review changes.",
	"What should I check before I renew a software contract?",
	"Draft a short answer to a customer whose parcel is late.",
	"Turn these notes into a table: rent 900, food 320, travel 140.",
	"Give me five names for an internal newsletter.",
	"Which questions should we ask in an interview for a data engineer?",
	"Translate into German: the harbour closes at six in winter.",
	"Find the mistake: for i := 0; i <= len(items); i++ { use(items[i]) }",
	"Compare two ways to keep a list of holidays up to date.",
	"Write a test plan for a form with a name, a date and a file.",
}

// Traffic is the requests of a seed, one after another: both organisations, both models, streaming and not.
type Traffic struct {
	random *rand.Rand
	number int
}

// NewTraffic begins the traffic of a seed.
func NewTraffic(seed uint64) *Traffic {
	return &Traffic{random: rand.New(rand.NewPCG(seed, 0x64656d6f))}
}

// Next is the next request.
func (t *Traffic) Next() Request {
	t.number++
	r := t.random
	q := Request{Organisation: "open", Key: OpenKey, Model: LargeModel, Stream: r.IntN(3) > 0}
	if r.IntN(2) == 0 {
		q.Organisation, q.Key = "strict", StrictKey
	}
	if r.IntN(2) == 0 {
		q.Model = SmallModel
	}
	body := map[string]any{
		"model":    q.Model,
		"messages": []map[string]string{{"role": "user", "content": prompts[r.IntN(len(prompts))]}},
		"user":     fmt.Sprintf("%s/%d", q.Organisation, t.number),
	}
	if r.IntN(4) == 0 {
		body["max_tokens"] = 16
	}
	if q.Stream {
		body["stream"] = true
		if r.IntN(2) == 0 {
			body["stream_options"] = map[string]any{"include_usage": true}
		}
	}
	var err error
	if q.Body, err = json.Marshal(body); err != nil {
		panic(err) // strings, numbers and booleans always encode
	}
	return q
}
