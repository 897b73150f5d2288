package listing

import (
	"encoding/json"
	"strings"
	"time"

	"chaperone/engine/catalog"
)

// pricing is USD per token (request, image: per unit), as decimal strings.
type pricing struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
	CacheRead  string `json:"input_cache_read"`
	CacheWrite string `json:"input_cache_write"`
	Hour       string `json:"input_cache_write_1h"`
	Reasoning  string `json:"internal_reasoning"`
	Request    string `json:"request"`
	Image      string `json:"image"`
	Audio      string `json:"audio"`

	Overrides []pricingOverride `json:"overrides,omitempty"`
}

// pricingOverride is OpenRouter's, with the days on which it holds alone.
type pricingOverride struct {
	MinPromptTokens int64             `json:"min_prompt_tokens,omitempty"` // longer prompts
	Start           *int              `json:"utc_start,omitempty"`         // HHMM
	End             *int              `json:"utc_end,omitempty"`
	Days            []string          `json:"utc_days,omitempty"` // "monday"
	Prices          map[string]string `json:"-"`
}

// priceNames are OpenRouter's, by ours.
var priceNames = map[string]string{
	"prompt": "prompt", "completion": "completion", "cache_read": "input_cache_read", "cache_write": "input_cache_write",
	"cache_write_1h": "input_cache_write_1h", "reasoning": "internal_reasoning", "request": "request", "image": "image", "audio": "audio",
}

// MarshalJSON has the prices beside the conditions.
func (o pricingOverride) MarshalJSON() ([]byte, error) {
	type conditions pricingOverride
	text, err := json.Marshal(conditions(o))
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for name, price := range o.Prices {
		all[name] = price
	}
	return json.Marshal(all)
}

func pricesOf(r *catalog.Row) pricing {
	p := &r.Prices
	out := pricing{Prompt: p.Prompt.String(), Completion: p.Completion.String(), CacheRead: p.CacheRead.String(), CacheWrite: p.CacheWrite.String(),
		Hour: p.CacheWrite1h.String(), Reasoning: p.Reasoning.String(), Request: p.Request.String(), Image: p.Image.String(), Audio: p.Audio.String()}
	for i := range r.PriceOverrides.List {
		o := &r.PriceOverrides.List[i]
		shown := pricingOverride{MinPromptTokens: o.MinPromptTokens, Prices: map[string]string{}}
		if o.From != o.Until {
			shown.Start, shown.End = clock(o.From), clock(o.Until)
		}
		for _, day := range o.Days {
			shown.Days = append(shown.Days, strings.ToLower(day.String()))
		}
		for name, price := range o.Each() {
			shown.Prices[priceNames[name]] = price.String()
		}
		out.Overrides = append(out.Overrides, shown)
	}
	return out
}

func clock(d time.Duration) *int {
	hhmm := int(d/time.Hour*100 + d%time.Hour/time.Minute)
	return &hhmm
}
