package dispatch

import (
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/policy"
)

// affordable says whether all attempts together stay within what the request may cost even if those that run beside this one,
// and this one, cost the most that they can. Those that are given up for it cost their prompts.
func (r *run) affordable(p policy.Permit, beside []*attempt, givenUp ...*attempt) bool {
	limit := r.j.Limits.MaxCost
	if limit == 0 {
		return true
	}
	sum := r.worst(p)
	for _, a := range r.attempts {
		sum = sum.Plus(a.Cost)
	}
	for _, a := range beside {
		sum = sum.Plus(r.worst(a.permit))
	}
	for _, a := range givenUp {
		sum = sum.Plus(r.price(a.row, 0))
	}
	return sum <= limit
}

// worst is what an attempt costs at most, as far as it can be known before: with all the output that may come.
func (r *run) worst(p policy.Permit) catalog.Picodollars {
	req, row := r.j.Plan.Request, p.Row()
	output := r.outputLimit(p)
	if output == 0 {
		output = row.MaxOutputTokens
	}
	if output == 0 {
		output = max(0, row.ContextLength-req.PromptTokens)
	}
	return r.price(row, catalog.Product(output, max(req.N, 1)))
}

// price is that of the prompt, as it is estimated, and of so many tokens of output at a row.
func (r *run) price(row *catalog.Row, output int64) catalog.Picodollars {
	req := r.j.Plan.Request
	prices := row.PricesAt(req.PromptTokens, time.Now())
	prices.Completion = max(prices.Completion, prices.Reasoning)
	return prices.Cost(catalog.Counts{Prompt: req.PromptTokens, Completion: output, Images: req.Images})
}

// outputLimit is the most output tokens of a choice that the request or the permit's obligations allow; 0: they do not say.
func (r *run) outputLimit(p policy.Permit) int64 {
	output := r.j.Plan.Request.MaxOutputTokens
	if limit := p.Obligations().MaxOutputTokens; limit > 0 && (output == 0 || limit < output) {
		output = limit
	}
	return output
}
