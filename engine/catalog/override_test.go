package catalog_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/wire"
)

// Examples as providers publish them: each names the page that its prices and its rule stand on, and is worked out by hand.
func TestWorkedExamples(t *testing.T) {
	weekday, weekend := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	at := func(day time.Time, clock string) time.Time {
		c, err := time.Parse("15:04:05", clock)
		if err != nil {
			t.Fatal(err)
		}
		return day.Add(time.Duration(c.Hour())*time.Hour + time.Duration(c.Minute())*time.Minute + time.Duration(c.Second())*time.Second)
	}
	// https://platform.claude.com/docs/en/about-claude/pricing: a write for five minutes costs 1.25 times the input, for an hour twice,
	// a read a tenth.
	const sonnet = "prompt = 3, completion = 15, cache_read = 0.3, cache_write = 3.75, cache_write_1h = 6"
	// https://api-docs.deepseek.com/quick_start/pricing: "Peak hours are 01:00 - 04:00 and 06:00 - 10:00 UTC, Monday through Friday";
	// reasoning is billed as output.
	const pro = `prompt = 0.66, completion = 1.98, cache_read = 0.022, overrides = [
		{ utc_start = "01:00", utc_end = "04:00", utc_days = ["mon", "tue", "wed", "thu", "fri"], prompt = 1.32, completion = 3.96, cache_read = 0.044 },
		{ utc_start = "06:00", utc_end = "10:00", utc_days = ["mon", "tue", "wed", "thu", "fri"], prompt = 1.32, completion = 3.96, cache_read = 0.044 }]`
	// https://developers.openai.com/api/docs/models/gpt-6-astra, as models.dev records it (providers/openai/models/gpt-6-astra.toml at
	// e2f67ad): beyond 272,000 tokens of prompt other prices hold, for the whole of the request. That the threshold itself still has the
	// lower ones, and that the cached part counts for it, is OpenRouter's rule
	// (https://openrouter.ai/docs/client-sdks/typescript/models/pricingoverride).
	const astra = `prompt = 10, completion = 50, cache_read = 1, cache_write = 12.5,
		overrides = [{ min_prompt_tokens = 272_000, prompt = 20, completion = 75, cache_read = 2, cache_write = 25 }]`
	// https://docs.perplexity.ai/guides/pricing: "Total cost per query = Token costs + Request fee", which for Sonar is $5 for 1,000
	// requests of low search context, $12 of high; the tokens that Sonar Deep Research reasons with have a price of their own, below
	// that of its output. (Its searches are billed beside that.)
	const sonar = "prompt = 1, completion = 1, request = 0.005"
	const sonarHigh = "prompt = 1, completion = 1, request = 0.012"
	const research = "prompt = 2, completion = 8, reasoning = 3"
	// https://openrouter.ai/api/v1/models, anthropic/claude-3.5-sonnet, as cline/cline
	// records it (src/core/webview/ClineProvider.ts at 2e56149): an image has a price of its own beside the tokens.
	const pictures = "prompt = 3, completion = 15, image = 0.0048"
	for _, c := range []struct {
		name, price string
		of          catalog.Counts
		at          time.Time
		usd         string
	}{
		// 1,000 · $3/M + 20,000 · $0.30/M + 2,000 · $3.75/M + 500 · $15/M
		{"reads and writes of five minutes", sonnet, catalog.Counts{Prompt: 23_000, Cached: 20_000, CacheWrite: 2000, Completion: 500}, weekday, "0.024"},
		// 1,000 · $3/M + 8,000 · $3.75/M + 2,000 · $6/M + 100 · $15/M
		{"writes of both kinds", sonnet, catalog.Counts{Prompt: 11_000, CacheWrite: 10_000, CacheWrite1h: 2000, Completion: 100}, weekday, "0.0465"},
		// 8,000 · $0.66/M + 2,000 · $0.022/M + 1,000 · $1.98/M
		{"off peak", pro, catalog.Counts{Prompt: 10_000, Cached: 2000, Completion: 1000, Reasoning: 700}, at(weekday, "00:59:59"), "0.007304"},
		{"the first second of the peak", pro, catalog.Counts{Prompt: 10_000, Cached: 2000, Completion: 1000, Reasoning: 700}, at(weekday, "01:00:00"), "0.014608"},
		{"the last", pro, catalog.Counts{Prompt: 10_000, Cached: 2000, Completion: 1000}, at(weekday, "03:59:59"), "0.014608"},
		{"between the peaks", pro, catalog.Counts{Prompt: 10_000, Cached: 2000, Completion: 1000}, at(weekday, "04:00:00"), "0.007304"},
		{"the second peak", pro, catalog.Counts{Prompt: 10_000, Cached: 2000, Completion: 1000}, at(weekday, "09:59:59"), "0.014608"},
		{"at the weekend", pro, catalog.Counts{Prompt: 10_000, Cached: 2000, Completion: 1000}, at(weekend, "02:00:00"), "0.007304"},
		// 272,000 · $10/M + 1,000 · $50/M
		{"as long as the lower tier goes", astra, catalog.Counts{Prompt: 272_000, Completion: 1000}, weekday, "2.77"},
		// 272,001 · $20/M + 1,000 · $75/M
		{"a token more, and all of it costs more", astra, catalog.Counts{Prompt: 272_001, Completion: 1000}, weekday, "5.51502"},
		// 50,000 · $20/M + 250,000 · $2/M + 1,000 · $75/M
		{"a long prompt, most of it cached", astra, catalog.Counts{Prompt: 300_000, Cached: 250_000, Completion: 1000}, weekday, "1.575"},
		// 100,000 · $20/M + 200,000 · $25/M: what is like the write follows it
		{"a long prompt, most of it written for an hour", astra, catalog.Counts{Prompt: 300_000, CacheWrite: 200_000, CacheWrite1h: 200_000}, weekday, "7"},
		// 500 · $1/M + 200 · $1/M + $0.005
		{"a fee for each request", sonar, catalog.Counts{Prompt: 500, Completion: 200}, weekday, "0.0057"},
		{"a higher one", sonarHigh, catalog.Counts{Prompt: 500, Completion: 200}, weekday, "0.0127"},
		{"a request without tokens", sonar, catalog.Counts{}, weekday, "0.005"},
		// 10,000 · $2/M + 4,000 · $8/M + 90,000 · $3/M
		{"reasoning at a price of its own", research, catalog.Counts{Prompt: 10_000, Completion: 94_000, Reasoning: 90_000}, weekday, "0.322"},
		// 1,000 · $3/M + 200 · $15/M + 2 · $0.0048
		{"two images", pictures, catalog.Counts{Prompt: 1000, Completion: 200, Images: 2}, weekday, "0.0156"},
	} {
		row := load(t, priced(c.price)).Rows[0]
		prices := row.PricesAt(c.of.Prompt, c.at)
		if got := prices.Cost(c.of).String(); got != c.usd {
			t.Errorf("%s: $%s, want $%s", c.name, got, c.usd)
		}
	}
}

// Reading 20,000 tokens from a cache at $0.30/M in place of $3/M saves $0.054; writing 2,000 at $3.75/M costs $0.0015 more.
func TestWhatACacheSaves(t *testing.T) {
	row := load(t, priced("prompt = 3, completion = 15, cache_read = 0.3, cache_write = 3.75")).Rows[0]
	for _, c := range []struct {
		of  wire.Usage
		usd string
	}{
		{wire.Usage{PromptTokens: 23_000, CachedTokens: 20_000, CacheWriteTokens: 2000, CompletionTokens: 500}, "0.0525"},
		{wire.Usage{PromptTokens: 2000, CacheWriteTokens: 2000, CompletionTokens: 500}, "-0.0015"},
		{wire.Usage{PromptTokens: 2000, CompletionTokens: 500}, "0"},
	} {
		if got := row.CacheDiscount(c.of, 0, time.Now()).String(); got != c.usd {
			t.Errorf("%+v: $%s, want $%s", c.of, got, c.usd)
		}
	}
}

func TestOverridesFollowEachOther(t *testing.T) {
	row := load(t, priced(`prompt = 1, completion = 2, cache_write = 5, overrides = [
		{ min_prompt_tokens = 100, prompt = 3 },
		{ utc_start = "22:00", utc_end = "02:00", prompt = 4, cache_read = 0.5 },
		{ min_prompt_tokens = 100, utc_start = "22:00", utc_end = "02:00", completion = 9 }]`)).Rows[0]
	noon, night := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 26, 23, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		name                                              string
		prompt                                            int64
		at                                                time.Time
		in, out, read, write, hour, reasoning, audioInput catalog.Picodollars
	}{
		{"short, at noon", 100, noon, 1, 2, 1, 5, 5, 2, 1},
		{"long: what is like the prompt follows it", 101, noon, 3, 2, 3, 5, 5, 2, 3},
		{"over midnight", 100, night, 4, 2, 0, 5, 5, 2, 4},
		{"still, after it", 100, night.Add(2 * time.Hour), 4, 2, 0, 5, 5, 2, 4},
		{"no more", 100, night.Add(150 * time.Minute), 1, 2, 1, 5, 5, 2, 1},
		{"both: the later wins, price by price", 101, night, 4, 9, 0, 5, 5, 9, 4},
		{"in another zone", 100, night.In(time.FixedZone("", 3*3600)), 4, 2, 0, 5, 5, 2, 4},
	} {
		want := catalog.Prices{Prompt: c.in * 1e6, Completion: c.out * 1e6, CacheRead: c.read * 1e6, CacheWrite: c.write * 1e6, CacheWrite1h: c.hour * 1e6,
			Reasoning: c.reasoning * 1e6, Audio: c.audioInput * 1e6}
		if c.read == 0 {
			want.CacheRead = 500_000
		}
		if got := row.PricesAt(c.prompt, c.at); got != want {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
	}
	if got, want := row.DearestPrices(), (catalog.Prices{Prompt: 4e6, Completion: 9e6, CacheRead: 3e6, CacheWrite: 5e6, CacheWrite1h: 5e6, Reasoning: 9e6, Audio: 4e6}); got != want {
		t.Errorf("the dearest are %+v, want %+v", got, want)
	}
	plain := load(t, priced("prompt = 1, completion = 2")).Rows[0]
	if n := testing.AllocsPerRun(100, func() { plain.PricesAt(1000, noon) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever the prompt and the moment, nothing is dearer than the dearest.
func TestNothingIsDearerThanTheDearest(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	keys := []string{"prompt", "completion", "cache_read", "cache_write", "cache_write_1h", "reasoning", "audio", "request", "image"}
	for range 200 {
		var price strings.Builder
		price.WriteString("prompt = 5, completion = 6")
		for _, k := range keys[2:] {
			if r.IntN(3) == 0 {
				price.WriteString(", " + k + " = " + string(rune('1'+r.IntN(9))))
			}
		}
		var overrides []string
		for range r.IntN(4) {
			o := []string{"min_prompt_tokens = 100", `utc_start = "05:00", utc_end = "17:00"`, `utc_days = ["thu"]`}[r.IntN(3)]
			for _, k := range keys {
				if r.IntN(3) == 0 {
					o += ", " + k + " = " + string(rune('1'+r.IntN(9)))
				}
			}
			overrides = append(overrides, "{ "+o+", prompt = 4 }")
			if strings.Count(o, "prompt = ") > 0 && strings.Contains(o, ", prompt") {
				overrides[len(overrides)-1] = "{ " + o + " }"
			}
		}
		src := priced(price.String() + ", overrides = [" + strings.Join(overrides, ", ") + "]")
		row := load(t, src).Rows[0]
		dearest := row.DearestPrices()
		for range 20 {
			c := catalog.Counts{Prompt: r.Int64N(200), Cached: r.Int64N(50), CacheWrite: r.Int64N(50), CacheWrite1h: r.Int64N(50), Audio: r.Int64N(50),
				Completion: r.Int64N(100), Reasoning: r.Int64N(50), Images: r.Int64N(3)}
			now := row.PricesAt(c.Prompt, time.Date(2026, 11, 23+r.IntN(7), r.IntN(24), 0, 0, 0, time.UTC))
			if now.Cost(c) > dearest.Cost(c) {
				t.Fatalf("%s: %+v costs %s, and at the dearest %s", src, c, now.Cost(c), dearest.Cost(c))
			}
		}
	}
}

func TestMistakesInOverrides(t *testing.T) {
	for override, want := range map[string]string{
		`{ prompt = 1 }`:                                        "has no condition; expected min_prompt_tokens, utc_start and utc_end, or utc_days",
		`{ min_prompt_tokens = 5 }`:                             "states no price",
		`{ min_prompt_tokens = -1, prompt = 1 }`:                "min_prompt_tokens",
		`{ utc_start = "1630", utc_end = "00:30", prompt = 1 }`: `expected a time of day in UTC, such as "16:30"`,
		`{ utc_start = "16:30", prompt = 1 }`:                   "has one of utc_start and utc_end; expected both",
		`{ utc_days = ["monday"], prompt = 1 }`:                 "utc_days",
		`{ min_prompt_tokens = 5, prompt = "dear" }`:            `found "dear"`,
		`{ min_prompt_tokens = 5, promt = 1 }`:                  "promt",
		`{ min_prompt_tokens = 5, prompt = 1, overrides = [{ utc_days = ["sun"], prompt = 1 }] }`: "stands in an override",
	} {
		doc, problems := config.Parse("catalog.toml", []byte(priced("prompt = 1, completion = 2, overrides = ["+override+"]")))
		if problems != nil {
			t.Fatal(problems)
		}
		if _, problems = catalog.Load([]*config.Document{doc}, environment); problems == nil || !strings.Contains(problems.Err().Error(), want) {
			t.Errorf("%s: %v, want %s", override, problems.Err(), want)
		}
	}
}
