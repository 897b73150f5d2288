package scorer_test

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// known is a batch whose first row has every value, and whose second has none that can be lacking.
func known() *scorer.Batch {
	full := &catalog.Row{
		Index: 0, ID: "acme/chat@deepinfra/fp8#paid", Model: &catalog.Model{ID: "acme/chat"}, Provider: &catalog.Provider{ID: "deepinfra"},
		Quantization: "fp8", ProcessingRegions: []string{"eu", "us"}, ContextLength: 128_000, MaxOutputTokens: 4096,
		DataPolicy: catalog.DataPolicy{RetentionDays: 30, ReviewBy: noon.AddDate(0, 1, 0)},
		Prices: catalog.Prices{Prompt: 150_000, Completion: 600_000, CacheRead: 75_000, CacheWrite: 187_500,
			Request: 1_000_000_000, Image: 2_000_000_000},
		Attributes: map[string]float64{"grid_gco2_kwh": 41.5}, Labels: map[string]string{"tier": "gold"},
	}
	bare := &catalog.Row{
		Index: 1, ID: "acme/chat@other#free", Model: full.Model, Provider: &catalog.Provider{ID: "other"}, Quantization: "unknown",
		DataPolicy: catalog.DataPolicy{RetentionDays: catalog.UnknownRetentionDays}, Free: true, Prices: full.Prices,
	}
	nan := math.NaN()
	none := telemetry.Percentiles{P50: nan, P75: nan, P90: nan, P99: nan}
	return &scorer.Batch{
		Rows: []*catalog.Row{full, bare},
		Stats: &telemetry.View{Rows: []telemetry.RowStats{
			{Samples: 12, TTFT: telemetry.Percentiles{P50: 1, P75: 2, P90: 3, P99: 4}, TPS: telemetry.Percentiles{P50: 5, P75: 6, P90: 7, P99: 8},
				Uptime: 0.9, RateLimited: 0.1, ExpectedTTFT: 321, ExpectedTPS: 77, Success: 0.95, LostMillis: 1500},
			{TTFT: none, TPS: none, Uptime: nan, RateLimited: nan, ExpectedTTFT: 400, ExpectedTPS: 50, Success: 0.98, LostMillis: 2000},
		}},
		Principal: &account.Principal{Organisation: &account.Organisation{ID: "acme"}, Team: &account.Team{ID: "fraud"}},
		Request: &wire.Request{Model: "gpt-4o", Models: []string{"acme/large"}, Stream: true, N: 2, MaxOutputTokens: 700, PromptTokens: 1000, ToolCount: 3,
			Claims: wire.Claims{Tags: []string{"code"}, Metadata: metadata}},
		Now:         time.Date(2026, 3, 1, 23, 30, 0, 0, time.FixedZone("", -3600)),
		ValueOfTime: 1.5, OutputTokens: 250,
	}
}

// metadata is numbers as callers may write them, and what only looks like one.
var metadata = map[string]string{
	"priority": "2.5", "point": ".5", "trailing": "5.", "plus": "+3", "minus": "-0004", "large": "1.7976931348623157E+308", "tiny": "1e-400",
	"word": "high", "much": "inf", "nan": "NaN", "more": "1e999", "most": strings.Repeat("9", 310),
	"hex": "0x10", "grouped": "1_000", "empty": "", "sign": "-", "dot": ".", "open": "1e", "signs": "1e+-5", "two": "1 2", "unit": "10ms",
}

var columnCases = []struct {
	name       string
	full, bare float64
}{
	{"price.prompt", 0.15, 0},
	{"price.completion", 0.6, 0},
	{"price.cache_read", 0.075, 0},
	{"price.cache_write", 0.1875, 0},
	{"price.request", 0.001, 0},
	{"price.image", 0.002, 0},
	{"price.expected", 0.00015 + 2*0.00015 + 0.001, 0}, // 1,000 prompt tokens, two answers of 250
	{"context_length", 128_000, nan},
	{"max_output_tokens", 4096, nan},
	{"stats.ttft_p50_ms", 1, nan},
	{"stats.ttft_p75_ms", 2, nan},
	{"stats.ttft_p90_ms", 3, nan},
	{"stats.ttft_p99_ms", 4, nan},
	{"stats.tps_p50", 5, nan},
	{"stats.tps_p75", 6, nan},
	{"stats.tps_p90", 7, nan},
	{"stats.tps_p99", 8, nan},
	{"stats.ttft_expected_ms", 321, 400},
	{"stats.tps_expected", 77, 50},
	{"stats.success", 0.95, 0.98},
	{"stats.lost_expected_ms", 1500, 2000},
	{"stats.uptime", 0.9, nan},
	{"stats.rate_limited", 0.1, nan},
	{"stats.samples", 12, 0},
	{"retention_days", 30, nan},
	{"attr.grid_gco2_kwh", 41.5, nan},
	{"attr.none", nan, nan},
	{"provider:deepinfra", 1, 0},
	{"provider:nobody", 0, 0},
	{"region:eu", 1, 0},
	{"quantization:fp8", 1, 0},
	{"quantization:unknown", 0, 1},
	{"label:tier=gold", 1, 0},
	{"label:tier=silver", 0, 0},
	{"label:tier", 1, 0},
	{"label:tier=", 0, 0},
}

var requestCases = []struct {
	name string
	want float64
}{
	{"prompt_tokens", 1000},
	{"max_tokens", 700},
	{"output_tokens", 250},
	{"stream", 1},
	{"n", 2},
	{"tools", 3},
	{"value_of_time", 1.5},
	{"hour", 0}, // half past midnight in UTC
	{"org:acme", 1},
	{"org:other", 0},
	{"team:fraud", 1},
	{"team:other", 0},
	{"tag:code", 1},
	{"tag:chat", 0},
	{"model:gpt-4o", 1},
	{"model:acme/large", 1},
	{"model:acme/chat", 1}, // a row's
	{"model:acme/small", 0},
	{"meta.priority", 2.5},
	{"meta.point", 0.5},
	{"meta.trailing", 5},
	{"meta.plus", 3},
	{"meta.minus", -4},
	{"meta.large", math.MaxFloat64},
	{"meta.tiny", 0},
	{"meta.word", nan},
	{"meta.much", nan},
	{"meta.nan", nan},
	{"meta.more", nan},
	{"meta.most", nan},
	{"meta.hex", nan},
	{"meta.grouped", nan},
	{"meta.empty", nan},
	{"meta.sign", nan},
	{"meta.dot", nan},
	{"meta.open", nan},
	{"meta.signs", nan},
	{"meta.two", nan},
	{"meta.unit", nan},
	{"meta.absent", nan},
}

func same(a, b float64) bool { return near(a, b) || math.IsNaN(a) && math.IsNaN(b) }

func TestColumns(t *testing.T) {
	b := known()
	for _, c := range columnCases {
		column, err := scorer.Resolve(c.name)
		if err != nil {
			t.Error(err)
			continue
		}
		for row, want := range []float64{c.full, c.bare} {
			if got := column(b, row); !same(got, want) {
				t.Errorf("%s of row %d is %v, want %v", c.name, row, got, want)
			}
		}
	}
}

func TestRequestFields(t *testing.T) {
	b := known()
	for _, c := range requestCases {
		field, err := scorer.ResolveRequest(c.name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := field(b); !same(got, c.want) {
			t.Errorf("%s is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestEndpointIsTheTopOfTheHashOfTheID(t *testing.T) {
	b := known()
	column, err := scorer.Resolve("endpoint")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(b.Rows[0].ID))
	top, err := strconv.ParseUint(hex.EncodeToString(sum[:7])[:14], 16, 64) // 56 bits
	if err != nil {
		t.Fatal(err)
	}
	if got, want := column(b, 0), float64(top>>3); got != want || got == column(b, 1) {
		t.Errorf("endpoint is %v, want %v, and another for the other row", got, want)
	}
}

func TestEvidencePastItsReviewIsNotKnown(t *testing.T) {
	b := known()
	b.Now = noon.AddDate(0, 2, 0)
	column, err := scorer.Resolve("retention_days")
	if err != nil {
		t.Fatal(err)
	}
	if got := column(b, 0); !math.IsNaN(got) {
		t.Errorf("retention is %v days, want NaN", got)
	}
}

// Whatever a batch lacks, values are NaN or what they are without it, and nothing panics.
func TestABatchMayLackAllButItsRows(t *testing.T) {
	b := &scorer.Batch{Rows: known().Rows}
	for _, c := range columnCases {
		column, err := scorer.Resolve(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := column(b, 0); (strings.HasPrefix(c.name, "stats.") || c.name == "price.expected") && !math.IsNaN(got) {
			t.Errorf("%s is %v, want NaN", c.name, got)
		}
	}
	for _, c := range requestCases {
		field, err := scorer.ResolveRequest(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := field(b); c.want == 1 && c.name != "model:acme/chat" && got == 1 {
			t.Errorf("%s is %v without a request", c.name, got)
		}
	}
}

func TestEveryEntryOfTheVocabularyIsDocumentedAndTested(t *testing.T) {
	tested := map[string][]string{"columns": {"endpoint"}}
	for _, c := range columnCases {
		tested["columns"] = append(tested["columns"], c.name)
	}
	for _, c := range requestCases {
		tested["request"] = append(tested["request"], c.name)
	}
	for _, e := range scorer.Vocabulary() {
		if e.Unit == "" || e.Meaning == "" {
			t.Errorf("%+v lacks something", e)
		}
		if !slices.ContainsFunc(tested[e.List], func(name string) bool {
			return name == e.Name || e.Prefix != "" && strings.HasPrefix(name, e.Prefix)
		}) {
			t.Errorf("%s has no test under %q", e.Name, e.List)
		}
	}
}

func TestUnknownNamesAreToldWhatIsNear(t *testing.T) {
	column := func(name string) error { _, err := scorer.Resolve(name); return err }
	request := func(name string) error { _, err := scorer.ResolveRequest(name); return err }
	for _, c := range []struct {
		err  error
		want string
	}{
		{column("price.promt"), `"price.promt" is not known under columns; near it are price.prompt`},
		{column("stats.ttft_p95_ms"), `"stats.ttft_p95_ms" is not known under columns; near it are stats.ttft_p75_ms, stats.ttft_p90_ms, stats.ttft_p99_ms`},
		{column("provder:deepinfra"), `"provder:deepinfra" is not known under columns; near it are provider:deepinfra`},
		{column("attr:grid"), `"attr:grid" is not known under columns; near it are attr.grid`},
		{column("prompt_tokens"), `"prompt_tokens" cannot stand under columns; it belongs under request`},
		{column("org:acme"), `"org:acme" cannot stand under columns; it belongs under request`},
		{request("price.prompt"), `"price.prompt" cannot stand under request; it belongs under columns`},
		{request("metadata.priority"), `"metadata.priority" is not known under request; near it are meta.priority`},
		{request("max_token"), `"max_token" is not known under request; near it are max_tokens`},
		{column("provider:"), `"provider:" names nothing; it should be like provider:ID`},
		{column("label:=gold"), `"label:=gold" names nothing; it should be like label:KEY=VALUE`},
		{column("attr."), `"attr." names nothing; it should be like attr.NAME`},
		{column("attr.a b"), `"attr.a b" has ' ' in it; a name has neither spaces nor control characters`},
		{column("region:EU"), `"region:EU" would never hold, since such identifiers are in lower case; it should be "region:eu"`},
		{request("zzzzzzzzzzzz"), `"zzzzzzzzzzzz" is not known under request, where there can be prompt_tokens, max_tokens, output_tokens, ` +
			`stream, n, tools, value_of_time, hour, org:ID, team:ID, tag:TAG, model:ID, meta.NAME`},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", c.err, c.want)
		}
	}
	if err := column(""); err == nil || !strings.HasPrefix(err.Error(), `"" is not known under columns, where there can be price.prompt, `) {
		t.Errorf("the empty name: %v", err)
	}
}

func TestAbsentNamesWhatNoRowHas(t *testing.T) {
	cat := &catalog.Catalog{Rows: known().Rows}
	for name, want := range map[string]bool{
		"attr.grid_gco2_kwh": false, "attr.grid": true, "provider:other": false, "provider:openai": true, "region:us": false,
		"region:jp": true, "quantization:fp8": false, "quantization:int4": true, "label:tier": false, "label:tier=silver": true,
		"price.prompt": false, "stats.ttft_p50_ms": false,
	} {
		if got := scorer.Absent(name, cat); got != want {
			t.Errorf("%s absent: %v, want %v", name, got, want)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, c := range columnCases {
		f.Add(c.name)
	}
	for _, c := range requestCases {
		f.Add(c.name)
	}
	f.Add("label:=x")
	f.Add("attr.\x00")
	b := known()
	f.Fuzz(func(t *testing.T, name string) {
		column, err := scorer.Resolve(name)
		if (column == nil) == (err == nil) {
			t.Fatalf("Resolve(%q) gave a column: %v, error: %v", name, column != nil, err)
		}
		field, rerr := scorer.ResolveRequest(name)
		if (field == nil) == (rerr == nil) {
			t.Fatalf("ResolveRequest(%q) gave a field: %v, error: %v", name, field != nil, rerr)
		}
		if err == nil && rerr == nil {
			t.Fatalf("%q stands in both lists", name)
		}
		if column != nil {
			for row := range b.Rows {
				if v := column(b, row); math.IsInf(v, 0) {
					t.Fatalf("%q is %v", name, v)
				}
			}
		}
		if field != nil && math.IsInf(field(b), 0) {
			t.Fatalf("%q is %v", name, field(b))
		}
	})
}

func TestGatheringColumnsAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	b := known()
	for _, c := range columnCases {
		column, err := scorer.Resolve(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { column(b, 0) }); n != 0 {
			t.Errorf("%s allocates %v times", c.name, n)
		}
	}
	for _, c := range requestCases {
		field, err := scorer.ResolveRequest(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { field(b) }); n != 0 {
			t.Errorf("%s allocates %v times", c.name, n)
		}
	}
}

func BenchmarkColumn(b *testing.B) {
	batch := known()
	for _, name := range []string{"price.prompt", "stats.ttft_p50_ms", "attr.grid_gco2_kwh", "provider:deepinfra", "endpoint"} {
		column, err := scorer.Resolve(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				column(batch, 0)
			}
		})
	}
}
