package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"chaperone/engine/catalog"
)

// Dimension is what usage can be grouped and chosen by.
type Dimension string

// The dimensions. Of User, App and Tag there are only generations that are still kept; a request with several tags counts for each.
const (
	Organisation Dimension = "organisation"
	Team         Dimension = "team"
	Key          Dimension = "key"
	User         Dimension = "user"
	App          Dimension = "app"
	Tag          Dimension = "tag"
	Model        Dimension = "model"
	Provider     Dimension = "provider" // id
	Endpoint     Dimension = "endpoint" // id of a row

	Minute Dimension = "minute" // moments in UTC: 2026-11-26T10:41:00Z
	Hour   Dimension = "hour"
	Day    Dimension = "day" // days in UTC: 2026-11-26
	Week   Dimension = "week"
	Month  Dimension = "month" // 2026-11
)

// Dimensions are all of them.
var Dimensions = []Dimension{Organisation, Team, Key, User, App, Tag, Model, Provider, Endpoint, Minute, Hour, Day, Week, Month}

// columns are those that stand in lines and in days.
var columns = map[Dimension]string{Organisation: "organisation", Team: "team", Key: "key_id", Model: "model", Provider: "provider", Endpoint: "endpoint"}

// kinds are the claims.
var kinds = map[Dimension]string{User: claimUser, App: claimApp, Tag: claimTag}

// IsTime says whether it is a span of time.
func (d Dimension) IsTime() bool { return d.span() != 0 }

// span is what it is computed by: weeks and months are put together from days.
func (d Dimension) span() time.Duration {
	switch d {
	case Minute:
		return time.Minute
	case Hour:
		return time.Hour
	case Day, Week, Month:
		return day
	}
	return 0
}

// show is how the span that begins at t is written.
func (d Dimension) show(t time.Time) string {
	switch d {
	case Week: // it begins on Monday
		return t.AddDate(0, 0, -(int(t.Weekday())+6)%7).Format(time.DateOnly)
	case Month:
		return t.Format("2006-01")
	case Day:
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}

// RolledUp stands for user, app and tag where only the sums of a day are kept.
const RolledUp = "(rolled up)"

// Query is a question about usage.
type Query struct {
	By           []Dimension
	Where        map[Dimension][]string // one of these values each; no Minute … Month
	Except       map[Dimension][]string // none of these values
	Since, Until time.Time              // from the one and before the other; zero: without bound
	Most         int                    // groups, which are all in memory at a time; more are ErrTooMany. 0: any number
}

// ErrTooMany says that there are more groups than Query.Most.
var ErrTooMany = errors.New("there are more groups than may be asked for at a time")

// Usage is what was used. A request counts where it was answered (or, if nobody did, for itself); tokens and cost count where they
// were billed, attempts that failed included. So any grouping adds up to the same, but for Tag.
type Usage struct {
	Rows  []Row // ordered by Keys
	Total Sums  // not of Rows, but of the requests: one with several tags counts once
	// Omitted says that days are left out, since only their sums are kept and Where chooses by what these do not have.
	Omitted bool
}

// Row is the sums of one group.
type Row struct {
	Keys []string // of By
	Sums
}

// Sums are the figures.
type Sums struct {
	Requests   int64
	Failed     int64 // requests that ended in an error
	Attempts   int64
	Shown      int64 // attempts in which the provider was sent the request, or part of it
	Prompt     int64 // tokens
	Completion int64
	Reasoning  int64 // of Completion
	Cached     int64 // of Prompt
	CacheWrite int64 // of Prompt
	Cost       catalog.Total

	latency            int64 // µs, of all requests
	ttft, ttftCount    int64 // µs
	spoken, spokenTime int64 // tokens, µs
}

const summed = "CAST(SUM(requests) AS BIGINT), CAST(SUM(failed) AS BIGINT), CAST(SUM(attempts) AS BIGINT), CAST(SUM(shown) AS BIGINT), CAST(SUM(prompt) AS BIGINT), " +
	"CAST(SUM(completion) AS BIGINT), CAST(SUM(reasoning) AS BIGINT), CAST(SUM(cached) AS BIGINT), CAST(SUM(cache_write) AS BIGINT), CAST(SUM(cost_high) AS BIGINT), " +
	"CAST(SUM(cost_low) AS BIGINT), CAST(SUM(latency_us) AS BIGINT), CAST(SUM(ttft_us) AS BIGINT), CAST(SUM(ttft_count) AS BIGINT), CAST(SUM(spoken) AS BIGINT), CAST(SUM(spoken_us) AS BIGINT)"

// scan reads what summed selects.
func (s *Sums) scan(scan func(...any) error, groups ...any) error {
	var high, low int64
	err := scan(append(groups, &s.Requests, &s.Failed, &s.Attempts, &s.Shown, &s.Prompt, &s.Completion, &s.Reasoning, &s.Cached, &s.CacheWrite, &high, &low,
		&s.latency, &s.ttft, &s.ttftCount, &s.spoken, &s.spokenTime)...)
	s.Cost = catalog.TotalOf(high, low)
	return err
}

// values are those of the columns in sums.
func (s *Sums) values() []any {
	high, low := s.Cost.Halves()
	return []any{s.Requests, s.Failed, s.Attempts, s.Shown, s.Prompt, s.Completion, s.Reasoning, s.Cached, s.CacheWrite, high, low,
		s.latency, s.ttft, s.ttftCount, s.spoken, s.spokenTime}
}

func (s *Sums) add(o *Sums) {
	s.Requests += o.Requests
	s.Failed += o.Failed
	s.Attempts += o.Attempts
	s.Shown += o.Shown
	s.Prompt += o.Prompt
	s.Completion += o.Completion
	s.Reasoning += o.Reasoning
	s.Cached += o.Cached
	s.CacheWrite += o.CacheWrite
	s.Cost = s.Cost.Plus(o.Cost)
	s.latency += o.latency
	s.ttft += o.ttft
	s.ttftCount += o.ttftCount
	s.spoken += o.spoken
	s.spokenTime += o.spokenTime
}

// Latency is the mean time of requests from the decision to the end of the answer.
func (s *Sums) Latency() time.Duration {
	if s.Requests == 0 {
		return 0
	}
	return time.Duration(s.latency/s.Requests) * time.Microsecond
}

// TTFT is the mean time to the first token, of requests that were streamed; 0 where there was none.
func (s *Sums) TTFT() time.Duration {
	if s.ttftCount == 0 {
		return 0
	}
	return time.Duration(s.ttft/s.ttftCount) * time.Microsecond
}

// TPS is how many output tokens a second came once the first was there; 0 where that is not known.
func (s *Sums) TPS() float64 {
	if s.spokenTime == 0 {
		return 0
	}
	return float64(s.spoken) / (float64(s.spokenTime) / 1e6)
}

// Usage answers a question.
func (l *Ledger) Usage(ctx context.Context, q Query) (_ *Usage, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	u := &Usage{Rows: []Row{}}
	groups := map[string]*Row{}
	defer l.explain(&err)
	err = l.sum(ctx, q, func(keys []string, s *Sums) {
		id := strings.Join(keys, "\x00")
		row := groups[id]
		if row == nil {
			row = &Row{Keys: keys}
			groups[id] = row
		}
		row.add(s)
	})
	if err != nil {
		return nil, err
	}
	for _, row := range groups {
		u.Rows = append(u.Rows, *row)
	}
	slices.SortFunc(u.Rows, func(a, b Row) int { return slices.Compare(a.Keys, b.Keys) })
	if slices.Contains(q.By, Tag) {
		all := q
		all.By = nil
		err = l.sum(ctx, all, func(_ []string, s *Sums) { u.Total.add(s) })
	} else {
		for i := range u.Rows {
			u.Total.add(&u.Rows[i].Sums)
		}
	}
	if err == nil && q.claimed() {
		u.Omitted, err = l.hasDays(ctx, q)
	}
	return u, err
}

// Check says what is wrong with a question; nil where it can be answered.
func (q *Query) Check() error {
	seen := map[Dimension]bool{}
	for _, d := range q.By {
		if seen[d] {
			return fmt.Errorf("%q is named twice to group by", d)
		}
		seen[d] = true
		if !slices.Contains(Dimensions, d) {
			return fmt.Errorf("found %q to group by; expected one of %s", d, list(Dimensions))
		}
	}
	for d := range q.chosen() {
		if columns[d] == "" && kinds[d] == "" {
			return fmt.Errorf("found %q to choose by; expected one of %s", d, list(slices.DeleteFunc(slices.Clone(Dimensions), Dimension.IsTime)))
		}
	}
	return nil
}

func list(ds []Dimension) string {
	var names []string
	for _, d := range ds {
		names = append(names, string(d))
	}
	return strings.Join(names, ", ")
}

// chosen are the dimensions that it chooses by.
func (q *Query) chosen() iter.Seq[Dimension] {
	return func(yield func(Dimension) bool) {
		for _, m := range []map[Dimension][]string{q.Where, q.Except} {
			for d := range m {
				if !yield(d) {
					return
				}
			}
		}
	}
}

// claimed says whether it chooses by what sums of days do not have.
func (q *Query) claimed() bool {
	for d := range q.chosen() {
		if kinds[d] != "" {
			return true
		}
	}
	return false
}

// sum calls visit with each group, some of them in parts.
func (l *Ledger) sum(ctx context.Context, q Query, visit func([]string, *Sums)) error {
	s := statement{remote: l.remote}
	names := make([]string, len(q.By))
	for i := range q.By {
		names[i] = fmt.Sprintf("g%d", i)
	}
	s.WriteString("SELECT ")
	for _, n := range names {
		s.WriteString(n + ", ")
	}
	s.WriteString(summed + " FROM (")
	q.lines(&s)
	if !q.claimed() {
		s.WriteString(" UNION ALL ")
		q.days(&s)
	}
	s.WriteString(") AS entries")
	if len(names) > 0 {
		s.WriteString(" GROUP BY " + strings.Join(names, ", "))
	} else {
		s.WriteString(" HAVING COUNT(*) > 0") // nothing sums to NULL
	}
	groups := 0
	return each(ctx, l.db, s.String(), s.args, func(scan func(...any) error) error {
		if groups++; q.Most > 0 && groups > q.Most {
			return ErrTooMany
		}
		var sums Sums
		texts, times := make([]string, len(q.By)), make([]int64, len(q.By))
		fields := make([]any, len(q.By))
		for i, d := range q.By {
			if fields[i] = &texts[i]; d.IsTime() {
				fields[i] = &times[i]
			}
		}
		if err := sums.scan(scan, fields...); err != nil {
			return err
		}
		for i, d := range q.By {
			if d.IsTime() {
				texts[i] = d.show(time.UnixMicro(times[i] * d.span().Microseconds()).UTC())
			}
		}
		visit(texts, &sums)
		return nil
	})
}

func (q *Query) lines(s *statement) {
	s.WriteString("SELECT ")
	for i, d := range q.By {
		switch {
		case columns[d] != "":
			fmt.Fprintf(s, "l.%s AS g%d, ", columns[d], i)
		case kinds[d] != "":
			fmt.Fprintf(s, "COALESCE(c%d.value, '') AS g%d, ", i, i)
		default:
			fmt.Fprintf(s, "l.at / %d AS g%d, ", d.span().Microseconds(), i)
		}
	}
	s.WriteString(lineSums + " FROM lines l")
	for i, d := range q.By {
		if kind := kinds[d]; kind != "" {
			fmt.Fprintf(s, " LEFT JOIN claims c%d ON c%d.generation = l.generation AND c%d.kind = '%s'", i, i, i, kind)
		}
	}
	q.where(s, "l.")
}

func (q *Query) days(s *statement) {
	s.WriteString("SELECT ")
	for _, d := range q.By {
		switch {
		case columns[d] != "":
			fmt.Fprintf(s, "d.%s, ", columns[d])
		case kinds[d] != "":
			s.WriteString("'" + RolledUp + "', ")
		default:
			fmt.Fprintf(s, "d.at / %d, ", d.span().Microseconds())
		}
	}
	s.WriteString(sums + " FROM days d")
	q.where(s, "d.")
}

func (q *Query) where(s *statement, table string) {
	var all []string
	if !q.Since.IsZero() {
		all = append(all, table+"at >= "+s.arg(q.Since.UnixMicro()))
	}
	if !q.Until.IsZero() {
		all = append(all, table+"at < "+s.arg(q.Until.UnixMicro()))
	}
	for _, d := range Dimensions { // in this order: the parameters are numbered
		for _, c := range []struct {
			of  map[Dimension][]string
			not string
		}{{q.Where, ""}, {q.Except, "NOT "}} {
			values, chosen := c.of[d]
			switch kind := kinds[d]; {
			case !chosen:
			case len(values) == 0:
				all = append(all, c.not+"1 = 0")
			case kind != "" && table == "l.":
				all = append(all, c.not+"EXISTS (SELECT 1 FROM claims w WHERE w.generation = l.generation AND w.kind = '"+kind+"' AND w.value IN ("+s.list(values)+"))")
			case kind == "":
				all = append(all, table+columns[d]+" "+c.not+"IN ("+s.list(values)+")")
			}
		}
	}
	if len(all) > 0 {
		s.WriteString(" WHERE " + strings.Join(all, " AND "))
	}
}

// hasDays says whether there are days that q would choose from, did they know what it asks.
func (l *Ledger) hasDays(ctx context.Context, q Query) (bool, error) {
	s := statement{remote: l.remote}
	s.WriteString("SELECT COUNT(*) FROM days d")
	q.where(&s, "d.")
	var n int64
	err := l.db.QueryRowContext(ctx, s.String(), s.args...).Scan(&n)
	return n > 0, err
}

// ByCost puts the dearest first, and what costs the same in the order of its names.
func (u *Usage) ByCost() {
	slices.SortStableFunc(u.Rows, func(a, b Row) int {
		return cmp.Or(b.Cost.Cmp(a.Cost), slices.Compare(a.Keys, b.Keys))
	})
}
