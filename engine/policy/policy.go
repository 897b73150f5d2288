// Package policy decides which rows may serve a request. It compiles Rego, judges rows, says why, and is the only maker
// of permits.
package policy

import (
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// Query is what is judged: every row of Rows, for this principal and request, at this moment.
type Query struct {
	Principal *account.Principal
	Request   *wire.Request
	Rows      []*catalog.Row
	Stats     *telemetry.View
	Now       time.Time
}

// Judgement answers a Query. What its slices and its map hold is shared between judgements: it is only read.
type Judgement struct {
	Rejections []Reason  // the whole request is refused; then no verdict holds a permit
	Verdicts   []Verdict // parallel to Query.Rows
	Warnings   []Reason  // what bindings that only warn or run dry would have rejected the request for
	// Weights are those that policies give to scorers; nil: the configured ones stand.
	Weights map[string]float64
	// Ignored says why a policy's weights do not count: ranking fails soft.
	Ignored []Reason
}

// Verdict is the answer for one row.
type Verdict struct {
	Permit   Permit   // its zero value where the row is denied
	Denials  []Reason // why; empty exactly where Permit is valid
	Warnings []Reason // what would have denied it, but that its binding only warns or runs dry, or that it is waived
}

// CodeOverrun is the code of a reason that is no rule's word: the evaluation took too long. It says nothing of the next time.
const CodeOverrun = "overrun"

// Reason is one rule's word.
type Reason struct {
	Binding string `json:"binding"` // package and scope: "library.training for org:acme"
	Package string `json:"package"`
	Rule    string `json:"rule"`           // deny | allow | reject | require | prefer | error
	Code    string `json:"code,omitempty"` // where the author gave one
	Message string `json:"message"`
	File    string `json:"file,omitempty"` // of the rule that fired
	Line    int    `json:"line,omitempty"`
	// Title, Control and Severity are what the rule's metadata say: title, custom.control and custom.severity.
	Title    string `json:"title,omitempty"`
	Control  string `json:"control,omitempty"`
	Severity string `json:"severity,omitempty"`
	// Enforcement is that of the binding: deny, warn or dryrun; or waived.
	Enforcement string `json:"enforcement,omitempty"`
	// Waiver is the exception because of which this reason does not count; nil: it counts.
	Waiver *Waiver `json:"waiver,omitempty"`

	waivable bool // every rule that gave this reason may be waived
}
