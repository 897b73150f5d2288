package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/ledger"
	"chaperone/engine/wire"
)

// analyticsMetric is a figure that can be asked for, under OpenRouter's name where it has one
// (https://openrouter.ai/docs/api-reference/beta-analytics). Counts are written as strings, as OpenRouter writes them.
type analyticsMetric struct {
	name, label, format string
	rate                bool
	of                  func(*ledger.Sums) any
}

var analyticsMetrics = []analyticsMetric{
	{"request_count", "Requests", "number", false, func(s *ledger.Sums) any { return s.Requests }},
	{"failed_count", "Requests that failed", "number", false, func(s *ledger.Sums) any { return s.Failed }},
	{"attempt_count", "Attempts", "number", false, func(s *ledger.Sums) any { return s.Attempts }},
	{"shown_count", "Attempts in which a provider was sent the request", "number", false, func(s *ledger.Sums) any { return s.Shown }},
	{"tokens_total", "Tokens", "number", false, func(s *ledger.Sums) any { return s.Prompt + s.Completion }},
	{"tokens_prompt", "Prompt tokens", "number", false, func(s *ledger.Sums) any { return s.Prompt }},
	{"tokens_completion", "Completion tokens", "number", false, func(s *ledger.Sums) any { return s.Completion }},
	{"reasoning_tokens", "Reasoning tokens", "number", false, func(s *ledger.Sums) any { return s.Reasoning }},
	{"cached_tokens", "Cached prompt tokens", "number", false, func(s *ledger.Sums) any { return s.Cached }},
	{"cache_write_tokens", "Prompt tokens written to a cache", "number", false, func(s *ledger.Sums) any { return s.CacheWrite }},
	{"total_usage", "Cost", "currency", false, func(s *ledger.Sums) any { return s.Cost }},
	{"usage_upstream", "Cost at providers", "currency", false, func(s *ledger.Sums) any { return s.Cost }},
	{"avg_latency", "Mean latency", "latency", true, func(s *ledger.Sums) any { return ms(s.Latency()) }},
	{"avg_ttft", "Mean time to the first token", "latency", true, func(s *ledger.Sums) any { return ms(s.TTFT()) }},
	{"avg_throughput", "Output tokens a second", "throughput", true, func(s *ledger.Sums) any { return s.TPS() }},
	{"cache_hit_rate", "Share of the prompt that was cached", "percent", true, func(s *ledger.Sums) any { return share(s.Cached, s.Prompt) }},
}

// analyticsDimension is what can be grouped and filtered by.
type analyticsDimension struct {
	name, label string
	of          ledger.Dimension
}

var analyticsDimensions = []analyticsDimension{
	{"model", "Model", ledger.Model},
	{"provider", "Provider", ledger.Provider},
	{"endpoint", "Endpoint", ledger.Endpoint},
	{"api_key_id", "API key", ledger.Key},
	{"workspace", "Team", ledger.Team},
	{"external_user", "User, as the caller names it", ledger.User},
	{"app", "App, as it names itself", ledger.App},
	{"tag", "Tag, as the caller gives it", ledger.Tag},
}

var analyticsGranularities = []ledger.Dimension{ledger.Minute, ledger.Hour, ledger.Day, ledger.Week, ledger.Month}

// analyticsOperator compares a dimension with one value or several.
type analyticsOperator struct {
	name          string
	array, except bool
}

var analyticsOperators = []analyticsOperator{{"eq", false, false}, {"neq", false, true}, {"in", true, false}, {"not_in", true, true}}

const (
	mostAnalyticsDimensions = 2
	mostAnalyticsFilters    = 20
	mostAnalyticsRows       = 10_000
	mostAnalyticsGroups     = 100_000 // before the rows are ordered and limited
	usualAnalyticsRows      = 1000
	usualAnalyticsSpan      = 7 * 24 * time.Hour
)

func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// AnalyticsMeta is what Analytics can be asked, as JSON.
func (e *Engine) AnalyticsMeta(_ context.Context, key string) ([]byte, error) {
	s := e.acquire()
	defer s.release()
	if _, refused := e.authenticate(s, Call{Key: key}); refused != nil {
		return nil, refused
	}
	type entry map[string]any
	var metrics, dimensions, operators, granularities []entry
	for _, m := range analyticsMetrics {
		metrics = append(metrics, entry{"name": m.name, "display_label": m.label, "is_rate": m.rate, "display_format": m.format})
	}
	for _, d := range analyticsDimensions {
		dimensions = append(dimensions, entry{"name": d.name, "display_label": d.label})
	}
	for _, o := range analyticsOperators {
		operators = append(operators, entry{"name": o.name, "value_type": map[bool]string{false: "scalar", true: "array"}[o.array]})
	}
	for _, g := range analyticsGranularities {
		granularities = append(granularities, entry{"name": g, "display_label": strings.ToUpper(string(g[:1])) + string(g[1:])})
	}
	return json.Marshal(entry{"data": entry{"metrics": metrics, "dimensions": dimensions, "operators": operators, "granularities": granularities}})
}

// analyticsQuery is the body of a query.
type analyticsQuery struct {
	Metrics     []string         `json:"metrics"`
	Dimensions  []string         `json:"dimensions"`
	Granularity ledger.Dimension `json:"granularity"`
	TimeRange   *struct {
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
	} `json:"time_range"`
	Filters []struct {
		Field    string          `json:"field"`
		Operator string          `json:"operator"`
		Value    json.RawMessage `json:"value"`
	} `json:"filters"`
	OrderBy *struct {
		Field     string `json:"field"`
		Direction string `json:"direction"`
	} `json:"order_by"`
	Limit      *int `json:"limit"`
	GroupLimit *int `json:"group_limit"`

	metrics []analyticsMetric
	columns []string // of the rows: dimensions, then the time
}

// readAnalytics reads a query of an organisation, whose answers are of now or earlier.
func readAnalytics(body []byte, organisation string, now time.Time) (*analyticsQuery, ledger.Query, *wire.Error) {
	a, q := new(analyticsQuery), ledger.Query{Where: map[ledger.Dimension][]string{ledger.Organisation: {organisation}}, Except: map[ledger.Dimension][]string{}}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(a); err != nil {
		return nil, q, badQuery("body", "%s", jsonFault(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, q, badQuery("body", "something follows the JSON object")
	}
	if len(a.Metrics) == 0 {
		return nil, q, badQuery("metrics", "missing; expected one or more of %s", strings.Join(metricNames(), ", "))
	}
	for _, name := range a.Metrics {
		i := slices.Index(metricNames(), name)
		if i < 0 {
			return nil, q, badQuery("metrics", "%s", config.UnknownName("metric", name, metricNames()))
		}
		a.metrics = append(a.metrics, analyticsMetrics[i])
	}
	if len(a.Dimensions) > mostAnalyticsDimensions {
		return nil, q, badQuery("dimensions", "found %d; expected at most %d", len(a.Dimensions), mostAnalyticsDimensions)
	}
	for _, name := range a.Dimensions {
		dimension, refused := analyticsField("dimensions", name)
		if refused != nil {
			return nil, q, refused
		}
		if slices.Contains(q.By, dimension) {
			return nil, q, badQuery("dimensions", "%q is there twice", name)
		}
		q.By, a.columns = append(q.By, dimension), append(a.columns, name)
	}
	if a.Granularity != "" {
		if !slices.Contains(analyticsGranularities, a.Granularity) {
			return nil, q, badQuery("granularity", "found %q; expected minute, hour, day, week or month", a.Granularity)
		}
		q.By, a.columns = append(q.By, a.Granularity), append(a.columns, "date__"+string(a.Granularity))
	}
	q.Since, q.Until = now.Add(-usualAnalyticsSpan), now
	if t := a.TimeRange; t != nil {
		if q.Since, q.Until = t.Start.UTC(), t.End.UTC(); !q.Since.Before(q.Until) {
			return nil, q, badQuery("time_range", "start is %s and end %s; expected a start before the end", q.Since.Format(time.RFC3339), q.Until.Format(time.RFC3339))
		}
	}
	return a, q, a.filter(&q)
}

// filter adds the conditions, all of which have to hold.
func (a *analyticsQuery) filter(q *ledger.Query) *wire.Error {
	if len(a.Filters) > mostAnalyticsFilters {
		return badQuery("filters", "found %d; expected at most %d", len(a.Filters), mostAnalyticsFilters)
	}
	for _, f := range a.Filters {
		dimension, refused := analyticsField("filters", f.Field)
		if refused != nil {
			return refused
		}
		i := slices.IndexFunc(analyticsOperators, func(o analyticsOperator) bool { return o.name == f.Operator })
		if i < 0 {
			return badQuery("filters", "found the operator %q; expected eq, neq, in or not_in", f.Operator)
		}
		op := analyticsOperators[i]
		var values []string
		err := json.Unmarshal(f.Value, &values)
		if !op.array {
			values = make([]string, 1)
			err = json.Unmarshal(f.Value, &values[0])
		}
		if err != nil || len(values) == 0 {
			return badQuery("filters", "the value of %s is not right; expected a string for eq and neq, and an array of strings for in and not_in", f.Field)
		}
		if dimension == ledger.Key {
			for i, v := range values {
				if id, ok := keyID(v); ok {
					values[i] = id
				}
			}
		}
		if op.except {
			q.Except[dimension] = append(q.Except[dimension], values...)
			continue
		}
		if had, ok := q.Where[dimension]; ok {
			values = slices.DeleteFunc(values, func(v string) bool { return !slices.Contains(had, v) })
		}
		q.Where[dimension] = values
	}
	return nil
}

func analyticsField(field, name string) (ledger.Dimension, *wire.Error) {
	var names []string
	for _, d := range analyticsDimensions {
		if d.name == name {
			return d.of, nil
		}
		names = append(names, d.name)
	}
	return "", badQuery(field, "%s", config.UnknownName("dimension", name, names))
}

func metricNames() []string {
	var names []string
	for _, m := range analyticsMetrics {
		names = append(names, m.name)
	}
	return names
}

// jsonFault says what is wrong without quoting the body.
func jsonFault(err error) string {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return "found " + kind.Value + " as " + cmp.Or(kind.Field, "the whole") + "; expected " + kind.Type.String()
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "expected a JSON object such as {\"metrics\": [\"total_usage\"], \"dimensions\": [\"model\"]}"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// Analytics answers a query about the usage of a key's organisation, in OpenRouter's form.
func (e *Engine) Analytics(ctx context.Context, key string, body []byte) ([]byte, error) {
	s, who, refused := e.books(ctx, key)
	if refused != nil {
		return nil, refused
	}
	defer s.release()
	began := time.Now()
	a, q, refused := readAnalytics(body, who.Organisation.ID, e.options.Now().UTC())
	if refused != nil {
		return nil, refused
	}
	most, perGroup, refused := a.limits()
	if refused != nil {
		return nil, refused
	}
	q.Most = mostAnalyticsGroups
	u, err := e.ledger.Usage(ctx, q)
	if errors.Is(err, ledger.ErrTooMany) {
		return nil, badQuery("dimensions", "more than %d groups in this time; ask for a shorter time_range, a coarser granularity or fewer dimensions", mostAnalyticsGroups)
	}
	if err != nil {
		return nil, e.noLedger(err)
	}
	if refused := a.order(u.Rows); refused != nil {
		return nil, refused
	}
	rows, truncated := a.rows(u.Rows, most, perGroup)
	data := map[string]any{
		"data":     rows,
		"metadata": map[string]any{"query_time_ms": ms(time.Since(began)), "row_count": len(rows), "truncated": truncated},
	}
	if u.Omitted {
		data["warnings"] = []string{"days of which only the sums are kept are left out: these do not know the users, apps and tags that are filtered by"}
	}
	return json.Marshal(map[string]any{"data": data})
}

// limits are the most rows, in all and for each combination of dimensions.
func (a *analyticsQuery) limits() (most, perGroup int, refused *wire.Error) {
	most, perGroup = usualAnalyticsRows, mostAnalyticsRows
	for field, l := range map[string]struct{ said, into *int }{"limit": {a.Limit, &most}, "group_limit": {a.GroupLimit, &perGroup}} {
		if l.said == nil {
			continue
		}
		if *l.into = *l.said; *l.said < 1 || *l.said > mostAnalyticsRows {
			return 0, 0, badQuery(field, "found %d; expected 1 to %d", *l.said, mostAnalyticsRows)
		}
	}
	return most, perGroup, nil
}

// order puts rows into the order that is asked for: without one, the latest first where they have a time, and else by name.
func (a *analyticsQuery) order(rows []ledger.Row) *wire.Error {
	by, sign := a.OrderBy, 1
	if by == nil {
		if a.Granularity == "" {
			return nil // they are
		}
		slices.SortStableFunc(rows, func(x, y ledger.Row) int { return cmp.Compare(y.Keys[len(y.Keys)-1], x.Keys[len(x.Keys)-1]) })
		return nil
	}
	switch by.Direction {
	case "", "asc":
	case "desc":
		sign = -1
	default:
		return badQuery("order_by", "found the direction %q; expected asc or desc", by.Direction)
	}
	if i := slices.Index(metricNames(), by.Field); i >= 0 {
		of := analyticsMetrics[i].of
		slices.SortStableFunc(rows, func(x, y ledger.Row) int { return sign * compareFigures(of(&x.Sums), of(&y.Sums)) })
		return nil
	}
	i := slices.Index(a.columns, by.Field)
	if by.Field == "date" && a.Granularity != "" {
		i = len(a.columns) - 1
	}
	if i < 0 {
		return badQuery("order_by", "%s", config.UnknownName("column", by.Field, append(metricNames(), a.columns...)))
	}
	slices.SortStableFunc(rows, func(x, y ledger.Row) int { return sign * cmp.Compare(x.Keys[i], y.Keys[i]) })
	return nil
}

func compareFigures(a, b any) int {
	switch x := a.(type) {
	case int64:
		return cmp.Compare(x, b.(int64))
	case float64:
		return cmp.Compare(x, b.(float64))
	}
	return a.(catalog.Total).Cmp(b.(catalog.Total))
}

// rows are the first of rows, within limits, and whether some are left out.
func (a *analyticsQuery) rows(all []ledger.Row, most, perGroup int) (shown []map[string]any, truncated bool) {
	shown = []map[string]any{}
	groups := map[string]int{}
	for _, r := range all {
		group := strings.Join(r.Keys[:len(a.Dimensions)], "\x00")
		if groups[group]++; len(a.Dimensions) > 0 && groups[group] > perGroup {
			truncated = true
			continue
		}
		if len(shown) == most {
			return shown, true
		}
		row := map[string]any{}
		for i, name := range a.columns {
			row[name] = r.Keys[i]
		}
		for _, m := range a.metrics {
			value := m.of(&r.Sums)
			if n, count := value.(int64); count {
				value = strconv.FormatInt(n, 10)
			}
			row[m.name] = value
		}
		shown = append(shown, row)
	}
	return shown, truncated
}
