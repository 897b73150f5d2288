// Package route turns a request into a plan: which rows could serve it, which of them policy permits, in which order they
// are tried, and why the others are not.
package route

import (
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// Stage is the step of the filter that took a candidate out, in the order in which they run.
type Stage string

// The stages.
const (
	StageCapability Stage = "capability"
	StagePreference Stage = "preference"
	StagePolicy     Stage = "policy"
	StageAccount    Stage = "account"
)

// CodeFallbacks is the code of those that are out because another comes first and the caller wants no fallback.
const CodeFallbacks = "allow_fallbacks"

// Candidate is a row that the requested models have, with what became of it.
type Candidate struct {
	Row      *catalog.Row
	Excluded *Exclusion // nil where it is in the plan
	Sticky   bool       // ahead because it holds the conversation's prompt
	Ranked   scorer.RankedRow
	Shadows  []Shadow        // parallel to Plan.Shadows; nil where excluded
	Warnings []policy.Reason // what bindings that only warn or run dry would have denied it for
	Place    int             // 1-based place in the plan; 0 where excluded

	model  int // its model's place in Plan.asked
	group  int // the same for all that were ranked together; 0: it was not ranked
	permit policy.Permit
	Rest   telemetry.Rest // health moved it behind the others
}

// Shadow is what a shadow scorer made of a candidate that was ranked: how it would have come out if that scorer alone had
// ranked.
type Shadow struct {
	Place                 int     // 1-based, among the candidates that were ranked together
	Score, Utility, Share float64 // the score and the utility are NaN where the scorer abstained
}

// Exclusion is the first reason that a candidate is out.
type Exclusion struct {
	Stage   Stage           `json:"stage"`
	Code    string          `json:"code"`    // OpenRouter's excluded_by vocabulary where it has a word
	Message string          `json:"message"` // what, and what would let it through
	Denials []policy.Reason `json:"denials,omitempty"`

	change Change
}

// Plan is a decision: ordered permits, or a refusal.
type Plan struct {
	ID            string // gen-…: the decision's, the journal's and the answer's id
	At            time.Time
	Seed          uint64
	Principal     *account.Principal
	Request       *wire.Request
	Snapshot      uint64 // generation
	PolicyDigest  string
	CatalogDigest string
	Stats         *telemetry.View // that policy and scorers read; nil where it did not come to that
	Permits       []policy.Permit
	Candidates    []Candidate
	Refusal       *wire.Error // nil exactly where Permits is not empty
	Rejections    []policy.Reason
	Warnings      []policy.Reason    // what bindings that only warn or run dry would have rejected the request for
	Weights       map[string]float64 // of scorers, as policy prefers; nil: the configured ones
	Scorers       []string           // that ranked; empty where nothing was left to rank
	Shadows       []string           // shadow scorers that ranked beside them
	Abstained     map[string]error
	Judged        time.Duration // how long policies took
	Took          time.Duration // all of it

	// Holds are the rows, of the models that are asked for, whose providers hold the conversation's prompt in their cache.
	Holds []string
	// Made are the accounts that made reasoning which the request sends back sealed, as far as that is known.
	Made []string

	past  *Past
	asked []ask // the models, in the order in which they are to be tried
}

// Strategy is how the models of a plan were chosen, in the words of OpenRouter's metadata.
func (p *Plan) Strategy() string {
	switch {
	case len(p.asked) > 1:
		return "fallback"
	case len(p.asked) == 1 && (p.asked[0].free || strings.HasSuffix(p.asked[0].model.ID, ":free")):
		return "free"
	case len(p.asked) == 1 && p.asked[0].other:
		return "alias"
	}
	return "direct"
}
