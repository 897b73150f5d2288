package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/ledger"
)

// usageQuestion is what usage is asked.
type usageQuestion struct {
	config, database string
	since, until     string
	by               []string
	csv              bool
	where            map[ledger.Dimension]*[]string
}

func usageCommand(out *printer) *cobra.Command {
	q := usageQuestion{where: map[ledger.Dimension]*[]string{}}
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Sum up requests, tokens and cost, by whom and where",
		Long: `Sum up what was used since the beginning of the month, or in another span of time, in UTC. The ledger is brought up to date
with the journal first; a router may be running or not.

A request counts where it was answered. Tokens and cost count where they were billed, failed attempts included. SHOWN is how
often a provider was sent a request or part of it, whatever became of that: by provider, it says where data has gone.

--by takes one or more of organisation, team, key, user, app, tag, model, provider, endpoint, minute, hour, day, week, month.
Groups are listed by cost, those with a time by time.`,
		Example: `  chaperone usage --org acme --by provider
  chaperone usage --by organisation,model --since 2026-10-01 --until 2026-11-01
  chaperone usage --by day,key --team search --since week --csv > usage.csv
  chaperone usage --user ann --by model --since 24h --json
  chaperone usage --database copy/ledger.sqlite --since all`,
		Args: onlyFlags("--by"),
		RunE: func(cmd *cobra.Command, _ []string) error { return q.answer(cmd, out) },
	}
	f := cmd.Flags()
	f.StringVar(&q.config, "config", defaultConfig, "configuration file")
	f.StringVar(&q.database, "database", "", "a ledger to read as it is, in place of the configuration's: an SQLite file or an address")
	f.StringVar(&q.since, "since", "month", "from then on: today, week, month, year, all, 2026-11-01, 2026-11-01T12:00:00Z, or a time ago such as 24h or 7d")
	f.StringVar(&q.until, "until", "", "before then, likewise")
	f.StringSliceVar(&q.by, "by", nil, "what to group by")
	f.BoolVar(&q.csv, "csv", false, "print comma-separated values in place of a table")
	for _, c := range []struct {
		flag string
		of   ledger.Dimension
		what string
	}{
		{"org", ledger.Organisation, "id of the organisation that asked"}, {"team", ledger.Team, "id of the team"}, {"key", ledger.Key, "id of the key"},
		{"user", ledger.User, "user, as the caller named it"}, {"app", ledger.App, "app, as it named itself"}, {"tag", ledger.Tag, "tag that the caller gave"},
		{"model", ledger.Model, "model"}, {"provider", ledger.Provider, "id of the provider"}, {"endpoint", ledger.Endpoint, "id of the endpoint"},
	} {
		q.where[c.of] = f.StringSlice(c.flag, nil, "only this "+c.what+" (or one of several)")
	}
	cmd.MarkFlagsMutuallyExclusive("config", "database")
	return cmd
}

// usageAnswer is what is printed as JSON.
type usageAnswer struct {
	Since *time.Time         `json:"since"` // nil: from the beginning
	Until *time.Time         `json:"until"` // nil: up to now
	By    []ledger.Dimension `json:"by"`
	Rows  []usageRow         `json:"rows"`
	Total usageSums          `json:"total"`
	// Omitted says that days are left out of which only the sums are kept.
	Omitted bool `json:"omitted"`
}

type usageRow struct {
	Group map[ledger.Dimension]string `json:"group"`
	usageSums
}

type usageSums struct {
	Requests   int64         `json:"requests"`
	Failed     int64         `json:"failed"`
	Attempts   int64         `json:"attempts"`
	Shown      int64         `json:"shown"`
	Prompt     int64         `json:"prompt_tokens"`
	Cached     int64         `json:"cached_tokens"`
	CacheWrite int64         `json:"cache_write_tokens"`
	Completion int64         `json:"completion_tokens"`
	Reasoning  int64         `json:"reasoning_tokens"`
	Cost       catalog.Total `json:"cost_usd"`
	TTFT       float64       `json:"ttft_ms"`
	TPS        float64       `json:"tokens_per_second"`
}

func sumsOf(s *ledger.Sums) usageSums {
	return usageSums{s.Requests, s.Failed, s.Attempts, s.Shown, s.Prompt, s.Cached, s.CacheWrite, s.Completion, s.Reasoning, s.Cost,
		float64(s.TTFT()) / float64(time.Millisecond), s.TPS()}
}

func (q *usageQuestion) answer(cmd *cobra.Command, out *printer) error {
	query, err := q.query()
	if err != nil {
		return err
	}
	l, err := q.open(cmd)
	if err != nil {
		return err
	}
	defer l.Close()
	u, err := l.Usage(cmd.Context(), query)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(query.By, ledger.Dimension.IsTime) {
		u.ByCost()
	}
	if u.Omitted && !out.json {
		fmt.Fprintln(cmd.ErrOrStderr(), "days of which only the sums are kept are left out: these do not know users, apps and tags")
	}
	if len(u.Rows) == 0 && !out.json {
		strange, err := strangers(cmd.Context(), l, query)
		if err != nil {
			return err
		}
		for _, text := range strange {
			fmt.Fprintln(cmd.ErrOrStderr(), text)
		}
	}
	if q.csv {
		return writeUsageCSV(out.w, query.By, u)
	}
	a := usageAnswer{By: append([]ledger.Dimension{}, query.By...), Rows: []usageRow{}, Total: sumsOf(&u.Total), Omitted: u.Omitted}
	if !query.Since.IsZero() {
		a.Since = &query.Since
	}
	if !query.Until.IsZero() {
		a.Until = &query.Until
	}
	for i := range u.Rows {
		r := usageRow{Group: map[ledger.Dimension]string{}, usageSums: sumsOf(&u.Rows[i].Sums)}
		for k, d := range query.By {
			r.Group[d] = u.Rows[i].Keys[k]
		}
		a.Rows = append(a.Rows, r)
	}
	return out.print(a, func(w io.Writer) { writeUsage(w, query, u) })
}

// strangers says which names in a question the ledger has nothing of, at any time: they may be misspelt.
func strangers(ctx context.Context, l *ledger.Ledger, q ledger.Query) (all []string, err error) {
	for _, d := range ledger.Dimensions {
		if len(q.Where[d]) == 0 {
			continue
		}
		u, err := l.Usage(ctx, ledger.Query{By: []ledger.Dimension{d}})
		if err != nil {
			return nil, err
		}
		var known []string
		for _, r := range u.Rows {
			if r.Keys[0] != "" {
				known = append(known, r.Keys[0])
			}
		}
		for _, name := range q.Where[d] {
			if !slices.Contains(known, name) {
				all = append(all, "in this ledger: "+config.UnknownName(string(d), name, known))
			}
		}
	}
	return all, nil
}

// query is the question in the ledger's terms.
func (q *usageQuestion) query() (out ledger.Query, err error) {
	out.Where = map[ledger.Dimension][]string{}
	for d, values := range q.where {
		if len(*values) > 0 {
			out.Where[d] = *values
		}
	}
	for _, name := range q.by {
		if d := ledger.Dimension(strings.TrimSpace(name)); slices.Contains(ledger.Dimensions, d) {
			out.By = append(out.By, d)
		} else if d == "org" {
			out.By = append(out.By, ledger.Organisation)
		} else {
			return out, inputErrorf("--by: found %q; expected one or more of %s", name, dimensionNames())
		}
	}
	if err := out.Check(); err != nil {
		return out, inputErrorf("--by: %v", err)
	}
	now := time.Now().UTC()
	if out.Since, err = spanStart("--since", q.since, now); err == nil {
		out.Until, err = spanStart("--until", q.until, now)
	}
	if err == nil && !out.Until.IsZero() && !out.Since.Before(out.Until) {
		err = inputErrorf("--until: %s is not after --since, %s", out.Until.Format(time.RFC3339), out.Since.Format(time.RFC3339))
	}
	return out, err
}

func dimensionNames() string {
	var names []string
	for _, d := range ledger.Dimensions {
		names = append(names, string(d))
	}
	return strings.Join(names, ", ")
}

// spanStart reads a moment; the zero time stands for no bound.
func spanStart(flag, text string, now time.Time) (time.Time, error) {
	today := now.Truncate(24 * time.Hour)
	switch text {
	case "", "all":
		return time.Time{}, nil
	case "today":
		return today, nil
	case "week":
		return today.AddDate(0, 0, -(int(today.Weekday())+6)%7), nil
	case "month":
		return today.AddDate(0, 0, 1-today.Day()), nil
	case "year":
		return time.Date(now.Year(), 1, 1, 0, 0, 0, 0, time.UTC), nil
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	t, err := instant(flag, text)
	if err != nil {
		err = inputErrorf("%s: found %q; expected today, week, month, year, all, a day, 2026-11-01, a moment, 2026-11-01T12:00:00Z, or a time ago, 24h or 7d", flag, text)
	}
	return t.UTC(), err
}

// open opens the ledger and brings it up to date.
func (q *usageQuestion) open(cmd *cobra.Command) (*ledger.Ledger, error) {
	if q.database != "" {
		if _, err := os.Stat(q.database); !ledger.IsURL(q.database) && err != nil {
			return nil, inputErrorf("--database: %v", err)
		}
		return ledger.Open(ledger.Options{Database: q.database})
	}
	books, err := engine.ReadBooks(q.config, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	if books.Journal == "" {
		return nil, inputErrorf("%s keeps no journal on disk, so that nothing is counted; set journal.dir", q.config)
	}
	if _, err := os.Stat(books.Journal); errors.Is(err, fs.ErrNotExist) && !ledger.IsURL(books.Ledger) {
		return nil, inputErrorf("there is no %s yet: no router has run with this journal.dir", books.Journal)
	}
	l, err := ledger.Open(ledger.Options{Database: books.Ledger, Journal: books.Journal})
	if err != nil {
		return nil, err
	}
	if err := l.CatchUp(cmd.Context()); err != nil {
		return nil, errors.Join(fmt.Errorf("the ledger cannot be brought up to date: %w", err), l.Close())
	}
	return l, nil
}

func writeUsage(w io.Writer, q ledger.Query, u *ledger.Usage) {
	if len(u.Rows) == 0 {
		fmt.Fprintln(w, "nothing was used "+spanText(q))
		return
	}
	var head []any
	for _, d := range q.By {
		head = append(head, strings.ToUpper(string(d)))
	}
	row(w, append(head, "REQUESTS", "FAILED", "SHOWN", "PROMPT", "CACHED", "COMPLETION", "COST", "TTFT", "TOKENS/S")...)
	line := func(keys []any, s *ledger.Sums) {
		ttft, tps := "-", "-"
		if t := s.TTFT(); t > 0 {
			ttft = t.Round(time.Millisecond).String()
		}
		if v := s.TPS(); v > 0 {
			tps = strconv.FormatFloat(v, 'f', 1, 64)
		}
		row(w, append(keys, s.Requests, s.Failed, s.Shown, s.Prompt, s.Cached, s.Completion, fmt.Sprintf("$%.6f", s.Cost.USD()), ttft, tps)...)
	}
	for i := range u.Rows {
		var keys []any
		for k, text := range u.Rows[i].Keys {
			switch {
			case text == "" && q.By[k] == ledger.Provider:
				text = "(none answered)"
			case text == "":
				text = "-"
			case strings.ContainsFunc(text, unicode.IsControl): // callers write what they like
				text = strconv.Quote(text)
			}
			keys = append(keys, text)
		}
		line(keys, &u.Rows[i].Sums)
	}
	if len(q.By) > 0 && len(u.Rows) > 1 {
		keys := []any{"TOTAL"}
		for range len(q.By) - 1 {
			keys = append(keys, "")
		}
		line(keys, &u.Total)
	}
}

func spanText(q ledger.Query) string {
	text := "so far"
	if !q.Since.IsZero() {
		text = "since " + q.Since.Format(time.RFC3339)
	}
	if !q.Until.IsZero() {
		text += " before " + q.Until.Format(time.RFC3339)
	}
	return text
}

func writeUsageCSV(w io.Writer, by []ledger.Dimension, u *ledger.Usage) error {
	c := csv.NewWriter(w)
	var head []string
	for _, d := range by {
		head = append(head, string(d))
	}
	c.Write(append(head, "requests", "failed", "attempts", "shown", "prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens",
		"reasoning_tokens", "cost_usd", "ttft_ms", "tokens_per_second"))
	for i := range u.Rows {
		s := sumsOf(&u.Rows[i].Sums)
		cells := slices.Clone(u.Rows[i].Keys)
		for _, n := range []int64{s.Requests, s.Failed, s.Attempts, s.Shown, s.Prompt, s.Cached, s.CacheWrite, s.Completion, s.Reasoning} {
			cells = append(cells, strconv.FormatInt(n, 10))
		}
		c.Write(append(cells, s.Cost.String(), strconv.FormatFloat(s.TTFT, 'f', 3, 64), strconv.FormatFloat(s.TPS, 'f', 3, 64)))
	}
	c.Flush()
	return c.Error()
}
