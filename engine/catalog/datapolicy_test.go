package catalog_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

func TestClaimsLapseAfterTheirReview(t *testing.T) {
	good := catalog.DataPolicy{
		Training: "no", RetainsPrompts: "no", RetentionDays: 0, ZDR: "yes", ZDROption: "header", Publishes: "no",
		Evidence: "https://x", AsOf: date(2026, 1, 1), ReviewBy: date(2026, 12, 31),
	}
	if got := good.At(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)); got != good {
		t.Errorf("on its last day it is %+v", got)
	}
	lapsed := good
	lapsed.Training, lapsed.RetainsPrompts, lapsed.RetentionDays, lapsed.ZDR, lapsed.ZDROption, lapsed.Publishes = "unknown", "unknown", 36500, "unknown", "", "unknown"
	for _, now := range []time.Time{date(2027, 1, 1), time.Date(2027, 1, 1, 1, 0, 0, 0, time.FixedZone("", 3600)), date(2099, 1, 1)} {
		if got := good.At(now); got != lapsed {
			t.Errorf("at %v it is\n%+v, want\n%+v", now, got, lapsed)
		}
	}
	bad := good
	bad.Training, bad.RetainsPrompts, bad.RetentionDays, bad.ZDR, bad.Publishes = "yes", "yes", 30, "no", "yes"
	if got := bad.At(date(2027, 1, 1)); got.Training != "yes" || got.RetainsPrompts != "yes" || got.ZDR != "no" || got.Publishes != "yes" || got.RetentionDays != 36500 {
		t.Errorf("what was admitted does not lapse into unknown: %+v", got)
	}
	good.ReviewBy = time.Time{}
	if got := good.At(date(2099, 1, 1)); got != good {
		t.Errorf("without a review it is %+v", got)
	}
}

func policies(provider, group, endpoint string) string {
	table := func(name, claims string) string {
		if claims == "" {
			return ""
		}
		return name + " = { " + claims + " }\n"
	}
	return "[providers.p]\ndialect = 'openai'\nbase_url = 'https://x'\n" + table("data_policy", provider) +
		"credentials.g.key_env = 'K'\n" + table("credentials.g.data_policy", group) + model +
		"[[endpoints]]\nmodel = 'a/b'\nprovider = 'p'\nprice = { prompt = 1, completion = 1 }\n" + table("data_policy", endpoint)
}

func TestTermsUniteProviderGroupAndEndpoint(t *testing.T) {
	for _, c := range []struct {
		name, provider, group, endpoint string
		want                            string // training retains days zdr publishes option review
	}{
		{"nothing", "", "", "", "unknown unknown 36500 unknown unknown  -"},
		{"provider only", "training = 'no', retains_prompts = 'yes', retention_days = 30", "", "", "no yes 30 unknown unknown  -"},
		{"no retention is 0 days", "retains_prompts = 'no'", "", "", "unknown no 0 unknown unknown  -"},
		{"ZDR is no retention", "zdr = 'yes'", "", "", "unknown no 0 yes unknown  -"},
		{"the group overrides", "training = 'yes', retains_prompts = 'yes', retention_days = 30", "training = 'no', zdr = 'yes'", "", "no no 0 yes unknown  -"},
		{"a group that keeps prompts ends ZDR", "zdr = 'yes'", "retains_prompts = 'yes'", "", "unknown yes 36500 no unknown  -"},
		{"how long is not how", "retains_prompts = 'yes', retention_days = 30", "retains_prompts = 'yes'", "", "unknown yes 30 unknown unknown  -"},
		{"the endpoint overrides", "training = 'yes'", "", "training = 'no'", "no unknown 36500 unknown unknown  -"},
		{"the worse of group and endpoint", "", "training = 'no', publishes = 'yes', retention_days = 0", "training = 'yes', publishes = 'no', retention_days = 7", "yes unknown 7 unknown yes  -"},
		{"the other way round", "", "training = 'unknown', retention_days = 9, zdr = 'no'", "training = 'no', retention_days = 3, zdr = 'unknown'", "unknown unknown 9 no unknown  -"},
		{"an endpoint that keeps prompts ends the group's ZDR", "", "zdr = 'yes'", "retains_prompts = 'yes', retention_days = 5", "unknown yes 5 no unknown  -"},
		{"option", "zdr_option = 'a'", "zdr_option = 'b'", "", "unknown unknown 36500 unknown unknown b -"},
		{"option taken back", "zdr_option = 'a'", "", "zdr_option = ''", "unknown unknown 36500 unknown unknown  -"},
		{"options that differ", "", "zdr_option = 'b'", "zdr_option = 'c'", "unknown unknown 36500 unknown unknown  -"},
		{"the earlier review", "review_by = 2029-01-01", "review_by = 2027-01-01", "review_by = 2028-01-01", "unknown unknown 36500 unknown unknown  2027-01-01"},
		{"the endpoint's own review", "review_by = 2027-01-01", "", "review_by = 2028-01-01", "unknown unknown 36500 unknown unknown  2028-01-01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := load(t, policies(c.provider, c.group, c.endpoint)).Rows[0].DataPolicy
			review := "-"
			if !d.ReviewBy.IsZero() {
				review = d.ReviewBy.Format(time.DateOnly)
			}
			got := fmt.Sprint(d.Training, " ", d.RetainsPrompts, " ", d.RetentionDays, " ", d.ZDR, " ", d.Publishes, " ", d.ZDROption, " ", review)
			if got != c.want {
				t.Errorf("unites to %q, want %q", got, c.want)
			}
		})
	}
}

func TestDistillationIsWhatTheAuthorAndTheEndpointPermit(t *testing.T) {
	before, after := date(2026, 1, 1), date(2029, 1, 1)
	for _, c := range []struct {
		name, model, endpoint string
		before, after         catalog.Tri // the review of 2027
	}{
		{"nothing", "", "", "unknown", "unknown"},
		{"the model's", "permitted = 'yes'", "", "yes", "yes"},
		{"the endpoint's, where the model says nothing", "", "permitted = 'yes'", "yes", "yes"},
		{"the endpoint's, where the author's is unknown", "permitted = 'unknown'", "permitted = 'yes'", "yes", "yes"},
		{"an endpoint cannot lift the author's no", "permitted = 'no'", "permitted = 'yes'", "no", "no"},
		{"an endpoint may forbid", "permitted = 'yes'", "permitted = 'no'", "no", "no"},
		{"an endpoint may make it unknown", "permitted = 'yes'", "permitted = 'unknown'", "unknown", "unknown"},
		{"a yes lapses", "permitted = 'yes', review_by = 2027-01-01", "", "yes", "unknown"},
		{"a no does not", "permitted = 'no', review_by = 2027-01-01", "", "no", "no"},
		{"an endpoint's yes lasts no longer than the model's", "permitted = 'yes', review_by = 2027-01-01", "permitted = 'yes', review_by = 2030-01-01", "yes", "unknown"},
		{"nor than its own review", "permitted = 'yes'", "permitted = 'yes', review_by = 2027-01-01", "yes", "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := "[providers.p]\ndialect = 'openai'\nbase_url = 'https://x'\ncredentials.g.key_env = 'K'\n" + model + "distillation = { " + c.model + " }\n" +
				"[[endpoints]]\nmodel = 'a/b'\nprovider = 'p'\nprice = { prompt = 1, completion = 1 }\ndistillation = { " + c.endpoint + " }\n"
			d := load(t, src).Rows[0].Distillation
			if d.At(before) != c.before || d.At(after) != c.after {
				t.Errorf("permitted: %q, later %q; want %q, %q", d.At(before), d.At(after), c.before, c.after)
			}
		})
	}
}

// No row's claim is better than the worse of what its group and its endpoint say, and none better than unknown is made up.
func TestNoClaimIsBetterThanWhatWasSaid(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	values := []string{"", "yes", "no", "unknown"}
	badness := map[string]int{"no": 0, "unknown": 1, "yes": 2}
	for range 500 {
		var said [3]string
		var tables [3]string
		for i := range said {
			said[i] = values[random.IntN(len(values))]
			if said[i] != "" {
				tables[i] = "training = '" + said[i] + "'"
			}
		}
		got := string(load(t, policies(tables[0], tables[1], tables[2])).Rows[0].DataPolicy.Training)
		want := "unknown"
		switch provider, group, endpoint := said[0], said[1], said[2]; {
		case group != "" && endpoint != "":
			want = group
			if badness[endpoint] > badness[group] {
				want = endpoint
			}
		case endpoint != "":
			want = endpoint
		case group != "":
			want = group
		case provider != "":
			want = provider
		}
		if got != want {
			t.Fatalf("provider, group and endpoint say %q: the row has %q, want %q", strings.Join(said[:], ", "), got, want)
		}
	}
}

// tryPrices loads a catalog of one row and returns its prices, false where it is refused.
func tryPrices(t *testing.T, src []byte) (catalog.Prices, bool) {
	t.Helper()
	doc, problems := config.Parse("catalog.toml", src)
	if problems != nil {
		return catalog.Prices{}, false
	}
	c, problems := catalog.Load([]*config.Document{doc}, environment)
	if problems != nil {
		return catalog.Prices{}, false
	}
	return c.Rows[0].Prices, true
}
