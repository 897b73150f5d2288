package engine

import (
	"encoding/json"
	"math"
	"net/url"
	"slices"
)

// The page of a listing of models, as Anthropic has it.
const (
	defaultAnthropicModels = 20
	mostAnthropicModels    = 1000
)

// pageForAnthropic is one page of models: those after after_id, or those before before_id
// (https://docs.claude.com/en/api/models-list).
func pageForAnthropic(all []usable, q url.Values) ([]byte, error) {
	r := filterReader{query: q}
	limit, sent := r.whole("limit", 1, mostAnthropicModels)
	if !sent {
		limit = defaultAnthropicModels
	}
	place := func(name string, none int) int {
		id := q.Get(name)
		if id == "" {
			return none
		}
		at := slices.IndexFunc(all, func(u usable) bool { return u.Model.ID == id })
		if at < 0 {
			r.fail(name, "found %.80q, which is not a model that this key may use", id)
		}
		return at
	}
	after, before := place("after_id", -1), place("before_id", math.MaxInt)
	if q.Get("after_id") != "" && q.Get("before_id") != "" {
		r.fail("before_id", "found beside after_id; send one of them")
	}
	if r.err != nil {
		return nil, r.err
	}
	more := false
	if q.Get("before_id") != "" {
		from := max(0, before-limit)
		all, more = all[from:before], from > 0
	} else {
		to := min(len(all), after+1+limit)
		all, more = all[after+1:to], to < len(all)
	}
	data := make([]anthropicModel, len(all))
	for i := range all {
		data[i] = all[i].anthropic()
	}
	page := map[string]any{"data": data, "has_more": more, "first_id": nil, "last_id": nil}
	if len(data) > 0 {
		page["first_id"], page["last_id"] = data[0].ID, data[len(data)-1].ID
	}
	return json.Marshal(page)
}
