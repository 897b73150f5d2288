package journal

import (
	"math"

	"chaperone/engine/policy"
	"chaperone/engine/route"
)

// Of is the record of a plan before anything was dispatched. It shares nothing with the request's body.
func Of(p *route.Plan) *Record {
	r := &Record{
		ID: p.ID, At: p.At, Generation: p.Snapshot, Seed: p.Seed,
		Organisation: p.Principal.Organisation.ID, Key: p.Principal.Key.ID, DataClass: p.Principal.DataClass,
		Policy: p.PolicyDigest, Catalog: p.CatalogDigest,
		PlanMicros: p.Took.Microseconds(), Scorers: p.Scorers, Rejections: p.Rejections, Warnings: p.Warnings,
	}
	if p.Principal.Team != nil {
		r.Team = p.Principal.Team.ID
	}
	q := p.Request
	r.Request = Request{
		Model: q.Model, Models: q.Models, Stream: q.Stream, MaxOutputTokens: q.MaxOutputTokens, N: q.N,
		ToolKinds: q.ToolKinds, ToolCount: q.ToolCount, InputModalities: q.InputModalities,
		OutputModalities: q.OutputModalities, ResponseFormat: q.ResponseFormat, PromptTokens: q.PromptTokens,
		Parameters: q.Parameters, BodyBytes: len(q.Body),
	}
	for name, err := range p.Abstained {
		if r.Abstained == nil {
			r.Abstained = map[string]string{}
		}
		r.Abstained[name] = err.Error()
	}
	r.Candidates = make([]Candidate, len(p.Candidates))
	for i := range p.Candidates {
		c := &p.Candidates[i]
		out := Candidate{
			Row: c.Row.ID, Model: c.Row.Model.ID, Provider: c.Row.Provider.ID, Tag: c.Row.Tag, Group: c.Row.Group.Name,
			Place: c.Place, Excluded: c.Excluded, Warnings: c.Warnings, Resting: c.Rest.Why != "", Rest: c.Rest.Why,
		}
		if !c.Rest.Until.IsZero() {
			out.RestMs = float64(c.Rest.Until.Sub(p.At).Microseconds()) / 1000
		}
		if c.Place > 0 {
			out.Utility, out.Share = finite(c.Ranked.Utility), finite(c.Ranked.Share)
			out.Parts, out.Terms = c.Ranked.Parts, c.Ranked.Terms
		}
		r.Candidates[i] = out
	}
	for _, permit := range p.Permits {
		r.Log = lesser(r.Log, permit.Obligations().Log)
	}
	if p.Refusal != nil {
		r.Outcome = Outcome{Status: p.Refusal.Status, Error: p.Refusal.Type}
	}
	return r
}

// finite leaves out what JSON cannot say.
func finite(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// lesser is the level that records less.
func lesser(a, b policy.LogLevel) policy.LogLevel {
	if a == policy.LogNone || b == "" {
		return a
	}
	return b
}
