package catalog

import (
	"time"

	"chaperone/engine/config"
)

// Distillation is whether a model's answers may be used to train other models, as its author's licence or terms say and,
// where an endpoint's provider adds terms of its own, as those do too.
type Distillation struct {
	Permitted Tri
	Evidence  string    // where the claim can be read
	AsOf      time.Time // zero: not stated
	ReviewBy  time.Time // after this day, UTC, a yes no longer counts; zero: it always does
}

// At is the claim as it counts on that day: past ReviewBy a yes is unknown, and a no stands.
func (d Distillation) At(now time.Time) Tri {
	if d.Permitted != Yes || within(d.ReviewBy, now) {
		return d.Permitted
	}
	return Unknown
}

// distillationTable is a distillation table of a model or an endpoint: what it leaves out is "".
type distillationTable struct {
	config.Origin
	Permitted Tri       `toml:"permitted" check:"oneof=yes|no|unknown"`
	Evidence  string    `toml:"evidence"`
	AsOf      time.Time `toml:"as_of"`
	ReviewBy  time.Time `toml:"review_by"`
}

func (t *distillationTable) problems() config.Problems {
	if !t.ReviewBy.IsZero() && t.ReviewBy.Before(t.AsOf) {
		return config.Problems{t.Problem("review_by", "found %s, before as_of = %s; expected a later date", t.ReviewBy.Format(time.DateOnly), t.AsOf.Format(time.DateOnly))}
	}
	return nil
}

func (t *distillationTable) claim() Distillation {
	return Distillation{Permitted: orElse(t.Permitted, Unknown), Evidence: t.Evidence, AsOf: t.AsOf, ReviewBy: t.ReviewBy}
}

// distillation is what is said of one endpoint, else of its model. A no of the model's author stands, and a yes lasts no
// longer than the author's: what a provider adds to a licence can only be stricter.
func distillation(model Distillation, endpoint *distillationTable) Distillation {
	if endpoint.Permitted == "" || model.Permitted == No {
		return model
	}
	d := endpoint.claim()
	if model.Permitted == Yes && !model.ReviewBy.IsZero() && (d.ReviewBy.IsZero() || model.ReviewBy.Before(d.ReviewBy)) {
		d.ReviewBy = model.ReviewBy
	}
	return d
}
