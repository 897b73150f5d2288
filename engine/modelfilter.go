package engine

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/route"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// The page of a listing of models, as OpenRouter has it.
const (
	defaultModels = 500
	mostModels    = 1000
)

// modelFilter is what the query of a listing asks for.
type modelFilter struct {
	paged         bool
	offset, limit int
	keep          []func(u *usable, now time.Time) bool
	compare       func(a, b *usable) int // nil: by id
}

// modelSorts are OpenRouter's words for what this router can order by.
var modelSorts = map[string]func(a, b *usable) int{
	"newest":                 func(a, b *usable) int { return b.Model.Created.Compare(a.Model.Created) },
	"pricing-low-to-high":    func(a, b *usable) int { return cmp.Compare(a.price(), b.price()) },
	"pricing-high-to-low":    func(a, b *usable) int { return cmp.Compare(b.price(), a.price()) },
	"context-high-to-low":    func(a, b *usable) int { return cmp.Compare(b.context(), a.context()) },
	"throughput-high-to-low": func(a, b *usable) int { return cmp.Compare(b.tps, a.tps) },
	"latency-low-to-high":    func(a, b *usable) int { return cmp.Compare(a.ttft, b.ttft) },
}

// unknowable are OpenRouter's filters for which a catalog has no figures: to pass them over would answer another question.
var unknowable = []string{
	"category", "arch", "min_intelligence_index", "max_intelligence_index", "min_coding_index", "max_coding_index",
	"min_agentic_index", "max_agentic_index", "min_tool_success_rate", "max_tool_success_rate",
}

// filterReader collects what a query asks for, up to the first mistake.
type filterReader struct {
	query url.Values
	f     modelFilter
	err   *wire.Error
}

// readFilter reads the query of a listing. Names that OpenRouter does not have are passed over, as it does.
func readFilter(q url.Values) (*modelFilter, *wire.Error) {
	r := filterReader{query: q, f: modelFilter{limit: defaultModels}}
	for _, name := range unknowable {
		if q.Get(name) != "" {
			r.fail(name, "the catalog of this router has no such figures; leave it out")
		}
	}
	r.page()
	r.words()
	r.prices()
	r.times()
	if r.err != nil {
		return nil, r.err
	}
	return &r.f, nil
}

func (r *filterReader) fail(name, format string, args ...any) {
	if r.err == nil {
		r.err = &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: name, Message: name + ": " + fmt.Sprintf(format, args...)}
	}
}

func (r *filterReader) keep(when func(u *usable, now time.Time) bool) {
	r.f.keep = append(r.f.keep, when)
}

// list is the words of a comma-separated list; nil where it was not sent.
func (r *filterReader) list(name string) []string {
	var out []string
	for word := range strings.SplitSeq(r.query.Get(name), ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, strings.ToLower(word))
		}
	}
	return out
}

// whole is a whole number from least to most; ok is false where none was sent.
func (r *filterReader) whole(name string, least, most int) (n int, ok bool) {
	text := r.query.Get(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		r.fail(name, "found %.40q; it should be a whole number from %d to %d", text, least, most)
		return 0, false
	}
	return n, true
}

func (r *filterReader) number(name string) (f float64, ok bool) {
	text := r.query.Get(name)
	if text == "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 0) || math.IsInf(f, 1) {
		r.fail(name, "found %.40q; it should be a number of at least 0", text)
		return 0, false
	}
	return f, true
}

// yes reads true or false; nil where it was not sent.
func (r *filterReader) yes(name string) *bool {
	switch text := r.query.Get(name); text {
	case "":
		return nil
	case "true", "false":
		yes := text == "true"
		return &yes
	default:
		r.fail(name, "found %.40q; it should be true or false", text)
		return nil
	}
}

func (r *filterReader) page() {
	offset, paged := r.whole("offset", 0, math.MaxInt32)
	limit, limited := r.whole("limit", 1, mostModels)
	r.f.offset, r.f.paged = offset, paged || limited
	if limited {
		r.f.limit = limit
	}
	if by := r.query.Get("sort"); by != "" {
		known := false
		if r.f.compare, known = modelSorts[by]; !known {
			r.fail("sort", "%s", config.NotOneOf(by, slices.Sorted(maps.Keys(modelSorts))))
		}
	}
}

// words are filters by what models and endpoints are called or can do.
func (r *filterReader) words() {
	if q := strings.ToLower(r.query.Get("q")); q != "" {
		r.keep(func(u *usable, _ time.Time) bool {
			return strings.Contains(strings.ToLower(u.Model.ID), q) || strings.Contains(strings.ToLower(u.Model.Name), q)
		})
	}
	all := func(name string, of func(u *usable) []string) {
		if wanted := r.list(name); wanted != nil {
			r.keep(func(u *usable, _ time.Time) bool {
				has := of(u)
				return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(has, w) })
			})
		}
	}
	some := func(name string, of func(u *usable) []string) {
		if wanted := r.list(name); wanted != nil {
			r.keep(func(u *usable, _ time.Time) bool {
				return slices.ContainsFunc(of(u), func(has string) bool { return slices.Contains(wanted, strings.ToLower(has)) })
			})
		}
	}
	all("supported_parameters", (*usable).parameters)
	all("input_modalities", func(u *usable) []string { return u.Model.InputModalities })
	if wanted := r.list("output_modalities"); !slices.Contains(wanted, "all") {
		if wanted == nil {
			wanted = []string{"text"}
		}
		r.keep(func(u *usable, _ time.Time) bool {
			return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(u.Model.OutputModalities, w) })
		})
	}
	some("model_authors", func(u *usable) []string {
		author, _, _ := strings.Cut(u.Model.ID, "/")
		return []string{author}
	})
	some("providers", func(u *usable) []string {
		return u.each(func(row *catalog.Row) []string { return []string{row.Provider.ID, row.Provider.Name} })
	})
	if zdr := r.yes("zdr"); zdr != nil && *zdr {
		r.keep(func(u *usable, now time.Time) bool { return u.hasZDR(now) })
	}
	if wanted := r.yes("distillable"); wanted != nil {
		r.keep(func(u *usable, now time.Time) bool { return u.distillable(now) == *wanted })
	}
	if region := strings.ToLower(r.query.Get("region")); region != "" {
		r.keep(func(u *usable, _ time.Time) bool {
			return slices.ContainsFunc(u.Endpoints, func(ep route.Endpoint) bool { return slices.Equal(ep.Row.ProcessingRegions, []string{region}) })
		})
	}
	if n, ok := r.whole("context", 0, math.MaxInt32); ok {
		r.keep(func(u *usable, _ time.Time) bool { return u.context() >= int64(n) })
	}
}

// prices are filters in USD per million tokens, of the cheapest endpoint.
func (r *filterReader) prices() {
	for _, part := range []struct {
		name string
		of   func(catalog.Prices) catalog.Picodollars
	}{
		{"price", func(p catalog.Prices) catalog.Picodollars { return p.Prompt }},
		{"output_price", func(p catalog.Prices) catalog.Picodollars { return p.Completion }},
	} {
		usd := func(u *usable) float64 { return part.of(u.cheapest.Prices).USD() * 1e6 }
		if least, ok := r.number("min_" + part.name); ok {
			r.keep(func(u *usable, _ time.Time) bool { return usd(u) >= least*(1-1e-12) })
		}
		if most, ok := r.number("max_" + part.name); ok {
			r.keep(func(u *usable, _ time.Time) bool { return usd(u) <= most*(1+1e-12) })
		}
	}
}

// times are filters by how many days ago a model came; one of which that is not known is no answer.
func (r *filterReader) times() {
	age := func(u *usable, now time.Time) float64 {
		if u.Model.Created.IsZero() {
			return math.NaN()
		}
		return now.Sub(u.Model.Created).Hours() / 24
	}
	if least, ok := r.number("min_age_days"); ok {
		r.keep(func(u *usable, now time.Time) bool { return age(u, now) >= least })
	}
	if most, ok := r.number("max_age_days"); ok {
		r.keep(func(u *usable, now time.Time) bool { return age(u, now) <= most })
	}
}

// choose is those of all that the filter lets through, in its order.
func (f *modelFilter) choose(all []usable, now time.Time) []usable {
	all = slices.DeleteFunc(all, func(u usable) bool {
		return slices.ContainsFunc(f.keep, func(keep func(*usable, time.Time) bool) bool { return !keep(&u, now) })
	})
	if f.compare != nil {
		slices.SortStableFunc(all, func(a, b usable) int { return f.compare(&a, &b) })
	}
	return all
}

// measure reads what lists are ordered by.
func (u *usable) measure(stats *telemetry.View) {
	u.ttft = math.Inf(1)
	for _, ep := range u.Endpoints {
		st := &stats.Rows[ep.Row.Index]
		if p := st.TPS.P50; !math.IsNaN(p) {
			u.tps = max(u.tps, p)
		}
		if p := st.TTFT.P50; !math.IsNaN(p) {
			u.ttft = min(u.ttft, p)
		}
	}
}
