package journal

import (
	"chaperone/engine/account"
	"chaperone/engine/wire"
)

// Who is the principal of the record, in an organisation that may have changed since.
func (r *Record) Who(o *account.Organisation) *account.Principal {
	org := account.Organisation{ID: r.Organisation, DataClass: account.DataClasses[0]}
	if o != nil {
		org = *o
	}
	org.ValueOfTime = r.ValueOfTime
	who := &account.Principal{
		Organisation: &org, Labels: r.Labels, DataClass: r.DataClass,
		Key: &account.Key{ID: r.Key, Organisation: r.Organisation, Team: r.Team, DataClass: account.DataClasses[0]},
	}
	if who.Labels == nil {
		who.Labels = map[string]string{}
	}
	if r.Team != "" {
		who.Team = &account.Team{ID: r.Team, DataClass: account.DataClasses[0]}
	}
	return who
}

// Asked is the request as far as decisions could read it: all but its body. Of claims whose key has been destroyed only the data
// class is left, as far as it counted.
func (r *Record) Asked() *wire.Request {
	q := &r.Request
	p := &q.Preferences
	req := &wire.Request{
		Shape: wire.Shape(q.API), Model: q.Model, Models: q.Models, Stream: q.Stream, MaxOutputTokens: q.MaxOutputTokens, N: q.N,
		ToolKinds: q.ToolKinds, ToolCount: q.ToolCount, EgressHosts: q.EgressHosts, InputModalities: q.InputModalities, Images: q.Images,
		OutputModalities: q.OutputModalities, ResponseFormat: q.ResponseFormat, Store: q.Store, Background: q.Background,
		PreviousResponse: q.PreviousResponse, FileReferences: q.FileReferences, ReasoningEffort: q.ReasoningEffort,
		ReasoningTokens: q.ReasoningTokens, Parameters: q.Parameters, PromptTokens: q.PromptTokens, Preset: q.Preset,
		ServiceTier: q.ServiceTier,
		Preferences: wire.Preferences{
			Order: p.Order, Only: p.Only, Ignore: p.Ignore, AllowFallbacks: p.AllowFallbacks, RequireParameters: p.RequireParameters,
			DataCollection: p.DataCollection, ZDR: p.ZDR, DistillableText: p.DistillableText, Quantizations: p.Quantizations,
			Sort: p.Sort, Partition: p.Partition, MinThroughput: (*wire.Cutoffs)(p.MinThroughput),
			MaxLatency: (*wire.Cutoffs)(p.MaxLatency), MaxPrice: (*wire.PriceCeiling)(p.MaxPrice),
		},
	}
	switch {
	case r.Claims != nil:
		c := r.Claims
		req.Claims = wire.Claims{User: c.User, Metadata: c.Metadata, Tags: c.Tags, DataClass: c.DataClass, Trace: c.Trace}
		req.SessionID = c.Session
		if a := c.App; a != nil {
			req.Claims.App = wire.App{URL: a.URL, Title: a.Title, Categories: a.Categories, UserAgent: a.UserAgent, Origin: a.Origin}
		}
	case r.Sealed != nil && q.DataClass != r.DataClass:
		req.Claims.DataClass = q.DataClass
	}
	if req.Claims.Metadata == nil {
		req.Claims.Metadata = map[string]string{}
	}
	return req
}
