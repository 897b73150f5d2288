package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/wire"
)

// Generation is one request, as its client saw it, and the attempts that it took.
type Generation struct {
	ID           string
	At           time.Time // in UTC, to the microsecond
	Organisation string
	Team         string
	Key          string   // its id
	User         string   // as the caller claims; likewise App and Tags
	App          string   // its title, or else its address
	Tags         []string // in order, each once
	Session      string   // likewise as the caller claims
	Site         string   // likewise: the app's address
	UserAgent    string   // likewise
	Origin       string   // likewise: of the page that has asked
	API          string   // that it came in, as wire.Shape names it; "" where the ledger did not keep that yet
	Preset       string
	Images       int64  // in the prompt
	Asked        string // the model that was asked for
	Model        string // that answered, or else was asked for
	Provider     string // id; "" where none has answered
	ProviderName string
	Endpoint     string // id of the row that answered
	Status       int    // HTTP, as the client saw it
	Error        string // error_type; "" where there was none
	FinishReason string
	NativeReason string // the provider's own word for it; "": the same
	ServiceTier  string // that has served, "default" for none, where one was asked for or has served
	UpstreamID   string // of the answer, as its provider calls it; "" where it does not say
	Streamed     bool
	Rescued      string
	CachedFrom   string // id of the request whose answer was given once more
	Fallbacks    int
	Usage        wire.Usage
	Cost         catalog.Picodollars // of all attempts
	Discount     catalog.Picodollars // how much less the answer has cost than without a cache
	TTFT         time.Duration       // 0 where nothing came, or all at once
	Duration     time.Duration
	Attempts     []Attempt
}

// Attempt is what one provider was asked for a request.
type Attempt struct {
	Provider     string // id
	ProviderName string
	Model        string
	Endpoint     string // id of the row
	Purpose      string // one of journal.For…
	Outcome      string // "ok", "cancelled" or the fault's kind
	Status       int    // the provider's; 0: none came
	BodySent     string // none | part | all
	Duration     time.Duration
	Usage        wire.Usage
	ServiceTier  string // likewise that has served
	UpstreamID   string // likewise of its answer
	Cost         catalog.Picodollars
	answered     bool          // the request counts here
	spoken       time.Duration // since the first token, where it has answered with one; 0 where that is not known
}

// TPS is how many output tokens a second came once the first was there; 0 where that is not known.
func (g *Generation) TPS() float64 {
	spoken := g.Duration - g.TTFT
	if g.TTFT == 0 || spoken <= 0 {
		return 0
	}
	return float64(g.Usage.CompletionTokens) / spoken.Seconds()
}

// Of is what a record says of a request; nil where it is of none, but of a question what would be decided.
func Of(r *journal.Record) *Generation {
	if !r.Dispatched && (r.Question || r.Outcome.Status == 0) {
		return nil
	}
	o := &r.Outcome
	g := &Generation{
		ID: text(r.ID), At: r.At.UTC().Truncate(time.Microsecond), Organisation: text(r.Organisation), Team: text(r.Team), Key: text(r.Key),
		Asked: text(r.Request.Model), Model: text(o.Model), Endpoint: text(o.Row), ProviderName: text(o.Provider),
		Status: o.Status, Error: text(o.Error), FinishReason: text(o.FinishReason), Streamed: r.Request.Stream, Rescued: text(o.Rescued),
		API: text(r.Request.API), Preset: text(r.Request.Preset), Images: r.Request.Images, CachedFrom: text(o.CachedFrom), NativeReason: text(o.NativeReason),
		Discount:  o.CacheDiscount,
		Fallbacks: o.Fallbacks, Usage: o.Usage, Cost: o.Cost, TTFT: duration(o.TTFTMs), Duration: duration(o.DurationMs),
	}
	if g.Model == "" {
		g.Model = g.Asked
	}
	if c := r.Claims; c != nil {
		g.User, g.Session = text(c.User), text(c.Session)
		if c.App != nil {
			g.App, g.Site = cmp.Or(text(c.App.Title), text(c.App.URL)), text(c.App.URL)
			g.UserAgent, g.Origin = text(c.App.UserAgent), text(c.App.Origin)
		}
		for _, t := range c.Tags {
			if t != "" {
				g.Tags = append(g.Tags, text(t))
			}
		}
		slices.Sort(g.Tags)
		g.Tags = slices.Compact(g.Tags)
	}
	answered := -1
	for i := range r.Attempts {
		a := &r.Attempts[i]
		g.Attempts = append(g.Attempts, Attempt{
			Provider: text(a.ProviderID), ProviderName: text(a.Provider), Model: text(a.Model), Endpoint: text(a.Row), Purpose: text(a.Purpose),
			Outcome: text(a.Outcome), Status: a.Status, BodySent: text(a.BodySent), Duration: duration(a.DurationMs),
			Usage: a.Usage, ServiceTier: text(a.ServiceTier), UpstreamID: text(a.UpstreamID), Cost: a.Cost,
		})
		if a.Row == o.Row && (answered < 0 || a.Outcome == "ok" || r.Attempts[answered].Outcome != "ok") {
			answered = i
		}
	}
	if answered >= 0 {
		a := &g.Attempts[answered]
		a.answered, g.Provider, g.ServiceTier, g.UpstreamID = true, a.Provider, a.ServiceTier, a.UpstreamID
		if first := duration(r.Attempts[answered].TTFTMs); first > 0 && a.Duration > first && a.Usage.Known {
			a.spoken = a.Duration - first
		}
	}
	return g
}

// text leaves out what a database's text cannot hold.
func text(s string) string {
	if strings.ContainsRune(s, 0) {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// duration is ms to the microsecond; 0 where it is none.
func duration(ms float64) time.Duration {
	if !(ms > 0) || ms > math.MaxInt64/float64(time.Millisecond) {
		return 0
	}
	return time.Duration(math.Round(ms*1000)) * time.Microsecond
}

const generationColumns = "id, at, replica, organisation, team, key_id, asked, model, provider, provider_name, endpoint, status, error, finish_reason, streamed, " +
	"rescued, attempts, fallbacks, counted, prompt, completion, reasoning, cached, cache_write, cost, ttft_us, duration_us, " +
	"api, preset, images, native_reason, service_tier, cached_from, discount, version"

func (g *Generation) values(replica string) []any {
	return []any{g.ID, g.At.UnixMicro(), replica, g.Organisation, g.Team, g.Key, g.Asked, g.Model, g.Provider, g.ProviderName, g.Endpoint, g.Status, g.Error,
		g.FinishReason, number(g.Streamed), g.Rescued, len(g.Attempts), g.Fallbacks, number(g.Usage.Known), g.Usage.PromptTokens, g.Usage.CompletionTokens, g.Usage.ReasoningTokens,
		g.Usage.CachedTokens, g.Usage.CacheWriteTokens, int64(g.Cost), g.TTFT.Microseconds(), g.Duration.Microseconds(),
		g.API, g.Preset, g.Images, g.NativeReason, g.ServiceTier, g.CachedFrom, int64(g.Discount), len(migrations)}
}

const lineColumns = "generation, n, at, organisation, team, key_id, model, provider, provider_name, endpoint, purpose, outcome, status, body_sent, duration_us, " +
	"requests, failed, attempts, shown, counted, prompt, completion, reasoning, cached, cache_write, cost, latency_us, ttft_us, ttft_count, spoken, spoken_us, service_tier, upstream_id"

// lines are the values of the lines that a generation has.
func (g *Generation) lines() [][]any {
	all := make([][]any, 0, len(g.Attempts)+1)
	counted := false
	for i := range g.Attempts {
		a := &g.Attempts[i]
		counted = counted || a.answered
		all = append(all, g.line(i, a, 1))
	}
	if !counted { // nobody has answered
		all = append(all, g.line(len(g.Attempts), &Attempt{Model: g.Model, BodySent: "none", answered: true}, 0))
	}
	return all
}

func (g *Generation) line(n int, a *Attempt, attempts int) []any {
	var latency, ttft, ttfts, spoken int64
	if a.answered {
		latency = g.Duration.Microseconds()
	}
	if a.answered && g.TTFT > 0 {
		ttft, ttfts = g.TTFT.Microseconds(), 1
	}
	if a.spoken > 0 {
		spoken = a.Usage.CompletionTokens
	}
	return []any{g.ID, n, g.At.UnixMicro(), g.Organisation, g.Team, g.Key, a.Model, a.Provider, a.ProviderName, a.Endpoint, a.Purpose, a.Outcome, a.Status,
		a.BodySent, a.Duration.Microseconds(), number(a.answered), number(a.answered && g.Status >= 400), attempts, number(a.BodySent != "none"),
		number(a.Usage.Known), a.Usage.PromptTokens, a.Usage.CompletionTokens, a.Usage.ReasoningTokens, a.Usage.CachedTokens, a.Usage.CacheWriteTokens, int64(a.Cost),
		latency, ttft, ttfts, spoken, a.spoken.Microseconds(), a.ServiceTier, a.UpstreamID}
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// The kinds of claims.
const (
	claimUser    = "user"
	claimApp     = "app"
	claimTag     = "tag"
	claimSession = "session"
	claimSite    = "site"
	claimAgent   = "user_agent"
	claimOrigin  = "origin"
)

const claimColumns = "generation, kind, value, organisation, month"

func (g *Generation) claims() (all [][]any) {
	add := func(kind, value string) {
		if value != "" {
			all = append(all, []any{g.ID, kind, value, g.Organisation, g.month()})
		}
	}
	add(claimUser, g.User)
	add(claimApp, g.App)
	add(claimSession, g.Session)
	add(claimSite, g.Site)
	add(claimAgent, g.UserAgent)
	add(claimOrigin, g.Origin)
	for _, t := range g.Tags {
		add(claimTag, t)
	}
	return all
}

func (g *Generation) month() string { return g.At.Format("2006-01") }

// Generation is one by its id; nil where the ledger has none, or no longer.
func (l *Ledger) Generation(ctx context.Context, id string) (*Generation, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	var g Generation
	var at, streamed, attempts, ttft, took, cost, discount, version int64
	var replica string
	err := l.db.QueryRowContext(ctx, "SELECT "+generationColumns+" FROM generations WHERE id = $1", text(id)).Scan(&g.ID, &at, &replica, &g.Organisation, &g.Team,
		&g.Key, &g.Asked, &g.Model, &g.Provider, &g.ProviderName, &g.Endpoint, &g.Status, &g.Error, &g.FinishReason, &streamed, &g.Rescued, &attempts, &g.Fallbacks, &g.Usage.Known,
		&g.Usage.PromptTokens, &g.Usage.CompletionTokens, &g.Usage.ReasoningTokens, &g.Usage.CachedTokens, &g.Usage.CacheWriteTokens, &cost, &ttft, &took,
		&g.API, &g.Preset, &g.Images, &g.NativeReason, &g.ServiceTier, &g.CachedFrom, &discount, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g.At, g.Streamed, g.Cost = time.UnixMicro(at).UTC(), streamed == 1, catalog.Picodollars(cost)
	g.Discount = catalog.Picodollars(discount)
	g.TTFT, g.Duration = time.Duration(ttft)*time.Microsecond, time.Duration(took)*time.Microsecond
	if err := l.addClaims(ctx, &g); err != nil {
		return nil, err
	}
	return &g, l.addAttempts(ctx, &g)
}

func (l *Ledger) addClaims(ctx context.Context, g *Generation) error {
	return each(ctx, l.db, "SELECT kind, value FROM claims WHERE generation = $1", []any{g.ID}, func(scan func(...any) error) error {
		var kind, value string
		err := scan(&kind, &value)
		switch kind {
		case claimUser:
			g.User = value
		case claimApp:
			g.App = value
		case claimSession:
			g.Session = value
		case claimSite:
			g.Site = value
		case claimAgent:
			g.UserAgent = value
		case claimOrigin:
			g.Origin = value
		case claimTag:
			g.Tags = append(g.Tags, value)
			slices.Sort(g.Tags)
		}
		return err
	})
}

func (l *Ledger) addAttempts(ctx context.Context, g *Generation) error {
	const query = "SELECT model, provider, provider_name, endpoint, purpose, outcome, status, body_sent, duration_us, requests, counted, prompt, completion, reasoning, cached, " +
		"cache_write, cost, spoken_us, service_tier, upstream_id FROM lines WHERE generation = $1 AND attempts = 1 ORDER BY n"
	return each(ctx, l.db, query, []any{g.ID}, func(scan func(...any) error) error {
		var a Attempt
		var took, answered, cost, spoken int64
		err := scan(&a.Model, &a.Provider, &a.ProviderName, &a.Endpoint, &a.Purpose, &a.Outcome, &a.Status, &a.BodySent, &took, &answered, &a.Usage.Known, &a.Usage.PromptTokens,
			&a.Usage.CompletionTokens, &a.Usage.ReasoningTokens, &a.Usage.CachedTokens, &a.Usage.CacheWriteTokens, &cost, &spoken, &a.ServiceTier, &a.UpstreamID)
		a.Duration, a.answered, a.Cost = time.Duration(took)*time.Microsecond, answered == 1, catalog.Picodollars(cost)
		a.spoken = time.Duration(spoken) * time.Microsecond
		if a.answered {
			g.UpstreamID = a.UpstreamID
		}
		g.Attempts = append(g.Attempts, a)
		return err
	})
}

// each calls visit with every row of an answer.
func each(ctx context.Context, db *sql.DB, query string, args []any, visit func(scan func(...any) error) error) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := visit(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
