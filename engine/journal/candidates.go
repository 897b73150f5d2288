package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/scorer"
)

// Candidates are most of a record: twenty of them as JSON would cost a request more than everything else that the journal does. So
// a frame holds the record as JSON without them, a line feed, and then
//
//	count    uvarint: candidates and 1; 0: there is no list
//	known    byte: 1 where rows are numbers in the rows frame of the catalog, which stands before it in the segment; else 0
//	terms    uvarint, then as many names of terms
//	each     flags byte; the row: uvarint, or five strings; then what flags say, in the order of their bits
//
// Strings are led by their length, uvarint. Numbers are float64, little-endian; scores and parts are one for each of the
// record's scorers, NaN for none. The rest of a candidate is a JSON object: uvarint 0 and a string, or the number, from 1, of an
// earlier such object that is the same.
const (
	hasPlace = 1 << iota // uvarint
	hasUtility
	hasShare
	hasScores
	hasParts
	hasTerms
	hasRest
)

// known says whether rows holds every candidate's row under its number.
func (r *Record) known(rows []*catalog.Row) bool {
	if !r.numbered {
		return false
	}
	for i := range r.Candidates {
		c := &r.Candidates[i]
		if c.index >= len(rows) || rows[c.index].ID != c.Row {
			return false
		}
	}
	return true
}

// appendCandidates appends them; known says that they are numbers in the rows frame.
func (r *Record) appendCandidates(dst []byte, known bool) []byte {
	if r.Candidates == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Candidates)+1))
	dst = append(dst, 0)
	if known {
		dst[len(dst)-1] = 1
	}
	var terms []scorer.Term
	for i := range r.Candidates {
		if terms = r.Candidates[i].Terms; len(terms) > 0 {
			break
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(terms)))
	for _, t := range terms {
		dst = appendText(dst, t.Name)
	}
	var few [8]*Candidate
	rests := few[:0]
	for i := range r.Candidates {
		c := &r.Candidates[i]
		at := len(dst)
		dst = append(dst, 0)
		if known {
			dst = binary.AppendUvarint(dst, uint64(c.index))
		} else {
			for _, s := range [...]string{c.Row, c.Model, c.Provider, c.Tag, c.Group} {
				dst = appendText(dst, s)
			}
		}
		flags, rest := byte(0), rest{candidate: c}
		if c.Place > 0 {
			flags |= hasPlace
			dst = binary.AppendUvarint(dst, uint64(c.Place))
		}
		if c.Utility != nil {
			flags |= hasUtility
			dst = appendFloat(dst, *c.Utility)
		}
		if c.Share != nil {
			flags |= hasShare
			dst = appendFloat(dst, *c.Share)
		}
		if len(c.Scores) > 0 {
			if rest.scores = !ordered(c.Scores, r.Scorers); !rest.scores {
				flags |= hasScores
				dst = appendScores(dst, c.Scores, r.Scorers)
			}
		}
		if len(c.Parts) > 0 {
			if rest.parts = !ordered(c.Parts, r.Scorers); !rest.parts {
				flags |= hasParts
				dst = appendScores(dst, c.Parts, r.Scorers)
			}
		}
		if len(c.Terms) > 0 {
			if rest.terms = !sameNames(c.Terms, terms); !rest.terms {
				flags |= hasTerms
				for i := range c.Terms {
					dst = appendFloat(dst, c.Terms[i].USD)
				}
			}
		}
		if rest.any() {
			flags |= hasRest
			dst, rests = rest.append(dst, rests)
		}
		dst[at] = flags
	}
	return dst
}

// rest is what of a candidate is written as JSON.
type rest struct {
	candidate            *Candidate
	scores, parts, terms bool
}

func (s *rest) any() bool {
	c := s.candidate
	return s.scores || s.parts || s.terms || c.Excluded != nil || len(c.Warnings) > 0 || c.Obligations != nil || c.Unusable || c.Resting || c.Rest != "" ||
		c.RestMs != 0 || len(c.Shadows) > 0
}

// append appends the rest, or which of rests it is the same as.
func (s *rest) append(dst []byte, rests []*Candidate) ([]byte, []*Candidate) {
	c := s.candidate
	plain := c.Obligations == nil && c.RestMs == 0 && len(c.Shadows) == 0 && !s.scores && !s.parts && !s.terms
	if plain {
		for i, earlier := range rests {
			if earlier != nil && sameRest(earlier, c) {
				return binary.AppendUvarint(dst, uint64(i+1)), rests
			}
		}
	}
	at := len(dst) + 1
	o := object(append(dst, 0))
	c.restInto(&o, s.scores, s.parts, s.terms)
	dst = o.end()
	var head [binary.MaxVarintLen64]byte
	dst = slices.Insert(dst, at, head[:binary.PutUvarint(head[:], uint64(len(dst)-at))]...)
	if !plain {
		return dst, append(rests, nil) // it has a number all the same
	}
	return dst, append(rests, c)
}

// sameRest knows lists that are one and the same: rulings are shared between rows.
func sameRest(a, b *Candidate) bool {
	if (a.Excluded == nil) != (b.Excluded == nil) || a.Unusable != b.Unusable || a.Resting != b.Resting || a.Rest != b.Rest || !oneList(a.Warnings, b.Warnings) {
		return false
	}
	x, y := a.Excluded, b.Excluded
	return x == nil || x.Stage == y.Stage && x.Code == y.Code && x.Message == y.Message && oneList(x.Denials, y.Denials)
}

func oneList(a, b []policy.Reason) bool {
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b)
}

// ordered says whether scores are of scorers, in their order, each at most once.
func ordered(scores ByScorer, scorers []string) bool {
	k := 0
	for i := range scores {
		for k < len(scorers) && scorers[k] != scores[i].Scorer {
			k++
		}
		if k == len(scorers) || math.IsNaN(scores[i].Value) {
			return false
		}
		k++
	}
	return true
}

func appendScores(dst []byte, scores ByScorer, scorers []string) []byte {
	i := 0
	for _, name := range scorers {
		if i < len(scores) && scores[i].Scorer == name {
			dst = appendFloat(dst, scores[i].Value)
			i++
		} else {
			dst = appendFloat(dst, math.NaN())
		}
	}
	return dst
}

func sameNames(a, b []scorer.Term) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name {
			return false
		}
	}
	return true
}

func appendFloat(dst []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// rowName is a row as the rows frame has it.
type rowName struct {
	Row      string `json:"row"`
	Model    string `json:"model"`
	Provider string `json:"provider"`
	Tag      string `json:"tag"`
	Group    string `json:"credential_group"`
}

// rowNames is the rows of a catalog by number.
type rowNames struct {
	Catalog string    `json:"catalog_digest"`
	Rows    []rowName `json:"rows"`
}

func namesOf(digest string, rows []*catalog.Row) rowNames {
	names := rowNames{digest, make([]rowName, len(rows))}
	for i, row := range rows {
		names.Rows[i] = rowName{row.ID, row.Model.ID, row.Provider.ID, row.Tag, row.Group.Name}
	}
	return names
}

var errCandidates = errors.New("the record's candidates cannot be read")

// readCandidates reads what appendCandidates has written, all of it; named finds the rows of the record's catalog.
func (r *Record) readCandidates(data []byte, named func(catalog string) []rowName) error {
	in := input{data: data}
	count := in.uvarint()
	if count == 0 {
		return in.end()
	}
	if count-1 > uint64(len(data)) { // each takes more than a byte
		return errCandidates
	}
	known := in.byte() == 1
	var rows []rowName
	if known {
		rows = named(r.Catalog)
	}
	terms := make([]string, in.length())
	for i := range terms {
		terms[i] = in.text()
	}
	r.Candidates = make([]Candidate, count-1)
	scores := make(ByScorer, 0, 2*len(r.Scorers)*len(r.Candidates))
	of := func() ByScorer {
		from := len(scores)
		for _, name := range r.Scorers {
			if f := in.float(); !math.IsNaN(f) {
				scores = append(scores, OfScorer{name, f})
			}
		}
		return scores[from:len(scores):len(scores)]
	}
	singles := make([]float64, 0, 2*len(r.Candidates))
	single := func() *float64 {
		singles = append(singles, in.float())
		return &singles[len(singles)-1]
	}
	var rests [][]byte
	for i := range r.Candidates {
		c := &r.Candidates[i]
		flags := in.byte()
		if known {
			n := in.uvarint()
			if n >= uint64(len(rows)) {
				return fmt.Errorf("%w: a row has the number %d, and the catalog has %d rows", errCandidates, n, len(rows))
			}
			row := &rows[n]
			c.Row, c.Model, c.Provider, c.Tag, c.Group = row.Row, row.Model, row.Provider, row.Tag, row.Group
		} else {
			for _, s := range [...]*string{&c.Row, &c.Model, &c.Provider, &c.Tag, &c.Group} {
				*s = in.text()
			}
		}
		if flags&hasPlace != 0 {
			c.Place = int(in.uvarint())
		}
		if flags&hasUtility != 0 {
			c.Utility = single()
		}
		if flags&hasShare != 0 {
			c.Share = single()
		}
		if flags&hasScores != 0 {
			c.Scores = of()
		}
		if flags&hasParts != 0 {
			c.Parts = of()
		}
		if flags&hasTerms != 0 && 8*len(terms) <= len(in.data) {
			c.Terms = make([]scorer.Term, len(terms))
			for i := range terms {
				c.Terms[i] = scorer.Term{Name: terms[i], USD: in.float()}
			}
		}
		if flags&hasRest != 0 && !in.broken {
			number := in.uvarint()
			var text []byte
			switch {
			case number == 0:
				text = in.bytes()
				rests = append(rests, text)
			case number <= uint64(len(rests)):
				text = rests[number-1]
			default:
				return errCandidates
			}
			if in.broken {
				return errCandidates
			}
			if err := json.Unmarshal(text, c); err != nil {
				return fmt.Errorf("%w: %v", errCandidates, err)
			}
		}
		if in.broken {
			return errCandidates
		}
	}
	return in.end()
}

// input reads; once it has come to its end too early it is broken and gives zeros.
type input struct {
	data   []byte
	broken bool
}

func (in *input) uvarint() uint64 {
	v, n := binary.Uvarint(in.data)
	if n <= 0 {
		in.broken, in.data = true, nil
		return 0
	}
	in.data = in.data[n:]
	return v
}

// length is a uvarint that so much can follow.
func (in *input) length() int {
	n := in.uvarint()
	if n > uint64(len(in.data)) {
		in.broken, in.data = true, nil
		return 0
	}
	return int(n)
}

func (in *input) bytes() []byte {
	n := in.length()
	b := in.data[:n]
	in.data = in.data[n:]
	return b
}

func (in *input) text() string { return string(in.bytes()) }

func (in *input) byte() byte {
	if len(in.data) == 0 {
		in.broken = true
		return 0
	}
	b := in.data[0]
	in.data = in.data[1:]
	return b
}

func (in *input) float() float64 {
	if len(in.data) < 8 {
		in.broken, in.data = true, nil
		return 0
	}
	f := math.Float64frombits(binary.LittleEndian.Uint64(in.data))
	in.data = in.data[8:]
	return f
}

func (in *input) end() error {
	if in.broken || len(in.data) > 0 {
		return errCandidates
	}
	return nil
}
