package listing

import (
	"cmp"
	"encoding/json"
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
	"chaperone/engine/wire"
)

// The page of a listing of models, as OpenRouter has it.
const (
	defaultModels = 500
	mostModels    = 1000
)

// Filter is what the query of a listing asks for.
type Filter struct {
	query         url.Values
	paged         bool
	offset, limit int
	keep          []func(u *Model, now time.Time) bool
	compare       func(a, b *Model) int // nil: by id
}

// modelSorts are OpenRouter's words for what this router can order by.
var modelSorts = map[string]func(a, b *Model) int{
	"newest":                 func(a, b *Model) int { return b.Model.Created.Compare(a.Model.Created) },
	"pricing-low-to-high":    func(a, b *Model) int { return cmp.Compare(a.price(), b.price()) },
	"pricing-high-to-low":    func(a, b *Model) int { return cmp.Compare(b.price(), a.price()) },
	"context-high-to-low":    func(a, b *Model) int { return cmp.Compare(b.context(), a.context()) },
	"throughput-high-to-low": func(a, b *Model) int { return cmp.Compare(b.tps, a.tps) },
	"latency-low-to-high":    func(a, b *Model) int { return cmp.Compare(a.ttft, b.ttft) },
}

// unknowable are OpenRouter's filters for which a catalog has no figures: to pass them over would answer another question.
var unknowable = []string{
	"category", "arch", "min_intelligence_index", "max_intelligence_index", "min_coding_index", "max_coding_index",
	"min_agentic_index", "max_agentic_index", "min_tool_success_rate", "max_tool_success_rate",
}

// filterReader collects what a query asks for, up to the first mistake.
type filterReader struct {
	query url.Values
	f     Filter
	err   *wire.Error
}

// ReadFilter reads the query of a listing. Names that OpenRouter does not have are passed over, as it does.
func ReadFilter(q url.Values) (*Filter, *wire.Error) {
	r := filterReader{query: q, f: Filter{query: q, limit: defaultModels}}
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

func (r *filterReader) keep(when func(u *Model, now time.Time) bool) {
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
		r.keep(func(u *Model, _ time.Time) bool {
			return strings.Contains(strings.ToLower(u.Model.ID), q) || strings.Contains(strings.ToLower(u.Model.Name), q)
		})
	}
	all := func(name string, of func(u *Model) []string) {
		if wanted := r.list(name); wanted != nil {
			r.keep(func(u *Model, _ time.Time) bool {
				has := of(u)
				return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(has, w) })
			})
		}
	}
	some := func(name string, of func(u *Model) []string) {
		if wanted := r.list(name); wanted != nil {
			r.keep(func(u *Model, _ time.Time) bool {
				return slices.ContainsFunc(of(u), func(has string) bool { return slices.Contains(wanted, strings.ToLower(has)) })
			})
		}
	}
	all("supported_parameters", (*Model).parameters)
	all("input_modalities", func(u *Model) []string { return u.Model.InputModalities })
	if wanted := r.list("output_modalities"); !slices.Contains(wanted, "all") {
		if wanted == nil {
			wanted = []string{"text"}
		}
		r.keep(func(u *Model, _ time.Time) bool {
			return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(u.Model.OutputModalities, w) })
		})
	}
	some("model_authors", func(u *Model) []string {
		author, _, _ := strings.Cut(u.Model.ID, "/")
		return []string{author}
	})
	some("providers", func(u *Model) []string {
		return u.each(func(row *catalog.Row) []string { return []string{row.Provider.ID, row.Provider.Name} })
	})
	if zdr := r.yes("zdr"); zdr != nil && *zdr {
		r.keep(func(u *Model, now time.Time) bool { return u.hasZDR(now) })
	}
	if wanted := r.yes("distillable"); wanted != nil {
		r.keep(func(u *Model, now time.Time) bool { return u.distillable(now) == *wanted })
	}
	if region := strings.ToLower(r.query.Get("region")); region != "" {
		r.keep(func(u *Model, _ time.Time) bool {
			return slices.ContainsFunc(u.Endpoints, func(ep route.Endpoint) bool { return slices.Equal(ep.Row.ProcessingRegions, []string{region}) })
		})
	}
	if n, ok := r.whole("context", 0, math.MaxInt32); ok {
		r.keep(func(u *Model, _ time.Time) bool { return u.context() >= int64(n) })
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
		usd := func(u *Model) float64 { return part.of(u.cheapest.Prices).USD() * 1e6 }
		if least, ok := r.number("min_" + part.name); ok {
			r.keep(func(u *Model, _ time.Time) bool { return usd(u) >= least*(1-1e-12) })
		}
		if most, ok := r.number("max_" + part.name); ok {
			r.keep(func(u *Model, _ time.Time) bool { return usd(u) <= most*(1+1e-12) })
		}
	}
}

// times are filters by how many days ago a model came; one of which that is not known is no answer.
func (r *filterReader) times() {
	age := func(u *Model, now time.Time) float64 {
		if u.Model.Created.IsZero() {
			return math.NaN()
		}
		return now.Sub(u.Model.Created).Hours() / 24
	}
	if least, ok := r.number("min_age_days"); ok {
		r.keep(func(u *Model, now time.Time) bool { return age(u, now) >= least })
	}
	if most, ok := r.number("max_age_days"); ok {
		r.keep(func(u *Model, now time.Time) bool { return age(u, now) <= most })
	}
}

// choose is those of all that the filter lets through, in its order.
func (f *Filter) choose(all []Model, now time.Time) []Model {
	all = slices.DeleteFunc(all, func(u Model) bool {
		return slices.ContainsFunc(f.keep, func(keep func(*Model, time.Time) bool) bool { return !keep(&u, now) })
	})
	if f.compare != nil {
		slices.SortStableFunc(all, func(a, b Model) int { return f.compare(&a, &b) })
	}
	return all
}

// Page is those of all, as JSON, that the filter lets through, and where the next page is.
func (f *Filter) Page(all []Model, now time.Time) ([]byte, error) {
	all = f.choose(all, now)
	total := len(all)
	next := (*string)(nil)
	if f.paged {
		from := min(f.offset, total)
		to := min(from+f.limit, total)
		if all = all[from:to]; to < total {
			q := maps.Clone(f.query)
			q.Set("offset", strconv.Itoa(to))
			link := "/api/v1/models?" + q.Encode()
			next = &link
		}
	}
	data := make([]modelView, len(all))
	for i := range all {
		data[i] = all[i].view(now)
	}
	return json.Marshal(map[string]any{"object": "list", "data": data, "total_count": total, "links": map[string]any{"next": next}})
}

// Count says, as JSON, how many of all the filter lets through.
func (f *Filter) Count(all []Model, now time.Time) ([]byte, error) {
	return json.Marshal(map[string]any{"data": map[string]any{"count": len(f.choose(all, now))}})
}
