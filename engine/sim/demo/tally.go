package demo

import (
	"slices"
	"strings"

	"chaperone/engine/catalog"
	"chaperone/engine/journal"
)

// ttftsKept bounds the samples of an offer: the latest count.
const ttftsKept = 1000

// Tally adds up what became of requests, by offer.
type Tally struct {
	Requests  int64
	Attempts  int64
	Fallbacks int64
	Rescued   int64 // requests that were answered after a stream had broken off
	Cost      catalog.Picodollars
	offers    map[string]*Count
}

// Count is what became of an offer's attempts.
type Count struct {
	Served int64
	Failed int64
	Cost   catalog.Picodollars
	ttfts  []float64 // ms, of the streams that it served
	next   int
}

// NewTally is one of nothing.
func NewTally() *Tally { return &Tally{offers: map[string]*Count{}} }

// Add counts a request.
func (t *Tally) Add(r *journal.Record) {
	t.Requests++
	t.Attempts += int64(len(r.Attempts))
	t.Fallbacks += int64(r.Outcome.Fallbacks)
	t.Cost += r.Outcome.Cost
	if r.Outcome.Rescued != "" {
		t.Rescued++
	}
	for _, a := range r.Attempts {
		c := t.offers[OfferOf(a.Row)]
		if c == nil {
			c = &Count{}
			t.offers[OfferOf(a.Row)] = c
		}
		c.add(a)
	}
}

func (c *Count) add(a journal.Attempt) {
	c.Cost += a.Cost
	if a.Outcome != "ok" {
		c.Failed++
		return
	}
	c.Served++
	switch {
	case a.TTFTMs == 0: // not a stream
	case len(c.ttfts) < ttftsKept:
		c.ttfts = append(c.ttfts, a.TTFTMs)
	default:
		c.ttfts[c.next] = a.TTFTMs
		c.next = (c.next + 1) % ttftsKept
	}
}

// Of is an offer's count.
func (t *Tally) Of(offer string) Count {
	if c := t.offers[offer]; c != nil {
		return *c
	}
	return Count{}
}

// TTFT is the median time to first token of the latest streams in milliseconds, 0 where there are none.
func (c Count) TTFT() float64 {
	if len(c.ttfts) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(c.ttfts))
	return sorted[len(sorted)/2]
}

// provider sums up the offers of a provider.
func (t *Tally) provider(name string) Count {
	var sum Count
	for offer, c := range t.offers {
		if provider, _, _ := strings.Cut(offer, "#"); provider == name {
			sum.Served += c.Served
			sum.Failed += c.Failed
			sum.Cost += c.Cost
			sum.ttfts = append(sum.ttfts, c.ttfts...)
		}
	}
	return sum
}
