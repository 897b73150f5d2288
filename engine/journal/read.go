package journal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"chaperone/engine/policy"
)

// Entry is a record as it is read back.
type Entry struct {
	Record *Record
	// Figures are the statistics that its decision read, by row id; nil where it read none.
	Figures map[string]*Figures
	Segment uint64
	Count   uint64 // frames before it
}

// Records reads the records of dir from a moment on, in the order in which they were written, while a router may be adding to
// them. Claims are opened where their key is there. An error is about one segment; reading goes on with the next.
func Records(dir string, since time.Time) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		all, err := segments(dir)
		if err != nil {
			yield(nil, err)
			return
		}
		claims := newClaimKeys(dir)
		claims.keeps = true
		for i := range all {
			if i+1 < len(all) && endedBefore(&all[i+1], since) {
				continue
			}
			if !all[i].records(claims, i+1 == len(all), since, yield) {
				return
			}
		}
	}
}

// endedBefore says of the segments before next that they hold nothing of since and later.
func endedBefore(next *segment, since time.Time) bool {
	if since.IsZero() {
		return false
	}
	h, err := next.header()
	return err == nil && h.Latest.Before(since)
}

func (s *segment) records(claims *claimKeys, last bool, since time.Time, yield func(*Entry, error) bool) bool {
	data, err := s.read()
	if err != nil {
		return yield(nil, fmt.Errorf("%s: %w", s.path, err))
	}
	h, first, err := readHeader(s.path, data)
	if err != nil {
		if last {
			return true // it is being made
		}
		return yield(nil, err)
	}
	r := reader{segment: s, claims: claims, count: h.Count + 1, at: len(first), whole: !last}
	defer r.stop()
	for {
		for _, found := range r.next(data) {
			if (found.err != nil || !found.entry.Record.At.Before(since)) && !yield(found.entry, found.err) {
				return false
			}
		}
		if r.ended() {
			return true
		}
	}
}

// readRecord opens claims where it can. Else they stay sealed, and the rest of the record is worth no less: verify says which keys are
// damaged. rows finds those of the record's catalog, in the record's segment.
func readRecord(claims *claimKeys, body []byte, rows func(catalog string) []rowName) (*Record, error) {
	text, candidates, ok := bytes.Cut(body, []byte{'\n'})
	if !ok {
		return nil, errCandidates
	}
	rec := new(Record)
	if err := rec.read(text); err != nil {
		return nil, err
	}
	if err := rec.readCandidates(candidates, rows); err != nil {
		return nil, err
	}
	claims.unseal(rec)
	return rec, nil
}

// Find is the record of a decision; nil where the journal in dir has none.
func Find(dir, id string) (*Record, error) {
	d, ok := parseID(id)
	if !ok {
		return nil, nil
	}
	all, err := segments(dir)
	if err != nil {
		return nil, err
	}
	claims := newClaimKeys(dir)
	for _, s := range slices.Backward(all) {
		find, err := s.finder()
		var frame []byte
		if err == nil {
			frame, err = find(d)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.path, err)
		}
		if frame != nil {
			return found(claims, frame, find)
		}
	}
	return nil, nil
}

// found is the record in a frame, whose segment find looks things up in.
func found(claims *claimKeys, frame []byte, find func(decision) ([]byte, error)) (*Record, error) {
	var failed error
	rec, err := readRecord(claims, frame[frameHead+1:], func(catalog string) []rowName {
		var names rowNames
		frame, err := find(rowsID(catalog))
		if err == nil && frame != nil {
			err = json.Unmarshal(frame[frameHead+1:], &names)
		}
		failed = err
		return names.Rows
	})
	return rec, cmp.Or(failed, err)
}

// finder finds frames of the segment by their id; nil where there is none.
func (s *segment) finder() (func(decision) ([]byte, error), error) {
	if s.packed {
		data, err := os.ReadFile(s.path)
		return func(id decision) ([]byte, error) { return lookUp(data, id) }, err
	}
	data, err := s.read()
	return func(id decision) ([]byte, error) {
		for at := 0; at < len(data); {
			frame, err := nextFrame(data[at:])
			if err != nil {
				return nil, nil // the end of what is being written
			}
			if is, ok := frameID(frame); ok && is == id {
				return frame, nil
			}
			at += len(frame)
		}
		return nil, nil
	}, err
}

// frameAt is the frame at an offset of a plain segment.
func frameAt(path string, at int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var head [frameHead]byte
	if _, err := f.ReadAt(head[:], at); err != nil {
		return nil, err
	}
	frame := make([]byte, frameHead+min(uint64(head[0])|uint64(head[1])<<8|uint64(head[2])<<16|uint64(head[3])<<24, mostFrame))
	if _, err := f.ReadAt(frame, at); err != nil && err != io.EOF {
		return nil, err
	}
	if frame, err = nextFrame(frame); err != nil {
		return nil, fmt.Errorf("%s, byte %d: %w", path, at, err)
	}
	return frame, nil
}

// Filter chooses records. Empty fields choose all.
type Filter struct {
	Organisation string
	Model        string // that was asked for or that answered
	Provider     string // id: that was shown the request, in any attempt
	DeniedBy     string // package, or package.rule/code, of a rule that denied some row or the whole request
	Since, Until time.Time
}

// Match says whether r is chosen.
func (f *Filter) Match(r *Record) bool {
	if f.Organisation != "" && r.Organisation != f.Organisation || !f.Since.IsZero() && r.At.Before(f.Since) ||
		!f.Until.IsZero() && !r.At.Before(f.Until) {
		return false
	}
	if f.Model != "" && r.Request.Model != f.Model && r.Outcome.Model != f.Model && !slices.Contains(r.Request.Models, f.Model) {
		return false
	}
	if f.Provider != "" && !slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return a.ProviderID == f.Provider && a.BodySent != "none" }) {
		return false
	}
	return f.DeniedBy == "" || f.denied(r)
}

func (f *Filter) denied(r *Record) bool {
	rule, code, coded := strings.Cut(f.DeniedBy, "/")
	for _, reasons := range denials(r) {
		for _, d := range reasons {
			if (d.Package == rule || d.Package+"."+d.Rule == rule) && (!coded || d.Code == code) {
				return true
			}
		}
	}
	return false
}

// denials are the reasons that counted: against the request, then row by row.
func denials(r *Record) [][]policy.Reason {
	all := [][]policy.Reason{r.Rejections}
	for i := range r.Candidates {
		if e := r.Candidates[i].Excluded; e != nil {
			all = append(all, e.Denials)
		}
	}
	return all
}
