package catalog

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"chaperone/engine/config"
)

// PriceSet is a set of prices: bit i stands for the ith of priceKeys.
type PriceSet int

// PriceOverrides are the prices of an endpoint that hold under conditions.
type PriceOverrides struct {
	Stated PriceSet        // of what holds without conditions; the others are like those
	List   []PriceOverride // a later one that holds wins, price by price
}

// PriceOverride is prices that hold under all of its conditions, as OpenRouter has them
// (https://openrouter.ai/docs/api-reference/list-available-models), and on some days alone.
type PriceOverride struct {
	MinPromptTokens int64          // holds for longer prompts, the cached part included; 0: for all
	From, Until     time.Duration  // since midnight UTC, from the one and before the other, over midnight if that is earlier; equal: all day
	Days            []time.Weekday // in UTC, of the moment itself; empty: all
	Prices          Prices
	Stated          PriceSet // of Prices
}

// overrideTable is one of price.overrides.
type overrideTable struct {
	priceTable
	MinPromptTokens int64    `toml:"min_prompt_tokens" check:"min=0"`
	From            string   `toml:"utc_start"`
	Until           string   `toml:"utc_end"`
	Days            []string `toml:"utc_days" check:"oneof=sun|mon|tue|wed|thu|fri|sat"`
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (t *overrideTable) read() (PriceOverride, config.Problems) {
	p, stated, problems := t.priceTable.read()
	o := PriceOverride{MinPromptTokens: t.MinPromptTokens, Prices: p, Stated: stated}
	if len(t.Overrides) > 0 {
		problems = append(problems, t.Problem("overrides", "stands in an override; expected one list of them"))
	}
	if stated == 0 && len(problems) == 0 {
		problems = append(problems, t.Problem("", "states no price; expected at least one, such as prompt = 0.5"))
	}
	for _, c := range []struct {
		key, text string
		into      *time.Duration
	}{{"utc_start", t.From, &o.From}, {"utc_end", t.Until, &o.Until}} {
		if c.text == "" {
			continue
		}
		at, err := time.Parse("15:04", c.text)
		if err != nil {
			problems = append(problems, t.Problem(c.key, "found %q; expected a time of day in UTC, such as \"16:30\"", c.text))
		}
		*c.into = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
	}
	if (t.From == "") != (t.Until == "") {
		problems = append(problems, t.Problem("", "has one of utc_start and utc_end; expected both"))
	}
	for _, day := range t.Days {
		if i := slices.Index(weekdays, day); i >= 0 {
			o.Days = append(o.Days, time.Weekday(i))
		}
	}
	if t.MinPromptTokens == 0 && t.From == "" && len(t.Days) == 0 {
		problems = append(problems, t.Problem("", "has no condition; expected min_prompt_tokens, utc_start and utc_end, or utc_days"))
	}
	return o, problems
}

// Condition is when it holds, in words: "above 200000 prompt tokens, 16:30-00:30 UTC, mon tue".
func (o *PriceOverride) Condition() string {
	var all []string
	if o.MinPromptTokens > 0 {
		all = append(all, fmt.Sprintf("above %d prompt tokens", o.MinPromptTokens))
	}
	if o.From != o.Until {
		all = append(all, clock(o.From)+"-"+clock(o.Until)+" UTC")
	}
	var days []string
	for _, d := range o.Days {
		days = append(days, weekdays[d])
	}
	if len(days) > 0 {
		all = append(all, strings.Join(days, " "))
	}
	return strings.Join(all, ", ")
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d", d/time.Hour, d%time.Hour/time.Minute)
}

// Each are the prices that it states, by their keys, per token or piece.
func (o *PriceOverride) Each() iter.Seq2[string, Picodollars] {
	return func(yield func(string, Picodollars) bool) {
		for i, k := range priceKeys {
			if o.Stated&(1<<i) != 0 && !yield(k.name, *k.of(&o.Prices)) {
				return
			}
		}
	}
}

// holds says whether it is in force for a prompt of that length at that moment.
func (o *PriceOverride) holds(prompt int64, at time.Time) bool {
	if prompt <= o.MinPromptTokens && o.MinPromptTokens > 0 {
		return false
	}
	at = at.UTC()
	if len(o.Days) > 0 && !slices.Contains(o.Days, at.Weekday()) {
		return false
	}
	if o.From == o.Until {
		return true
	}
	clock := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second
	if o.From < o.Until {
		return o.From <= clock && clock < o.Until
	}
	return o.From <= clock || clock < o.Until
}

// PricesAt are the prices for a prompt of that length at that moment. Prices are those where no override holds.
func (r *Row) PricesAt(prompt int64, at time.Time) Prices {
	if len(r.PriceOverrides.List) == 0 {
		return r.Prices
	}
	p, stated := r.Prices, r.PriceOverrides.Stated
	for i := range r.PriceOverrides.List {
		if o := &r.PriceOverrides.List[i]; o.holds(prompt, at) {
			p.take(&o.Prices, o.Stated)
			stated |= o.Stated
		}
	}
	p.fill(stated)
	return p
}

// take sets what is stated in other.
func (p *Prices) take(other *Prices, stated PriceSet) {
	for i, k := range priceKeys {
		if stated&(1<<i) != 0 {
			*k.of(p) = *k.of(other)
		}
	}
}

// DearestPrices are each at its dearest, whatever the prompt and the moment.
func (r *Row) DearestPrices() Prices {
	p := r.Prices
	for i := range r.PriceOverrides.List {
		o := &r.PriceOverrides.List[i]
		one := r.Prices
		one.take(&o.Prices, o.Stated)
		one.fill(r.PriceOverrides.Stated | o.Stated)
		for _, k := range priceKeys {
			*k.of(&p) = max(*k.of(&p), *k.of(&one))
		}
	}
	return p
}
