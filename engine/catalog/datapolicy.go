package catalog

import (
	"time"

	"chaperone/engine/config"
)

// Tri is a claim that may be unknown. The zero value is not a claim: loading fills it.
type Tri string

// The values of a Tri.
const (
	Yes     Tri = "yes"
	No      Tri = "no"
	Unknown Tri = "unknown"
)

// UnknownRetentionDays stands for a retention that nobody has stated.
const UnknownRetentionDays = 36500

// DataPolicy is what a provider does with prompts under the terms of one group of credentials.
type DataPolicy struct {
	Training       Tri
	RetainsPrompts Tri
	RetentionDays  int    // 36500 where it is not known
	ZDR            Tri    // zero data retention holds as things are
	ZDROption      string // how the dialect switches it on for one request; "" where it cannot
	Publishes      Tri
	Evidence       string    // where the claim can be read
	AsOf           time.Time // zero: not stated
	ReviewBy       time.Time // after this day, UTC, claims no longer count; zero: they always do
}

// UnknownDataPolicy is that of a provider of which nothing is known.
func UnknownDataPolicy() DataPolicy {
	return DataPolicy{Training: Unknown, RetainsPrompts: Unknown, RetentionDays: UnknownRetentionDays, ZDR: Unknown, Publishes: Unknown}
}

// At is the policy as it counts on that day: past ReviewBy no claim is better than unknown. One that is worse stands: a
// provider that said that it trains does not become less known to do so.
func (d DataPolicy) At(now time.Time) DataPolicy {
	if within(d.ReviewBy, now) {
		return d
	}
	d.Training = worse(d.Training, Unknown, Yes)
	d.RetainsPrompts = worse(d.RetainsPrompts, Unknown, Yes)
	d.Publishes = worse(d.Publishes, Unknown, Yes)
	d.ZDR = worse(d.ZDR, Unknown, No)
	d.ZDROption = ""
	d.RetentionDays = UnknownRetentionDays
	return d
}

// within says whether a claim that is to be reviewed by that day, UTC, still counts; zero: it always does.
func within(reviewBy, now time.Time) bool {
	return reviewBy.IsZero() || now.Before(reviewBy.UTC().Truncate(24*time.Hour).Add(24*time.Hour))
}

// worse is the claim that a careful reader would go by, where bad is the worst that could be said.
func worse(a, b, bad Tri) Tri {
	switch {
	case a == bad || b == bad:
		return bad
	case a == Unknown || b == Unknown:
		return Unknown
	}
	return a
}

// claims is a [….data_policy] table: what it leaves out is nil or "".
type claims struct {
	config.Origin
	Training       Tri       `toml:"training" check:"oneof=yes|no|unknown"`
	RetainsPrompts Tri       `toml:"retains_prompts" check:"oneof=yes|no|unknown"`
	RetentionDays  *int      `toml:"retention_days" check:"min=0,max=36500"`
	ZDR            Tri       `toml:"zdr" check:"oneof=yes|no|unknown"`
	ZDROption      *string   `toml:"zdr_option"`
	Publishes      Tri       `toml:"publishes" check:"oneof=yes|no|unknown"`
	Evidence       string    `toml:"evidence"`
	AsOf           time.Time `toml:"as_of"`
	ReviewBy       time.Time `toml:"review_by"`
}

func (c *claims) problems() config.Problems {
	var ps config.Problems
	if c.RetentionDays != nil && *c.RetentionDays > 0 {
		if c.RetainsPrompts == No {
			ps = append(ps, c.Problem("retention_days", "found %d beside retains_prompts = \"no\"; expected 0, or \"yes\" there", *c.RetentionDays))
		}
		if c.ZDR == Yes {
			ps = append(ps, c.Problem("retention_days", "found %d beside zdr = \"yes\"; zero data retention means 0", *c.RetentionDays))
		}
	}
	if c.ZDR == Yes && c.RetainsPrompts == Yes {
		ps = append(ps, c.Problem("zdr", `found "yes" beside retains_prompts = "yes"; where prompts are kept, zero data retention does not hold`))
	}
	if !c.ReviewBy.IsZero() && c.ReviewBy.Before(c.AsOf) {
		ps = append(ps, c.Problem("review_by", "found %s, before as_of = %s; expected a later date", c.ReviewBy.Format(time.DateOnly), c.AsOf.Format(time.DateOnly)))
	}
	return ps
}

// imply writes down what follows: zero data retention means that prompts are not kept, and that means for 0 days.
func (c *claims) imply() {
	if c.ZDR == Yes && c.RetainsPrompts == "" {
		c.RetainsPrompts = No
	}
	if c.RetainsPrompts == No && c.RetentionDays == nil {
		c.RetentionDays = new(int)
	}
}

// over lays c over what is known so far, field by field.
func (c *claims) over(d DataPolicy) DataPolicy {
	overlay(&d.Training, c.Training)
	overlay(&d.RetainsPrompts, c.RetainsPrompts)
	overlay(&d.ZDR, c.ZDR)
	overlay(&d.Publishes, c.Publishes)
	overlay(&d.Evidence, c.Evidence)
	switch {
	case c.RetentionDays != nil:
		d.RetentionDays = *c.RetentionDays
	case c.RetainsPrompts != "" && d.RetentionDays == 0: // "yes" or "unknown": the 0 went with the "no" that it overrides
		d.RetentionDays = UnknownRetentionDays
	}
	if c.ZDROption != nil {
		d.ZDROption = *c.ZDROption
	}
	if !c.AsOf.IsZero() {
		d.AsOf = c.AsOf
	}
	if !c.ReviewBy.IsZero() {
		d.ReviewBy = c.ReviewBy
	}
	return d
}

func overlay[T ~string](field *T, stated T) {
	if stated != "" {
		*field = stated
	}
}

// terms unites what the provider says of everything, of a group of credentials and of one endpoint. Group and endpoint
// both override the provider; where both speak of one thing, the worse counts: a contract that excludes training does
// not reach a preview endpoint that trains, nor the other way round.
func terms(provider, group, endpoint *claims) DataPolicy {
	d := group.over(provider.over(UnknownDataPolicy()))
	e := endpoint.over(d)
	both := func(a, b Tri) bool { return a != "" && b != "" }
	if both(group.Training, endpoint.Training) {
		e.Training = worse(group.Training, endpoint.Training, Yes)
	}
	if both(group.RetainsPrompts, endpoint.RetainsPrompts) {
		e.RetainsPrompts = worse(group.RetainsPrompts, endpoint.RetainsPrompts, Yes)
	}
	if both(group.Publishes, endpoint.Publishes) {
		e.Publishes = worse(group.Publishes, endpoint.Publishes, Yes)
	}
	if both(group.ZDR, endpoint.ZDR) {
		e.ZDR = worse(group.ZDR, endpoint.ZDR, No)
	}
	if group.speaksOfRetention() && endpoint.speaksOfRetention() {
		e.RetentionDays = max(d.RetentionDays, e.RetentionDays)
	}
	if group.ZDROption != nil && endpoint.ZDROption != nil && *group.ZDROption != *endpoint.ZDROption {
		e.ZDROption = ""
	}
	if !group.ReviewBy.IsZero() && group.ReviewBy.Before(e.ReviewBy) {
		e.ReviewBy = group.ReviewBy
	}
	// Layers may disagree where no single table does.
	if e.RetainsPrompts == Yes && e.ZDR == Yes {
		e.ZDR = No
	}
	return e
}

func (c *claims) speaksOfRetention() bool { return c.RetentionDays != nil || c.RetainsPrompts != "" }
