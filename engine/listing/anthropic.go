package listing

import (
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"time"
)

// The page of a listing of models, as Anthropic has it.
const (
	defaultAnthropicModels = 20
	mostAnthropicModels    = 1000
)

// AnthropicPage is one page, as JSON, of those of all that answer in text, which is all that Anthropic's API is for: those after
// after_id, or those before before_id (https://docs.claude.com/en/api/models-list). A mistake in the query is a *wire.Error.
func AnthropicPage(all []Model, q url.Values, now time.Time) ([]byte, error) {
	chats, _ := ReadFilter(nil)
	all = chats.choose(all, now)
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
		at := slices.IndexFunc(all, func(u Model) bool { return u.Model.ID == id })
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

// anthropicModel is a model as Anthropic's API lists it (https://docs.claude.com/en/api/models-list).
type anthropicModel struct {
	Type            string `json:"type"`
	ID              string `json:"id"`
	DisplayName     string `json:"display_name"`
	CreatedAt       string `json:"created_at"` // RFC 3339; 1970 where it is not known
	MaxInputTokens  int64  `json:"max_input_tokens"`
	MaxOutputTokens *int64 `json:"max_tokens"`
}

func (u *Model) anthropic() anthropicModel {
	return anthropicModel{Type: "model", ID: u.Model.ID, DisplayName: u.Model.Name,
		CreatedAt: time.Unix(unixOrZero(u.Model.Created), 0).UTC().Format(time.RFC3339), MaxInputTokens: u.context(),
		MaxOutputTokens: positive(u.cheapest.MaxOutputTokens)}
}

// ShowAnthropic is a model, as JSON, as Anthropic's API has it.
func (u *Model) ShowAnthropic() ([]byte, error) { return json.Marshal(u.anthropic()) }
