package journal

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/route"
)

// rowsOf are rows that candidates may be of.
func rowsOf(candidates []Candidate) []*catalog.Row {
	rows := make([]*catalog.Row, len(candidates))
	for i, c := range candidates {
		rows[i] = &catalog.Row{Index: i, ID: c.Row, Tag: c.Tag, Model: &catalog.Model{ID: c.Model}, Provider: &catalog.Provider{ID: c.Provider},
			Group: &catalog.CredentialGroup{Name: c.Group}}
	}
	return rows
}

// inFrame writes a record as frames have it, and reads it back.
func inFrame(t testing.TB, rec *Record, rows []*catalog.Row) (*Record, int) {
	t.Helper()
	known := rec.known(rows)
	body := rec.appendFrame(nil, nil, known)
	back, err := readRecord(newClaimKeys(t.TempDir()), body, func(digest string) []rowName {
		if !known || digest != rec.Catalog {
			t.Errorf("rows of %q are asked for", digest)
		}
		return namesOf(digest, rows).Rows
	})
	if err != nil {
		t.Fatal(err)
	}
	return back, len(body)
}

func TestCandidatesAreReadBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var rec Record
		filled(t, random, reflect.ValueOf(&rec).Elem())
		rec.Sealed = nil
		rec.Scorers = []string{"a", "b", "c"}
		for i := range rec.Candidates {
			c := &rec.Candidates[i]
			c.index = i
			c.Scores = slices.DeleteFunc(ByScorer{{"a", random.Float64()}, {"b", -1e300}, {"c", 5}}, func(OfScorer) bool { return random.IntN(3) == 0 })
			if random.IntN(4) == 0 {
				c.Scores, c.Parts = ByScorer{{"b", 1}, {"a", 2}}, ByScorer{{"other", 1}} // in no order that is known
			}
			for _, empty := range []func(){func() { c.Excluded = nil }, func() { c.Warnings = nil }, func() { c.Obligations = nil }, func() { c.Utility = nil },
				func() { c.Terms = nil }, func() { c.Shadows = nil }, func() { c.Rest, c.RestMs, c.Resting, c.Unusable = "", 0, false, false }, func() { c.Parts = nil }} {
				if random.IntN(2) == 0 {
					empty()
				}
			}
		}
		for _, rows := range [][]*catalog.Row{nil, rowsOf(rec.Candidates)} {
			rec.numbered = rows != nil
			back, _ := inFrame(t, &rec, rows)
			compareJSON(t, back.appendJSON(nil), json.RawMessage(rec.appendJSON(nil)))
		}
	}
	for _, candidates := range [][]Candidate{nil, {}, {{}}} {
		back, _ := inFrame(t, &Record{Candidates: candidates}, nil)
		if !reflect.DeepEqual(back.Candidates, candidates) {
			t.Errorf("%#v is read as %#v", candidates, back.Candidates)
		}
	}
}

func TestTheSameReasonIsWrittenOnce(t *testing.T) {
	rec := sample(idOf(1), time.Now(), 20)
	denied := func(reasons func() []policy.Reason) int {
		for i := range rec.Candidates {
			if c := &rec.Candidates[i]; c.Place == 0 {
				c.Excluded = &route.Exclusion{Stage: route.StagePolicy, Code: "x", Message: "m", Denials: reasons()}
			}
		}
		back, size := inFrame(t, rec, nil)
		compareJSON(t, back.appendJSON(nil), json.RawMessage(rec.appendJSON(nil)))
		return size
	}
	long := strings.Repeat("because ", 50)
	shared := []policy.Reason{{Message: long}}
	once := denied(func() []policy.Reason { return shared })
	each := denied(func() []policy.Reason { return []policy.Reason{{Message: long}} })
	if each-once < 4*len(long) {
		t.Errorf("%d bytes where rows share a ruling, %d where none does", once, each)
	}
}

func FuzzCandidates(f *testing.F) {
	rec := sample(idOf(1), time.Now(), 3)
	rec.numbered = true
	rows := rowsOf(rec.Candidates)
	for i := range rec.Candidates {
		rec.Candidates[i].index = i
	}
	f.Add(rec.appendCandidates(nil, true))
	f.Add(rec.appendCandidates(nil, false))
	f.Add([]byte{2, 1, 0, 0xff, 0})
	names := namesOf("", rows).Rows
	f.Fuzz(func(t *testing.T, data []byte) {
		r := Record{Scorers: []string{"value"}}
		if r.readCandidates(data, func(string) []rowName { return names }) != nil {
			return
		}
		again := Record{Scorers: r.Scorers}
		if err := again.readCandidates(r.appendCandidates(nil, false), nil); err != nil {
			t.Fatal(err)
		}
		compareJSON(t, again.appendJSON(nil), json.RawMessage(r.appendJSON(nil)))
	})
}
