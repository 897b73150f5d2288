package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	"chaperone/engine/route"
)

// ByScorer is numbers of scorers, in JSON an object with their names as keys. It is a list and not a map because a record of
// twenty endpoints would otherwise make forty maps.
type ByScorer []OfScorer

// OfScorer is one scorer's number.
type OfScorer struct {
	Scorer string
	Value  float64
}

// Of is a scorer's number; false where it has none.
func (s ByScorer) Of(scorer string) (float64, bool) {
	for i := range s {
		if s[i].Scorer == scorer {
			return s[i].Value, true
		}
	}
	return 0, false
}

// MarshalJSON writes an object.
func (s ByScorer) MarshalJSON() ([]byte, error) { return s.appendJSON(nil), nil }

func (s ByScorer) appendJSON(dst []byte) []byte {
	o := object(dst)
	for i := range s {
		o.escaped(s[i].Scorer)
		o.b = appendNumber(o.b, s[i].Value)
	}
	return o.end()
}

// UnmarshalJSON reads an object, in its order.
func (s *ByScorer) UnmarshalJSON(text []byte) error {
	return eachMember(text, func(name string, d *json.Decoder) error {
		one := OfScorer{Scorer: name}
		*s = append(*s, one)
		return d.Decode(&(*s)[len(*s)-1].Value)
	})
}

// eachMember calls f with the name of every member of an object; f decodes the value.
func eachMember(text []byte, f func(name string, d *json.Decoder) error) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("found %.20s; expected an object (%w)", text, err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		if err := f(name.(string), d); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// Shadows is what shadow scorers made of a candidate, in JSON an object with their names as keys.
type Shadows []Shadow

// Shadow is how a candidate would have come out if a shadow scorer had ranked by itself. Share is the probability with which
// it would then have been tried first: beside the record's own, what it takes to estimate from recorded outcomes how that
// scorer would have done.
type Shadow struct {
	Scorer  string   `json:"-"`
	Place   int      `json:"place"`             // 1-based, among the candidates that were ranked together
	Share   float64  `json:"share"`             //
	Utility *float64 `json:"utility,omitempty"` // absent where it abstained
	Score   *float64 `json:"score,omitempty"`   // as it gave it; absent where that is not finite
}

// Of is what a shadow scorer made of it; nil where it did not rank.
func (s Shadows) Of(scorer string) *Shadow {
	for i := range s {
		if s[i].Scorer == scorer {
			return &s[i]
		}
	}
	return nil
}

// MarshalJSON writes an object.
func (s Shadows) MarshalJSON() ([]byte, error) { return s.appendJSON(nil), nil }

func (s Shadows) appendJSON(dst []byte) []byte {
	o := object(dst)
	for i := range s {
		o.escaped(s[i].Scorer)
		in := object(o.b)
		in.integer("place", int64(s[i].Place))
		in.number("share", s[i].Share)
		if s[i].Utility != nil {
			in.number("utility", *s[i].Utility)
		}
		if s[i].Score != nil {
			in.number("score", *s[i].Score)
		}
		o.b = in.end()
	}
	return o.end()
}

// UnmarshalJSON reads an object, in its order.
func (s *Shadows) UnmarshalJSON(text []byte) error {
	return eachMember(text, func(name string, d *json.Decoder) error {
		*s = append(*s, Shadow{Scorer: name})
		return d.Decode(&(*s)[len(*s)-1])
	})
}

// figures takes a plan's numbers over into records; its slices are filled by every candidate in turn.
type figures struct {
	single []float64
	scored ByScorer
}

// finite leaves out what JSON cannot say.
func finite(v float64) *float64 { return new(figures).finite(v) }

// finite leaves out what JSON cannot say.
func (f *figures) finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	f.single = append(f.single, v)
	return &f.single[len(f.single)-1]
}

// byScorer leaves out what JSON cannot say.
func (f *figures) byScorer(scorers []string, values []float64) ByScorer {
	from := len(f.scored)
	for k, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			f.scored = append(f.scored, OfScorer{scorers[k], v})
		}
	}
	return f.scored[from:len(f.scored):len(f.scored)]
}

func (f *figures) shadows(scorers []string, shadows []route.Shadow) Shadows {
	if len(shadows) == 0 {
		return nil
	}
	out := make(Shadows, len(shadows))
	for k, s := range shadows {
		out[k] = Shadow{scorers[k], s.Place, s.Share, f.finite(s.Utility), f.finite(s.Score)}
	}
	return out
}
