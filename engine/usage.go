package engine

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/ledger"
	"chaperone/engine/wire"
)

// books are the ledger with all that has happened up to now, for a key. Done with the snapshot, release it.
func (e *Engine) books(ctx context.Context, key string) (*snapshot, *account.Principal, *wire.Error) {
	s := e.acquire()
	who, refused := e.authenticate(s, Call{Key: key})
	if refused == nil && e.ledger == nil {
		refused = &wire.Error{Status: http.StatusNotImplemented, Type: "server",
			Message: "this router keeps no ledger of usage; its operator can set journal.dir"}
	}
	if refused == nil {
		if err := e.ledger.CatchUp(ctx); err != nil {
			refused = e.noLedger(err)
		}
	}
	if refused != nil {
		s.release()
		return nil, nil, refused
	}
	return s, who, nil
}

// noLedger tells the operator what is wrong, and the caller that something is.
func (e *Engine) noLedger(err error) *wire.Error {
	e.options.Log.Error("the ledger cannot be asked", slog.Any("error", err))
	return &wire.Error{Status: http.StatusServiceUnavailable, Type: "server", Message: "the ledger of usage cannot be asked just now; try again later"}
}

// keyView is OpenRouter's form (https://openrouter.ai/docs/api-reference/get-current-api-key). There are no limits: null.
type keyView struct {
	Label        string         `json:"label"`
	Limit        *float64       `json:"limit"`
	Remaining    *float64       `json:"limit_remaining"`
	Reset        *string        `json:"limit_reset"`
	Usage        catalog.Total  `json:"usage"` // USD
	Daily        catalog.Total  `json:"usage_daily"`
	Weekly       catalog.Total  `json:"usage_weekly"`
	Monthly      catalog.Total  `json:"usage_monthly"`
	BYOK         int            `json:"byok_usage"`
	BYOKDaily    int            `json:"byok_usage_daily"`
	BYOKWeekly   int            `json:"byok_usage_weekly"`
	BYOKMonthly  int            `json:"byok_usage_monthly"`
	IncludeBYOK  bool           `json:"include_byok_in_limit"`
	FreeTier     bool           `json:"is_free_tier"`
	Management   bool           `json:"is_management_key"`
	Provisioning bool           `json:"is_provisioning_key"`
	Expires      *string        `json:"expires_at"`
	Creator      *string        `json:"creator_user_id"`
	RateLimit    map[string]any `json:"rate_limit"`
	Regions      []string       `json:"allowed_data_regions"`      // policies say where data may go
	FreeRequests map[string]int `json:"free_model_daily_requests"` // there is no such allowance
	OrgID        string         `json:"organization_id"`
	Workspace    *string        `json:"workspace_id"` // the team
	ID           string         `json:"id"`
	Organisation string         `json:"organisation"`
	Team         *string        `json:"team"`
}

// Key is what a key has used, as JSON: in all, and in the day, week (from Monday) and month so far, in UTC.
func (e *Engine) Key(ctx context.Context, key string) ([]byte, error) {
	s, who, refused := e.books(ctx, key)
	if refused != nil {
		return nil, refused
	}
	defer s.release()
	k := who.Key
	v := keyView{Label: cmp.Or(k.Name, k.ID), ID: k.ID, Organisation: k.Organisation, Team: notEmpty(k.Team),
		OrgID: k.Organisation, Workspace: notEmpty(k.Team), Regions: []string{}, FreeRequests: map[string]int{"limit": 0, "used": 0, "remaining": 0},
		RateLimit: map[string]any{"requests": -1, "interval": "10s", "note": "there is none for a key"}}
	if !k.Expires.IsZero() {
		v.Expires = notEmpty(k.Expires.UTC().Format(time.RFC3339))
	}
	today := e.options.Now().UTC().Truncate(24 * time.Hour)
	own := map[ledger.Dimension][]string{ledger.Organisation: {k.Organisation}, ledger.Key: {k.ID}}
	for _, span := range []struct {
		since time.Time
		cost  *catalog.Total
	}{
		{time.Time{}, &v.Usage}, {today, &v.Daily}, {today.AddDate(0, 0, -(int(today.Weekday())+6)%7), &v.Weekly}, {today.AddDate(0, 0, 1-today.Day()), &v.Monthly},
	} {
		u, err := e.ledger.Usage(ctx, ledger.Query{Since: span.since, Where: own})
		if err != nil {
			return nil, e.noLedger(err)
		}
		*span.cost = u.Total.Cost
	}
	return json.Marshal(map[string]any{"data": v})
}

// Credits is what an organisation has used, as JSON. Nobody buys credits here: their total is null.
func (e *Engine) Credits(ctx context.Context, key string) ([]byte, error) {
	s, who, refused := e.books(ctx, key)
	if refused != nil {
		return nil, refused
	}
	defer s.release()
	u, err := e.ledger.Usage(ctx, ledger.Query{Where: map[ledger.Dimension][]string{ledger.Organisation: {who.Organisation.ID}}})
	if err != nil {
		return nil, e.noLedger(err)
	}
	return json.Marshal(map[string]any{"data": map[string]any{"total_credits": nil, "total_usage": u.Total.Cost}})
}

// activityView is OpenRouter's form (https://openrouter.ai/docs/api-reference/get-user-activity-grouped-by-endpoint).
type activityView struct {
	Date       string        `json:"date"`
	Model      string        `json:"model"`
	Permaslug  string        `json:"model_permaslug"`
	EndpointID string        `json:"endpoint_id"`
	Provider   string        `json:"provider_name"`
	Workspace  *string       `json:"workspace_id,omitempty"`
	Requests   int64         `json:"requests"`
	Prompt     int64         `json:"prompt_tokens"`
	Completion int64         `json:"completion_tokens"`
	Reasoning  int64         `json:"reasoning_tokens"`
	Usage      catalog.Total `json:"usage"` // USD
	BYOK       int           `json:"byok_usage_inference"`
}

// activityDays are the complete days that Activity tells of.
const activityDays = 30

// Activity is what an organisation used in the last 30 complete days in UTC, by day and endpoint, as JSON. It reads date,
// api_key_hash, user_id (as callers claim it), workspace_id (a team) and group_by=workspace of the query.
func (e *Engine) Activity(ctx context.Context, key string, query url.Values) ([]byte, error) {
	s, who, refused := e.books(ctx, key)
	if refused != nil {
		return nil, refused
	}
	defer s.release()
	today := e.options.Now().UTC().Truncate(24 * time.Hour)
	q := ledger.Query{
		By:    []ledger.Dimension{ledger.Day, ledger.Model, ledger.Provider, ledger.Endpoint},
		Where: map[ledger.Dimension][]string{ledger.Organisation: {who.Organisation.ID}},
		Since: today.AddDate(0, 0, -activityDays), Until: today,
	}
	if text := query.Get("date"); text != "" {
		at, err := time.Parse(time.DateOnly, text)
		if err != nil || at.Before(q.Since) || !at.Before(q.Until) {
			return nil, badQuery("date", "found %q; expected one of the last %d complete days in UTC, such as %s", text, activityDays, today.AddDate(0, 0, -1).Format(time.DateOnly))
		}
		q.Since, q.Until = at, at.AddDate(0, 0, 1)
	}
	if text := query.Get("api_key_hash"); text != "" {
		id, ok := keyID(text)
		if !ok {
			return nil, badQuery("api_key_hash", "found %q; expected a key's SHA-256 in 64 hexadecimal digits, or its id", text)
		}
		q.Where[ledger.Key] = []string{id}
	}
	if text := query.Get("user_id"); text != "" {
		q.Where[ledger.User] = []string{text}
	}
	if text := query.Get("workspace_id"); text != "" {
		q.Where[ledger.Team] = []string{text}
	}
	switch text := query.Get("group_by"); text {
	case "":
	case "workspace":
		q.By = append(q.By, ledger.Team)
	default:
		return nil, badQuery("group_by", "found %q; expected workspace, or nothing", text)
	}
	u, err := e.ledger.Usage(ctx, q)
	if err != nil {
		return nil, e.noLedger(err)
	}
	data := []activityView{}
	for _, r := range u.Rows {
		v := activityView{Date: r.Keys[0], Model: r.Keys[1], Permaslug: r.Keys[1], Provider: s.providerName(r.Keys[2]), EndpointID: r.Keys[3], Requests: r.Requests,
			Prompt: r.Prompt, Completion: r.Completion, Reasoning: r.Reasoning, Usage: r.Cost}
		if len(r.Keys) > 4 {
			v.Workspace = &r.Keys[4]
		}
		data = append(data, v)
	}
	return json.Marshal(map[string]any{"data": data})
}

// providerName is how a provider is shown; its id where the catalog does not have it any more.
func (s *snapshot) providerName(id string) string {
	if p := s.catalog.Providers[id]; p != nil {
		return p.Name
	}
	return id
}

// keyID is the id of a key that is named by it, or by its SHA-256.
func keyID(text string) (string, bool) {
	sum, err := hex.DecodeString(text)
	switch {
	case err == nil && len(sum) == 32:
		return account.KeyID([32]byte(sum)), true
	case len(text) > 4 && text[:4] == "key_":
		return text, true
	}
	return "", false
}

func badQuery(field, format string, args ...any) *wire.Error {
	return &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}
