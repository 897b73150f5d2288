package wire

import (
	"maps"
	"slices"
	"strconv"

	"chaperone/engine/config"
)

var quantizations = []string{"int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"}

// preferenceFields is OpenRouter's provider object
// (https://openrouter.ai/docs/guides/routing/provider-selection), which is closed: a misspelt preference would be none.
var preferenceFields = map[string]func(*skim) bool{
	"order":                    func(s *skim) bool { return s.names(&s.r.Preferences.Order) },
	"only":                     func(s *skim) bool { return s.names(&s.r.Preferences.Only) },
	"ignore":                   func(s *skim) bool { return s.names(&s.r.Preferences.Ignore) },
	"allow_fallbacks":          func(s *skim) bool { return s.bool(&s.r.Preferences.AllowFallbacks) },
	"require_parameters":       func(s *skim) bool { return s.bool(&s.r.Preferences.RequireParameters) },
	"data_collection":          func(s *skim) bool { return s.choice(&s.r.Preferences.DataCollection, "allow", "deny") },
	"zdr":                      func(s *skim) bool { return s.bool(&s.r.Preferences.ZDR) },
	"enforce_distillable_text": func(s *skim) bool { return s.bool(&s.r.Preferences.DistillableText) },
	"quantizations":            (*skim).quantizations,
	"sort":                     (*skim).sort,
	"preferred_min_throughput": func(s *skim) bool { return s.cutoffs(&s.r.Preferences.MinThroughput) },
	"preferred_max_latency":    func(s *skim) bool { return s.cutoffs(&s.r.Preferences.MaxLatency) },
	"max_price":                (*skim).maxPrice,
}

func (s *skim) preferences() bool { return s.closed("an object", preferenceFields) }

// closed reads an object that may have no other members than fields.
func (s *skim) closed(want string, fields map[string]func(*skim) bool) bool {
	if s.peek() != '{' {
		return s.wrong(want)
	}
	o := s.object()
	for s.member(&o) {
		read, known := fields[string(o.key)]
		switch {
		case !known:
			names := slices.Sorted(maps.Keys(fields))
			return s.fail(o.keyAt, "%s", config.UnknownName("key", string(o.key[:min(len(o.key), 64)]), names))
		case s.null():
		case !s.ok() || !read(s):
			return false
		}
	}
	return s.ok()
}

func (s *skim) quantizations() bool {
	if s.peek() != '[' {
		return s.wrong("an array of strings")
	}
	list := []string{}
	a := s.array()
	for s.element(&a) {
		var q string
		if !s.choice(&q, quantizations...) {
			return false
		}
		list = append(list, q)
	}
	s.r.Preferences.Quantizations = list
	return s.ok()
}

func (s *skim) sortBy() bool {
	return s.choice(&s.r.Preferences.Sort, "price", "throughput", "latency", "exacto")
}

var sortFields = map[string]func(*skim) bool{
	"by": (*skim).sortBy,
	"partition": func(s *skim) bool {
		s.sorted = true
		return s.choice(&s.r.Preferences.Partition, "model", "none")
	},
}

func (s *skim) sort() bool {
	if s.peek() == '"' {
		return s.sortBy()
	}
	return s.closed("a string or an object with by and partition", sortFields)
}

// cutoffs reads a number, which is the median's, or one for each percentile.
func (s *skim) cutoffs(into **Cutoffs) bool {
	var c Cutoffs
	*into = &c
	if s.peek() != '{' {
		return s.amount(&c.P50, false, "a number above 0 or an object with p50, p75, p90 and p99")
	}
	percentile := func(f *float64) func(*skim) bool {
		return func(s *skim) bool { return s.amount(f, false, "a number above 0") }
	}
	return s.closed("an object", map[string]func(*skim) bool{
		"p50": percentile(&c.P50), "p75": percentile(&c.P75), "p90": percentile(&c.P90), "p99": percentile(&c.P99),
	})
}

func (s *skim) maxPrice() bool {
	p := PriceCeiling{-1, -1, -1, -1, -1}
	s.r.Preferences.MaxPrice = &p
	price := func(f *float64) func(*skim) bool {
		return func(s *skim) bool { return s.amount(f, true, "a number of at least 0, or such a number in quotes") }
	}
	return s.closed("an object", map[string]func(*skim) bool{
		"prompt": price(&p.Prompt), "completion": price(&p.Completion), "request": price(&p.Request),
		"image": price(&p.Image), "audio": price(&p.Audio),
	})
}

// amount reads a number above 0; a price may also be 0 and stand in quotes.
func (s *skim) amount(into *float64, price bool, want string) bool {
	c := s.peek()
	at := s.pos
	var raw []byte
	switch {
	case c == '"' && price:
		t, ok := s.clean(want)
		if !ok {
			return false
		}
		// The same grammar as without quotes: "0x1p3", "1_000", "inf" and " 1" mean different things to different parsers.
		inner := scanner{data: t.decoded(), strict: true}
		if raw, ok = inner.number(); !ok || inner.pos < len(inner.data) {
			return s.fail(at, "found %s; it should be %s", excerpt(t), want)
		}
	case c == '-' || c >= '0' && c <= '9':
		var ok bool
		if raw, ok = s.number(); !ok {
			return false
		}
	default:
		return s.wrong(want)
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || raw[0] == '-' || f == 0 && !price {
		return s.fail(at, "found %s; it should be %s", shortened(raw), want)
	}
	*into = f
	return true
}
