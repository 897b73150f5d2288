package scorer

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

// columns is the vocabulary for rows.
var columns = listed("columns", slices.Concat(
	[]word[Column]{
		perMillion("price.prompt", "input; like every price 0 under credentials that bill nothing",
			func(p *catalog.Prices) catalog.Picodollars { return p.Prompt }),
		perMillion("price.completion", "output",
			func(p *catalog.Prices) catalog.Picodollars { return p.Completion }),
		perMillion("price.cache_read", "input that the provider's prompt cache holds",
			func(p *catalog.Prices) catalog.Picodollars { return p.CacheRead }),
		perMillion("price.cache_write", "input that is written to the provider's prompt cache",
			func(p *catalog.Prices) catalog.Picodollars { return p.CacheWrite }),
		perUnit("price.request", "each request",
			func(p *catalog.Prices) catalog.Picodollars { return p.Request }),
		perUnit("price.image", "each input image",
			func(p *catalog.Prices) catalog.Picodollars { return p.Image }),
		column(fromRequest, "price.expected", "USD", "what this request is expected to cost", "there is no request",
			func(b *Batch, row int) float64 { return expectedPrice(b, b.Rows[row]) }),
		column(fromCatalog, "context_length", "tokens", "the most that prompt and answer may have together", "not stated",
			func(b *Batch, row int) float64 { return positive(b.Rows[row].ContextLength) }),
		column(fromCatalog, "max_output_tokens", "tokens", "the most that an answer may have", "neither it nor the context length is stated",
			func(b *Batch, row int) float64 {
				if limit := b.Rows[row].MaxOutputTokens; limit > 0 {
					return float64(limit)
				}
				return positive(b.Rows[row].ContextLength)
			}),
	},
	percentiles("stats.ttft_", "_ms", "milliseconds", "of the time to the first token, in the window",
		func(s *telemetry.RowStats) *telemetry.Percentiles { return &s.TTFT }),
	percentiles("stats.tps_", "", "tokens a second", "of the output speed, in the window",
		func(s *telemetry.RowStats) *telemetry.Percentiles { return &s.TPS }),
	[]word[Column]{
		ofStats("stats.ttft_expected_ms", "milliseconds",
			"expected time to the first token, shrunk towards the catalog and the model's other rows while there is little data",
			notInView, func(s *telemetry.RowStats) float64 { return s.ExpectedTTFT }),
		ofStats("stats.tps_expected", "tokens a second", "expected output speed, shrunk likewise",
			notInView, func(s *telemetry.RowStats) float64 { return s.ExpectedTPS }),
		ofStats("stats.success", "0.01…1", "probability that an attempt succeeds, shrunk likewise; a 429 is no success",
			notInView, func(s *telemetry.RowStats) float64 { return s.Success }),
		ofStats("stats.lost_expected_ms", "milliseconds", "what a failed attempt costs before it is noticed, shrunk likewise",
			notInView, func(s *telemetry.RowStats) float64 { return s.LostMillis }),
		ofStats("stats.uptime", "0…1", "share of attempts in the window that succeeded, 429s left out",
			noSample, func(s *telemetry.RowStats) float64 { return s.Uptime }),
		ofStats("stats.rate_limited", "0…1", "share of attempts in the window that were answered 429",
			noSample, func(s *telemetry.RowStats) float64 { return s.RateLimited }),
		ofStats("stats.samples", "attempts", "attempts in the window that count",
			notInView, func(s *telemetry.RowStats) float64 { return float64(s.Samples) }),
		column(fromRequest, "retention_days", "days", "how long the provider keeps prompts", "not known, or its evidence is past review",
			func(b *Batch, row int) float64 {
				if days := b.Rows[row].DataPolicy.At(b.Now).RetentionDays; days < catalog.UnknownRetentionDays {
					return float64(days)
				}
				return math.NaN()
			}),
		column(fromCatalog, "endpoint", "identity", "the row as a number, the same after a reload and on every replica", "",
			func(b *Batch, row int) float64 { return identity(b.Rows[row].ID) }),
		{
			Entry: Entry{Name: "attr.NAME", Prefix: "attr.", Unit: "the operator's", Meaning: "that attribute of the endpoint",
				NaN: "the endpoint has no such attribute"},
			from:    fromCatalog,
			resolve: attribute,
			has:     func(row *catalog.Row, name string) bool { _, ok := row.Attributes[name]; return ok },
		},
		oneHot("provider:", "ID", "the row is that provider's", true,
			func(row *catalog.Row, id string) bool { return row.Provider.ID == id }),
		oneHot("region:", "ID", "the row may process in that region", true,
			func(row *catalog.Row, region string) bool { return slices.Contains(row.ProcessingRegions, region) }),
		oneHot("quantization:", "NAME", "the weights have that precision", true,
			func(row *catalog.Row, name string) bool { return row.Quantization == name }),
		oneHot("label:", "KEY=VALUE", "the row has that label; without =VALUE, any value of it", false, labelled),
	},
))

const (
	noSample  = "no sample in the window"
	notInView = "the statistics do not hold the row"
)

func column(from origin, name, unit, meaning, nan string, value Column) word[Column] {
	return word[Column]{
		from:    from,
		Entry:   Entry{Name: name, Unit: unit, Meaning: meaning, NaN: nan},
		resolve: func(string) Column { return value },
	}
}

func perMillion(name, meaning string, price func(*catalog.Prices) catalog.Picodollars) word[Column] {
	return column(fromCatalog, name, "USD a million tokens", meaning, "", func(b *Batch, row int) float64 {
		return float64(price(prices(b.Rows[row]))) * 1e6 * usd
	})
}

func perUnit(name, meaning string, price func(*catalog.Prices) catalog.Picodollars) word[Column] {
	return column(fromCatalog, name, "USD", meaning, "", func(b *Batch, row int) float64 {
		return float64(price(prices(b.Rows[row]))) * usd
	})
}

func ofStats(name, unit, meaning, nan string, value func(*telemetry.RowStats) float64) word[Column] {
	return column(fromStatistics, name, unit, meaning, nan, func(b *Batch, row int) float64 {
		if st := stats(b, row); st != nil {
			return value(st)
		}
		return math.NaN()
	})
}

func percentiles(prefix, suffix, unit, meaning string, of func(*telemetry.RowStats) *telemetry.Percentiles) []word[Column] {
	percentile := func(name, which string, value func(*telemetry.Percentiles) float64) word[Column] {
		return ofStats(prefix+name+suffix, unit, which+" "+meaning, noSample,
			func(s *telemetry.RowStats) float64 { return value(of(s)) })
	}
	return []word[Column]{
		percentile("p50", "median", func(p *telemetry.Percentiles) float64 { return p.P50 }),
		percentile("p75", "75th percentile", func(p *telemetry.Percentiles) float64 { return p.P75 }),
		percentile("p90", "90th percentile", func(p *telemetry.Percentiles) float64 { return p.P90 }),
		percentile("p99", "99th percentile", func(p *telemetry.Percentiles) float64 { return p.P99 }),
	}
}

func oneHot(prefix, argument, meaning string, lower bool, holds func(row *catalog.Row, argument string) bool) word[Column] {
	return word[Column]{
		Entry: Entry{Name: prefix + argument, Prefix: prefix, Unit: "0 or 1", Meaning: meaning},
		from:  fromCatalog,
		lower: lower,
		resolve: func(argument string) Column {
			return func(b *Batch, row int) float64 { return truth(holds(b.Rows[row], argument)) }
		},
		has: holds,
	}
}

func attribute(name string) Column {
	return func(b *Batch, row int) float64 {
		if v, ok := b.Rows[row].Attributes[name]; ok {
			return v
		}
		return math.NaN()
	}
}

func labelled(row *catalog.Row, label string) bool {
	key, value, exact := strings.Cut(label, "=")
	has, ok := row.Labels[key]
	return ok && (!exact || has == value)
}

// identity is the top 53 bits, big-endian, of the SHA-256 of a row's id: as many as a float64 holds exactly.
func identity(id string) float64 {
	sum := sha256.Sum256([]byte(id))
	return float64(binary.BigEndian.Uint64(sum[:8]) >> 11)
}

// positive is n, or NaN where it stands for "not stated".
func positive(n int64) float64 {
	if n > 0 {
		return float64(n)
	}
	return math.NaN()
}

func truth(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}
