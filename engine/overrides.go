package engine

import (
	"maps"
	"slices"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/dispatch"
	"chaperone/engine/route"
)

// Override is one [[dispatch.overrides]]: what is different for an organisation, for a model, or for an organisation's
// requests for a model. Of several that match, a later one wins, key by key. A key that is absent changes nothing.
type Override struct {
	config.Origin
	Organisation string `toml:"organisation"` // "": every one
	Model        string `toml:"model"`        // "": every one

	FirstByte      *time.Duration `toml:"first_byte" check:"min=1ms"`
	TTFT           *time.Duration `toml:"ttft" check:"min=1ms"`
	Answer         *time.Duration `toml:"answer" check:"min=1ms"`
	Idle           *time.Duration `toml:"idle" check:"min=1ms"`
	Total          *time.Duration `toml:"total" check:"min=1ms"`
	Attempts       *int           `toml:"attempts" check:"min=1"`
	MaxCost        *float64       `toml:"max_cost" check:"min=0"`
	OnSlow         *string        `toml:"on_slow" check:"oneof=switch|hedge|wait"`
	RetryAfterWait *time.Duration `toml:"retry_after_wait" check:"min=0s"`
	Hedge          *bool          `toml:"hedge"`
	Rescue         *[]string      `toml:"rescue" check:"oneof=continue|splice"`
}

// check reports names that do not exist.
func (d *Dispatch) check(cat *catalog.Catalog, accounts *account.Accounts) config.Problems {
	var all config.Problems
	for _, o := range d.Overrides {
		if o.Organisation != "" && accounts.Organisations[o.Organisation] == nil {
			all = append(all, o.Problem("organisation", "%s", config.UnknownName("organisation", o.Organisation, slices.Collect(maps.Keys(accounts.Organisations)))))
		}
		if o.Model != "" && cat.Models[o.Model] == nil {
			all = append(all, o.Problem("model", "%s", config.UnknownName("model", o.Model, cat.ModelIDs())))
		}
	}
	return all
}

// matching calls f with each override that holds for a request, in order.
func (d *Dispatch) matching(organisation, model string, f func(*Override)) {
	for _, o := range d.Overrides {
		if (o.Organisation == "" || o.Organisation == organisation) && (o.Model == "" || o.Model == model) {
			f(o)
		}
	}
}

func override[T any](into *T, value *T) {
	if value != nil {
		*into = *value
	}
}

// patience is that with attempts at a model.
func (s *Settings) patience(organisation, model string) dispatch.Patience {
	t := s.Timeouts
	p := dispatch.Patience{FirstByte: t.FirstByte, TTFT: t.TTFT, Answer: t.Answer, Idle: t.Idle}
	s.Dispatch.matching(organisation, model, func(o *Override) {
		override(&p.FirstByte, o.FirstByte)
		override(&p.TTFT, o.TTFT)
		override(&p.Answer, o.Answer)
		override(&p.Idle, o.Idle)
	})
	return p
}

// limits are those of a request whose client waits for so long (0: it does not say) and has waited already, by the model that
// comes first.
func (s *Settings) limits(p *route.Plan, timeout, waited time.Duration) dispatch.Limits {
	t, d := s.Timeouts, s.Dispatch
	l := dispatch.Limits{
		Total: t.Total, EarlyHeaders: t.EarlyHeaders, KeepAlive: t.KeepAlive,
		Attempts: s.Routing.Attempts, AnswerBytes: s.Routing.MaxAnswerBytes,
		OnSlow: dispatch.OnSlow(d.OnSlow), Backoff: d.Backoff, RetryAfterWait: d.RetryAfterWait, RetryShare: d.RetryBudget / 100,
		Hedge: d.Hedge, HedgeShare: d.HedgeBudget / 100,
		Rescue: d.Rescue, QueueWait: s.Load.QueueWait,
	}
	dollars, slow := d.MaxCost, d.OnSlow
	d.matching(p.Principal.Organisation.ID, p.Permits[0].Row().Model.ID, func(o *Override) {
		override(&l.Total, o.Total)
		override(&l.Attempts, o.Attempts)
		override(&dollars, o.MaxCost)
		override(&slow, o.OnSlow)
		override(&l.RetryAfterWait, o.RetryAfterWait)
		override(&l.Hedge, o.Hedge)
		override(&l.Rescue, o.Rescue)
	})
	l.MaxCost, l.OnSlow = catalog.Picodollars(dollars*float64(catalog.Dollar)), dispatch.OnSlow(slow)
	if timeout > 0 {
		l.Total = min(l.Total, timeout)
	}
	l.Total = max(l.Total-waited, time.Millisecond)
	return l
}
