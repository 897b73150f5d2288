package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"chaperone/engine/journal"
	"chaperone/engine/route"
	"chaperone/engine/wire"
)

// Decision is the record of a decision, as JSON, for a key of the organisation that it was made for.
func (e *Engine) Decision(_ context.Context, key, id string) ([]byte, error) {
	s := e.acquire()
	defer s.release()
	who, err := e.authenticate(s, Call{Key: key})
	if err != nil {
		return nil, err
	}
	rec := e.Record(id)
	if rec == nil || rec.Organisation != who.Organisation.ID {
		return nil, &wire.Error{Status: http.StatusNotFound, Type: "not_found",
			Message: fmt.Sprintf("no decision %q of this organisation is kept; a request's id is in its X-Generation-Id header", id)}
	}
	return json.Marshal(forClient(rec, who.Organisation.ErrorDetail))
}

// Route is a decision that was not dispatched, as JSON.
func (e *Engine) Route(ctx context.Context, c Call) ([]byte, error) {
	p, err := e.Decide(ctx, c)
	if err != nil {
		return nil, err
	}
	return json.Marshal(forClient(journal.Of(p), p.Principal.Organisation.ErrorDetail))
}

// Rows is a decision that was not dispatched, with the table of numbers that scorers ranked by (scorer.Batch.Table; null where
// nothing was ranked), as JSON. It tells all, whatever the organisation's error_detail: it is for operators.
func (e *Engine) Rows(ctx context.Context, c Call) ([]byte, error) {
	p, err := e.Decide(ctx, c)
	if err != nil {
		return nil, err
	}
	table, err := e.Table(p)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Decision *journal.Record `json:"decision"`
		Table    json.RawMessage `json:"table"`
	}{journal.Of(p), table})
}

// Table is the numbers that scorers ranked a plan's candidates by; nil where nothing was ranked.
func (e *Engine) Table(p *route.Plan) ([]byte, error) {
	b := e.current.Load().router.Batch(p)
	if b == nil {
		return nil, nil
	}
	return b.Table(p.ID)
}

// forClient takes out of a record what its organisation's error_detail keeps from callers.
func forClient(rec *journal.Record, detail string) *journal.Record {
	if detail == "full" {
		return rec
	}
	out := *rec
	out.Rejections = nil
	out.Candidates = nil
	if detail == "codes" {
		for _, c := range rec.Candidates {
			if c.Excluded != nil {
				c.Excluded = &route.Exclusion{Stage: c.Excluded.Stage, Code: c.Excluded.Code}
			}
			out.Candidates = append(out.Candidates, c)
		}
	}
	return &out
}

// Record is the record of a decision, nil where it is not kept.
func (e *Engine) Record(id string) *journal.Record {
	rec, err := e.journal.Get(id)
	if err != nil {
		e.options.Log.Error("the journal cannot be read", slog.String("decision", id), slog.Any("error", err))
	}
	return rec
}
