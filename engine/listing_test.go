package engine_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
)

// openShipped opens a router over the catalog that ships, with a key for every provider. Its organisation may use everything
// but DeepSeek's own service.
func openShipped(t *testing.T) *engine.Engine {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"chaperone.toml": fmt.Sprintf(`shipped_catalog = true
[organisations.acme]
[organisations.acme.aliases]
"house-model" = "openai/gpt-4o-mini"
[[keys]]
organisation = "acme"
sha256 = "%x"
[[policy.sources]]
name = "own"
path = "rego"
[[policy.bindings]]
package = "own"
for = "everyone"
[providers.house]
name = "House"
dialect = "openai"
base_url = "http://127.0.0.1:1/v1"
[providers.house.credentials.own]
auth = "none"
[models."house/open"]
name = "Open"
context_length = 8000
distillation = { permitted = "yes", evidence = "https://example.com", as_of = 2026-01-01 }
[[endpoints]]
model = "house/open"
provider = "house"
upstream_model = "open"
processing_regions = ["is"]
price = { prompt = 0, completion = 0 }
`, sha256.Sum256([]byte("sk-acme"))),
		"rego/own.rego": "package own\n\ndeny contains \"not this one\" if input.endpoint.provider == \"deepseek\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(dir, "chaperone.toml"), Log: slog.New(slog.DiscardHandler),
		Env: func(name string) (string, bool) {
			return map[bool]string{true: "http://127.0.0.1:1/v1", false: "sk-of-" + name}[strings.HasSuffix(name, "_URL") || strings.HasSuffix(name, "_HOST")], true
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	return e
}

// shown is a model as the listing tells of it.
type shown struct {
	ID            string
	Name          string
	Created       int64
	ContextLength int64 `json:"context_length"`
	Architecture  struct {
		Input  []string `json:"input_modalities"`
		Output []string `json:"output_modalities"`
	}
	Pricing struct{ Prompt, Completion string }

	Parameters []string `json:"supported_parameters"`
	Providers  []string
	Regions    []string `json:"processing_regions"`
	ZDR        bool

	Distillable bool

	onlyIS bool // an endpoint processes in Iceland alone
}

func (m *shown) prompt() float64 {
	f, _ := strconv.ParseFloat(m.Pricing.Prompt, 64)
	return f * 1e6
}

func (m *shown) completion() float64 {
	f, _ := strconv.ParseFloat(m.Pricing.Completion, 64)
	return f * 1e6
}

type listed struct {
	Object     string
	Data       []shown
	TotalCount int `json:"total_count"`
	Links      struct{ Next *string }
}

func list(t *testing.T, e *engine.Engine, query string) listed {
	t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	text, err := e.Models(t.Context(), engine.Listing{Key: "sk-acme", Query: q})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var out listed
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryFilterOfModelsKeepsExactlyThoseItNames(t *testing.T) {
	e := openShipped(t)
	all := list(t, e, "output_modalities=all").Data
	if len(all) < 20 {
		t.Fatalf("the catalog that ships has %d models", len(all))
	}
	for i := range all {
		text, err := e.Endpoints(t.Context(), "sk-acme", all[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		all[i].onlyIS = strings.Contains(string(text), `"processing_regions":["is"]`)
	}
	for query, keep := range map[string]func(m *shown) bool{
		"":                                   func(m *shown) bool { return slices.Contains(m.Architecture.Output, "text") },
		"output_modalities=embeddings,image": func(m *shown) bool { return slices.Contains(m.Architecture.Output, "embeddings") },
		"q=GPT":                              func(m *shown) bool { return strings.Contains(strings.ToLower(m.ID+m.Name), "gpt") },
		"input_modalities=image":             func(m *shown) bool { return slices.Contains(m.Architecture.Input, "image") },
		"model_authors=openai,qwen": func(m *shown) bool {
			return strings.HasPrefix(m.ID, "openai/") || strings.HasPrefix(m.ID, "qwen/")
		},
		"providers=groq,DeepInfra": func(m *shown) bool {
			return slices.Contains(m.Providers, "groq") || slices.Contains(m.Providers, "deepinfra")
		},
		"supported_parameters=tools,structured_outputs": func(m *shown) bool {
			return slices.Contains(m.Parameters, "tools") && slices.Contains(m.Parameters, "structured_outputs")
		},
		"context=200000":                        func(m *shown) bool { return m.ContextLength >= 200000 },
		"max_price=0.5":                         func(m *shown) bool { return m.prompt() <= 0.5000001 },
		"min_price=0.5":                         func(m *shown) bool { return m.prompt() >= 0.4999999 },
		"max_output_price=2&min_output_price=1": func(m *shown) bool { return m.completion() <= 2.0000001 && m.completion() >= 0.9999999 },
		"zdr=true":                              func(m *shown) bool { return m.ZDR },
		"distillable=true":                      func(m *shown) bool { return m.Distillable },
		"distillable=false":                     func(m *shown) bool { return !m.Distillable },
		"region=is":                             func(m *shown) bool { return m.onlyIS },
		"max_age_days=500":                      func(m *shown) bool { return m.Created > 0 && time.Since(time.Unix(m.Created, 0)).Hours() <= 500*24 },
		"zdr=false":                             func(*shown) bool { return true },
	} {
		t.Run(query, func(t *testing.T) {
			var want []string
			for i := range all {
				if keep(&all[i]) {
					want = append(want, all[i].ID)
				}
			}
			if len(want) == 0 || query != "" && query != "zdr=false" && len(want) == len(all) {
				t.Fatalf("keeps %d of %d: a filter that does nothing would pass", len(want), len(all))
			}
			if query != "" && !strings.Contains(query, "output_modalities") {
				query += "&output_modalities=all"
			}
			got := list(t, e, query)
			var ids []string
			for _, m := range got.Data {
				ids = append(ids, m.ID)
			}
			if !slices.Equal(ids, want) || got.TotalCount != len(want) {
				t.Errorf("got  %v\nwant %v", ids, want)
			}
		})
	}
	for _, m := range all {
		if slices.Contains(m.Providers, "deepseek") {
			t.Errorf("%s is listed at a provider that policy denies", m.ID)
		}
	}
}

func TestModelsAreListedInTheOrderAskedFor(t *testing.T) {
	e := openShipped(t)
	for sort, inOrder := range map[string]func(a, b *shown) bool{
		"newest":              func(a, b *shown) bool { return a.Created >= b.Created },
		"pricing-low-to-high": func(a, b *shown) bool { return a.prompt()+a.completion() <= b.prompt()+b.completion()+1e-9 },
		"pricing-high-to-low": func(a, b *shown) bool { return a.prompt()+a.completion() >= b.prompt()+b.completion()-1e-9 },
		"context-high-to-low": func(a, b *shown) bool { return a.ContextLength >= b.ContextLength },
	} {
		data := list(t, e, "sort="+sort).Data
		for i := 1; i < len(data); i++ {
			if !inOrder(&data[i-1], &data[i]) {
				t.Errorf("%s: %s stands before %s", sort, data[i-1].ID, data[i].ID)
			}
		}
	}
}

func TestPagesOfModelsMakeUpTheWhole(t *testing.T) {
	e := openShipped(t)
	whole := list(t, e, "sort=newest")
	var paged []string
	for query := "sort=newest&limit=7"; ; {
		page := list(t, e, query)
		if page.TotalCount != whole.TotalCount {
			t.Fatalf("a page says %d of %d models", page.TotalCount, whole.TotalCount)
		}
		for _, m := range page.Data {
			paged = append(paged, m.ID)
		}
		if page.Links.Next == nil {
			break
		}
		_, query, _ = strings.Cut(*page.Links.Next, "?")
	}
	var want []string
	for _, m := range whole.Data {
		want = append(want, m.ID)
	}
	if !slices.Equal(paged, want) {
		t.Errorf("got  %v\nwant %v", paged, want)
	}
	text, err := e.CountModels(t.Context(), engine.Listing{Key: "sk-acme", Query: url.Values{}})
	if want := fmt.Sprintf(`{"data":{"count":%d}}`, len(want)); err != nil || string(text) != want {
		t.Errorf("%s %v, want %s", text, err, want)
	}
}

func TestPagesForAnthropicGoBothWays(t *testing.T) {
	e := openShipped(t)
	type page struct {
		Data []struct{ ID, Type string }

		HasMore bool    `json:"has_more"`
		FirstID *string `json:"first_id"`
		LastID  *string `json:"last_id"`
	}
	ask := func(query string) (p page) {
		t.Helper()
		q, _ := url.ParseQuery(query)
		text, err := e.Models(t.Context(), engine.Listing{Key: "sk-acme", Query: q, Anthropic: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	all := ask("limit=1000")
	if all.HasMore || len(all.Data) < 21 || *all.FirstID != all.Data[0].ID || all.Data[0].Type != "model" {
		t.Fatalf("%+v", all)
	}
	if first := ask(""); len(first.Data) != 20 || !first.HasMore {
		t.Errorf("without a limit: %d models, more %v", len(first.Data), first.HasMore)
	}
	var forward []string
	for p := ask("limit=6"); ; p = ask("limit=6&after_id=" + url.QueryEscape(*p.LastID)) {
		for _, m := range p.Data {
			forward = append(forward, m.ID)
		}
		if !p.HasMore {
			break
		}
	}
	var backward []string
	for p := ask("limit=6&before_id=" + url.QueryEscape(*all.LastID)); ; p = ask("limit=6&before_id=" + url.QueryEscape(*p.FirstID)) {
		for _, m := range slices.Backward(p.Data) {
			backward = append(backward, m.ID)
		}
		if !p.HasMore {
			break
		}
	}
	slices.Reverse(backward)
	var want []string
	for _, m := range all.Data {
		want = append(want, m.ID)
	}
	if !slices.Equal(forward, want) || !slices.Equal(backward, want[:len(want)-1]) {
		t.Errorf("forward  %v\nbackward %v\nwant     %v", forward, backward, want)
	}
}

func TestAListingRefusesWhatItCannotAnswer(t *testing.T) {
	e := openShipped(t)
	for query, c := range map[string]struct {
		anthropic bool
		want      string
	}{
		"sort=top-weekly":         {false, `sort: found "top-weekly"`},
		"limit=0":                 {false, `limit: found "0"; it should be a whole number from 1 to 1000`},
		"offset=-1":               {false, `offset: found "-1"; it should be a whole number from 0`},
		"max_price=cheap":         {false, `max_price: found "cheap"; it should be a number of at least 0`},
		"zdr=maybe":               {false, `zdr: found "maybe"; it should be true or false`},
		"category=programming":    {false, `category: the catalog of this router has no such figures`},
		"limit=1001":              {true, `limit: found "1001"`},
		"after_id=nobody/nothing": {true, `after_id: found "nobody/nothing", which is not a model that this key may use`},
		"after_id=openai/gpt-4o&before_id=openai/gpt-4o-mini": {true, `before_id: found beside after_id`},
	} {
		q, _ := url.ParseQuery(query)
		_, err := e.Models(t.Context(), engine.Listing{Key: "sk-acme", Query: q, Anthropic: c.anthropic})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", query, err, c.want)
		}
	}
}

func TestAModelIsFoundByAnyOfItsNames(t *testing.T) {
	e := openShipped(t)
	for name, id := range map[string]string{
		"openai/gpt-4o-mini": "openai/gpt-4o-mini", "gpt-4o-mini": "openai/gpt-4o-mini", "house-model": "openai/gpt-4o-mini",
		"claude-sonnet-4-5-20250929": "anthropic/claude-sonnet-4.5", "openai/gpt-4o:nitro": "openai/gpt-4o",
	} {
		var bare, within, anthropic struct {
			ID   string
			Type string
			Data struct{ ID string }
		}
		for _, c := range []struct {
			anthropic, within bool
			into              any
		}{{false, false, &bare}, {false, true, &within}, {true, false, &anthropic}} {
			text, err := e.Model(t.Context(), engine.Listing{Key: "sk-acme", Anthropic: c.anthropic}, name, c.within)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := json.Unmarshal(text, c.into); err != nil {
				t.Fatal(err)
			}
		}
		if bare.ID != id || within.Data.ID != id || anthropic.ID != id || anthropic.Type != "model" {
			t.Errorf("%s is %q, %q, %q; want %q", name, bare.ID, within.Data.ID, anthropic.ID, id)
		}
	}
	if _, err := e.Model(t.Context(), engine.Listing{Key: "sk-acme"}, "openai/gpt-9", false); err == nil || !strings.Contains(err.Error(), `"openai/gpt-9" is not a model that this key may use`) {
		t.Error(err)
	}
}

func TestEndpointsAndProvidersTellTerms(t *testing.T) {
	e := openShipped(t)
	text, err := e.ZDREndpoints(t.Context(), "sk-acme")
	if err != nil {
		t.Fatal(err)
	}
	var zdr struct {
		Data []struct {
			ID         string
			Permitted  bool
			DataPolicy struct{ ZDR string } `json:"data_policy"`
		}
	}
	if err := json.Unmarshal(text, &zdr); err != nil || len(zdr.Data) == 0 {
		t.Fatalf("%v %s", err, text)
	}
	for _, ep := range zdr.Data {
		if ep.DataPolicy.ZDR != "yes" || !ep.Permitted {
			t.Errorf("%+v", ep)
		}
	}
	if text, err = e.Providers(t.Context(), "sk-acme"); err != nil {
		t.Fatal(err)
	}
	var providers struct {
		Data []struct {
			Slug         string
			Headquarters *string
			TermsURL     *string                   `json:"terms_of_service_url"`
			Policies     map[string]map[string]any `json:"data_policies"`
		}
	}
	if err := json.Unmarshal(text, &providers); err != nil || len(providers.Data) < 15 {
		t.Fatalf("%v %s", err, text)
	}
	for _, p := range providers.Data {
		if p.Slug == "openai" && (p.Headquarters == nil || *p.Headquarters != "US" || p.TermsURL == nil || p.Policies["paid"]["training"] == nil) {
			t.Errorf("%+v", p)
		}
	}
	for model, want := range map[string]string{"openai/gpt-4o:free": `"endpoints":[]`, "nobody/nothing:free": ""} {
		text, err := e.Endpoints(t.Context(), "sk-acme", model)
		if want == "" && err == nil || want != "" && !strings.Contains(string(text), want) {
			t.Errorf("%s: %s %v", model, text, err)
		}
	}
}
