package journal

import (
	"chaperone/engine/account"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/wire"
)

// Of is the record of a plan before anything was dispatched. It shares nothing with the request's body.
func Of(p *route.Plan) *Record {
	r := &Record{
		ID: p.ID, At: p.At, Generation: p.Snapshot, Seed: p.Seed,
		Organisation: p.Principal.Organisation.ID, Key: p.Principal.Key.ID, DataClass: p.Principal.DataClass,
		Labels: p.Principal.Labels, Claims: claimsOf(p.Request), ValueOfTime: p.Principal.Organisation.ValueOfTime,
		Policy: p.PolicyDigest, Catalog: p.CatalogDigest, Weights: p.Weights, Holds: p.Holds, Made: p.Made,
		PlanMicros: p.Took.Microseconds(), Scorers: p.Scorers, Shadows: p.Shadows, Rejections: p.Rejections, Warnings: p.Warnings,
	}
	if p.Stats != nil {
		r.Tick = p.Stats.Tick
	}
	if p.Principal.Team != nil {
		r.Team = p.Principal.Team.ID
	}
	q := p.Request
	r.Request = Request{
		API: q.Shape.String(), Model: q.Model, Models: q.Models, Stream: q.Stream, MaxOutputTokens: q.MaxOutputTokens, N: q.N,
		ToolKinds: q.ToolKinds, ToolCount: q.ToolCount, InputModalities: q.InputModalities, Images: q.Images,
		OutputModalities: q.OutputModalities, ResponseFormat: q.ResponseFormat, PromptTokens: q.PromptTokens,
		Parameters: q.Parameters, BodyBytes: len(q.Body), EgressHosts: q.EgressHosts, Store: q.Store, Background: q.Background,
		PreviousResponse: q.PreviousResponse, FileReferences: q.FileReferences, ReasoningEffort: q.ReasoningEffort,
		ReasoningTokens: q.ReasoningTokens, Preferences: preferencesOf(&q.Preferences), Preset: q.Preset,
		ServiceTier: q.ServiceTier,
		DataClass:   r.DataClass,
	}
	if c := q.Claims.DataClass; c != "" {
		r.Request.DataClass = account.HigherDataClass(r.DataClass, c)
	}
	for name, err := range p.Abstained {
		if r.Abstained == nil {
			r.Abstained = map[string]string{}
		}
		r.Abstained[name] = err.Error()
	}
	r.Candidates, r.numbered = make([]Candidate, len(p.Candidates)), true
	f := figures{single: make([]float64, 0, 2*len(p.Permits)), scored: make(ByScorer, 0, 2*len(p.Scorers)*len(p.Permits))}
	for i := range p.Candidates {
		c := &p.Candidates[i]
		out := Candidate{
			Row: c.Row.ID, Model: c.Row.Model.ID, Provider: c.Row.Provider.ID, Tag: c.Row.Tag, Group: c.Row.Group.Name,
			index: c.Row.Index, Place: c.Place, Excluded: c.Excluded, Unusable: !c.Row.Group.Usable(), Warnings: c.Warnings, Resting: c.Rest.Why != "", Rest: c.Rest.Why,
		}
		if !c.Rest.Until.IsZero() {
			out.RestMs = float64(c.Rest.Until.Sub(p.At).Microseconds()) / 1000
		}
		if c.Sticky {
			r.Sticky = append(r.Sticky, c.Row.ID)
		}
		if c.Place > 0 || c.Excluded.Code == route.CodeFallbacks { // it was ranked
			out.Utility, out.Share = f.finite(c.Ranked.Utility), f.finite(c.Ranked.Share)
			out.Scores, out.Parts = f.byScorer(p.Scorers, c.Ranked.Scores), f.byScorer(p.Scorers, c.Ranked.Parts)
			out.Terms, out.Shadows = c.Ranked.Terms, f.shadows(p.Shadows, c.Shadows)
		}
		if c.Place > 0 {
			if o := p.Permits[c.Place-1].Obligations(); o != (policy.Obligations{}) {
				out.Obligations = &o
				r.Log = lesser(r.Log, o.Log)
			}
		}
		r.Candidates[i] = out
	}
	if p.Refusal != nil {
		r.Outcome = Outcome{Status: p.Refusal.Status, Error: p.Refusal.Type}
	}
	return r
}

// claimsOf is nil where nothing is claimed.
func claimsOf(q *wire.Request) *Claims {
	c := &q.Claims
	claims := Claims{User: c.User, Metadata: c.Metadata, Tags: c.Tags, DataClass: c.DataClass, Session: q.SessionID, Trace: c.Trace}
	if a := c.App; a.URL != "" || a.Title != "" || len(a.Categories) > 0 || a.UserAgent != "" || a.Origin != "" {
		claims.App = &App{a.URL, a.Title, a.Categories, a.UserAgent, a.Origin}
	}
	if c.User == "" && len(c.Metadata) == 0 && len(c.Tags) == 0 && c.DataClass == "" && q.SessionID == "" && len(c.Trace) == 0 && claims.App == nil {
		return nil
	}
	return &claims
}

func preferencesOf(p *wire.Preferences) Preferences {
	return Preferences{
		Order: p.Order, Only: p.Only, Ignore: p.Ignore, AllowFallbacks: p.AllowFallbacks, RequireParameters: p.RequireParameters,
		DataCollection: p.DataCollection, ZDR: p.ZDR, DistillableText: p.DistillableText, Quantizations: p.Quantizations,
		Sort: p.Sort, Partition: p.Partition, MinThroughput: (*Cutoffs)(p.MinThroughput), MaxLatency: (*Cutoffs)(p.MaxLatency),
		MaxPrice: (*PriceCeiling)(p.MaxPrice),
	}
}

// lesser is the level that records less.
func lesser(a, b policy.LogLevel) policy.LogLevel {
	if a == policy.LogNone || b == "" {
		return a
	}
	return b
}
