package catalog_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

func parse(t testing.TB, sources ...string) []*config.Document {
	t.Helper()
	var docs []*config.Document
	for i, src := range sources {
		doc, problems := config.Parse(fmt.Sprintf("catalog%d.toml", i), []byte(src))
		if problems != nil {
			t.Fatal(problems)
		}
		docs = append(docs, doc)
	}
	return docs
}

// environment has a key for every variable whose name does not begin with NO.
func environment(name string) (string, bool) {
	if strings.HasPrefix(name, "NO") {
		return "", false
	}
	return "sk-value-of-" + name, true
}

func load(t testing.TB, sources ...string) *catalog.Catalog {
	t.Helper()
	c, problems := catalog.Load(parse(t, sources...), environment)
	if problems != nil {
		t.Fatal(problems.Err())
	}
	return c
}

func loadFile(t testing.TB, path string) (*catalog.Catalog, error) {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	doc, problems := config.Parse(path, src)
	if problems != nil {
		t.Fatal(problems)
	}
	c, problems := catalog.Load([]*config.Document{doc}, environment)
	return c, problems.Err()
}

func date(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

func TestAFileWithEveryKey(t *testing.T) {
	c, err := loadFile(t, "../../testdata/config/catalog.toml")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i, row := range c.Rows {
		ids = append(ids, row.ID)
		if row.Index != i || c.Row(row.ID) != row || !slices.Contains(row.Model.Rows, row) {
			t.Errorf("row %s is not found at its place", row.ID)
		}
	}
	if want := []string{"demo/see@rack#local", "meta/llama-3.3-70b@deepinfra/fp8#paid", "meta/llama-3.3-70b@deepinfra/fp8#free", "meta/llama-3.3-70b@rack/flex#local"}; !slices.Equal(ids, want) {
		t.Fatalf("rows %v, want %v", ids, want)
	}
	if c.Row("demo/see@rack#paid") != nil {
		t.Error("found a row that does not exist")
	}
	if want := []string{"demo/see", "meta/llama-3.3-70b"}; !slices.Equal(c.ModelIDs(), want) {
		t.Errorf("models %v", c.ModelIDs())
	}
	m, ok := c.Model("llama")
	if !ok || m != c.Models["meta/llama-3.3-70b"] {
		t.Errorf("the alias leads to %v", m)
	}
	if _, ok := c.Model("lama"); ok {
		t.Error("found a model that does not exist")
	}
	for name, want := range map[string]*catalog.Model{"llama": m, "llama-3.3-70b": m, "meta-llama/Llama-3.3-70B-Instruct-Turbo": m, "see": c.Models["demo/see"], "lama": nil} {
		if got := c.Named(name); got != want {
			t.Errorf("%s names %v", name, got)
		}
	}
	if m.Name != "Llama 3.3 70B" || m.Description != "A model with open weights" || !m.Created.Equal(date(2024, 12, 6)) || m.ContextLength != 131072 || m.MaxOutputTokens != 16384 {
		t.Errorf("model %+v", m)
	}

	p := c.Providers["deepinfra"]
	if p.Name != "DeepInfra" || p.BaseURL != "https://api.deepinfra.com/v1/openai" || p.TermsURL == "" || p.PrivacyURL == "" || p.StatusURL == "" || !p.Unprobed || c.Providers["rack"].Unprobed ||
		len(p.Groups) != 2 || p.Groups[0].Name != "free" || p.Groups[1].Provider != p {
		t.Errorf("provider %+v", p)
	}
	paid := p.Groups[1]
	if len(paid.Credentials) != 1 || paid.Credentials[0].Name != "DEEPINFRA_A" || paid.Credentials[0].Weight != 2 ||
		paid.Credentials[0].Secret.Reveal() != "sk-value-of-DEEPINFRA_A" || !slices.Equal(paid.Missing, []string{"deepinfra.key"}) || !paid.Usable() {
		t.Errorf("group %+v", paid)
	}
	stated := catalog.DataPolicy{
		Training: "no", RetainsPrompts: "no", RetentionDays: 0, ZDR: "unknown", ZDROption: "x-zdr", Publishes: "no",
		Evidence: "https://deepinfra.com/docs/data", AsOf: date(2026, 5, 1), ReviewBy: date(2027, 5, 1),
	}
	if paid.DataPolicy != stated {
		t.Errorf("data policy %+v, want %+v", paid.DataPolicy, stated)
	}

	got := *c.Rows[1]
	got.Model, got.Provider, got.Group = nil, nil, nil
	stated.Publishes = "unknown" // the endpoint says so
	want := catalog.Row{
		Index: 1, ID: "meta/llama-3.3-70b@deepinfra/fp8#paid", Tag: "deepinfra/fp8", UpstreamModel: "meta-llama/Llama-3.3-70B-Instruct-Turbo",
		BaseURL: p.BaseURL, Dialect: "openai", Quantization: "fp8", ProcessingRegions: []string{"eu", "us"}, Jurisdiction: "US", Headquarters: "US",
		DataPolicy: stated, Distillation: catalog.Distillation{Permitted: "yes", Evidence: "https://deepinfra.com/terms", AsOf: date(2026, 5, 1), ReviewBy: date(2026, 12, 6)},
		Certifications: []string{"soc2"}, ContextLength: 65536, MaxOutputTokens: 8192,
		InputModalities: []string{"text"}, OutputModalities: []string{"text"},
		Parameters: map[string]bool{"max_tokens": true, "temperature": true, "tools": true, "tool_choice": true},
		Prices: catalog.Prices{
			Prompt: 130_000, Completion: 400_000, CacheRead: 50_000, CacheWrite: 200_000, CacheWrite1h: 200_000, Reasoning: 400_000, Request: 1_000_000_000, Image: 1, Audio: 900_000,
		},
		Sources: map[string]catalog.Source{
			"headquarters": {Evidence: "https://deepinfra.com/about", AsOf: date(2026, 5, 1)},
			"price":        {Evidence: "https://deepinfra.com/meta-llama", AsOf: date(2026, 6, 1)},
		},
		Attributes: map[string]float64{"quality": 71.5}, Labels: map[string]string{"contract": "2026-17", "tier": "a"},
		Expected: catalog.Expected{TTFTMillis: 350, TPS: 45.5}, CacheTTL: 5 * time.Minute, InFlight: 40, Only: []string{"deepinfra"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("row\n%+v\nwant\n%+v", got, want)
	}

	if d := m.Distillation; d.Permitted != "yes" || d.Evidence != "https://www.llama.com/llama3_3/license/" || !d.AsOf.Equal(date(2024, 12, 6)) || !d.ReviewBy.Equal(date(2026, 12, 6)) {
		t.Errorf("distillation %+v", d)
	}

	free := c.Rows[2]
	if !free.Free || free.Prices != (catalog.Prices{}) || free.DataPolicy.Training != "yes" || free.DataPolicy.RetainsPrompts != "yes" || free.DataPolicy.RetentionDays != 30 {
		t.Errorf("the free group's row is %+v", free)
	}
	if free.DataPolicy.ZDR != "unknown" || free.DataPolicy.Evidence != stated.Evidence {
		t.Errorf("what the free group does not say is not its provider's: %+v", free.DataPolicy)
	}
	local := c.Rows[3]
	if !local.Disabled || local.ServiceTier != "flex" || local.BaseURL != "http://10.0.0.8:8000/v1" || local.Jurisdiction != "DE" || !local.Group.NoAuth || !local.Group.Usable() ||
		local.DataPolicy.RetentionDays != 0 || local.DataPolicy.RetainsPrompts != "no" || !slices.Equal(local.ProcessingRegions, []string{"eu"}) {
		t.Errorf("the local row is %+v", local)
	}
	see := c.Rows[0]
	if see.UpstreamModel != "demo/see" || !slices.Equal(see.ProcessingRegions, catalog.Regions) || !slices.Equal(see.InputModalities, []string{"text"}) ||
		!slices.Equal(see.Model.InputModalities, []string{"image", "text"}) || see.ContextLength != 32768 || see.MaxOutputTokens != 0 {
		t.Errorf("the global row is %+v", see)
	}
}

const (
	provider = `
[providers.p]
dialect = "openai"
base_url = "https://p.example/v1"
credentials.paid.key_env = "P"
`
	model = `
[models."a/b"]
context_length = 1000
`
	endpoint = `
[[endpoints]]
model = "a/b"
provider = "p"
price = { prompt = 1, completion = 2 }
`
)

func TestWhatIsNotKnownHasTheWorstValue(t *testing.T) {
	c := load(t, provider+model+endpoint)
	row := c.Rows[0]
	if row.DataPolicy != catalog.UnknownDataPolicy() || row.DataPolicy != (catalog.DataPolicy{
		Training: "unknown", RetainsPrompts: "unknown", RetentionDays: 36500, ZDR: "unknown", Publishes: "unknown"}) {
		t.Errorf("data policy %+v", row.DataPolicy)
	}
	if row.Headquarters != "unknown" || row.Jurisdiction != "unknown" || row.Quantization != "unknown" || !slices.Equal(row.ProcessingRegions, catalog.Regions) {
		t.Errorf("places %+v", row)
	}
	if row.Certifications == nil || row.Labels == nil || row.Attributes == nil || len(row.Certifications)+len(row.Labels)+len(row.Attributes) != 0 {
		t.Errorf("empty and not absent: %+v", row)
	}
	if got := slices.Sorted(maps.Keys(row.Parameters)); !slices.Equal(got, catalog.DefaultParameters) {
		t.Errorf("parameters %v, want %v", got, catalog.DefaultParameters)
	}
	if row.Prices != (catalog.Prices{Prompt: 1e6, Completion: 2e6, CacheRead: 1e6, CacheWrite: 1e6, CacheWrite1h: 1e6, Reasoning: 2e6, Audio: 1e6}) {
		t.Errorf("prices %+v: without a cache price the prompt's holds", row.Prices)
	}
}

// Every mistake that a catalog can hold, with the whole of what is said about it.
func TestEachMistakeHasItsOwnMessage(t *testing.T) {
	const key = "does not stand in a TOML file; name the environment variable (key_env) or the file (key_file) that holds it"
	for _, c := range []struct{ name, src, want string }{
		// Providers; what is added to provider begins in line 6.
		{"provider's id", "[providers.DeepInfra]\ndialect = 'openai'\nbase_url = 'https://x'\ncredentials.a.auth = 'none'",
			`:1: providers.DeepInfra: found "DeepInfra"; a provider's id is of lower-case letters, digits, ".", "_" and "-"`},
		{"no dialect", "[providers.p]\nbase_url = 'https://x'\ncredentials.a.auth = 'none'",
			`:1: providers.p.dialect: missing; expected a string`},
		{"unknown dialect", "[providers.p]\ndialect = 'opnai'\nbase_url = 'https://x'\ncredentials.a.auth = 'none'",
			`:2: providers.p.dialect: unknown dialect "opnai"; did you mean "openai"?`},
		{"no base_url", "[providers.p]\ndialect = 'openai'\ncredentials.a.auth = 'none'",
			`:1: providers.p.base_url: missing; expected a string`},
		{"no credentials", "[providers.p]\ndialect = 'openai'\nbase_url = 'https://x'",
			`:1: providers.p.credentials: missing; expected [providers.p.credentials.paid] with key_env, key_file or keys, or with auth = "none" for a server that needs none`},
		{"relative URL", "[providers.p]\ndialect = 'openai'\nbase_url = 'api.example.com/v1'\ncredentials.a.auth = 'none'",
			`:3: providers.p.base_url: found "api.example.com/v1"; expected an absolute URL such as https://api.example.com/v1`},
		{"URL with a password", "[providers.p]\ndialect = 'openai'\nbase_url = 'https://u:verysecret@x/v1'\ncredentials.a.auth = 'none'",
			`:3: providers.p.base_url: found a URL with a user name; credentials go into key_env or key_file`},
		{"URL with a query", "[providers.p]\ndialect = 'openai'\nbase_url = 'https://x/v1?key=verysecret'\ncredentials.a.auth = 'none'",
			`:3: providers.p.base_url: found a URL with a query or fragment; expected one that a path can be appended to`},
		{"no URL", "[providers.p]\ndialect = 'openai'\nbase_url = 'https://[x'\ncredentials.a.auth = 'none'",
			`:3: providers.p.base_url: found what is no URL; expected one such as https://api.example.com/v1`},
		{"status page", provider + "status_url = 'ftp://x'",
			`:6: providers.p.status_url: found "ftp://x"; expected an absolute URL such as https://api.example.com/v1`},
		{"UK", provider + "headquarters = 'UK'", `:6: providers.p.headquarters: found "UK"; did you mean "GB"?`},
		{"lower case", provider + "headquarters = 'us'", `:6: providers.p.headquarters: found "us"; did you mean "US"?`},
		{"the EU has no headquarters", provider + "headquarters = 'EU'",
			`:6: providers.p.headquarters: found "EU"; expected a country as ISO 3166-1 alpha-2 has it ("US") or "unknown"`},
		{"jurisdiction", provider + "jurisdiction = 'Europe'",
			`:6: providers.p.jurisdiction: found "Europe"; expected a country as ISO 3166-1 alpha-2 has it ("US"), EU or "unknown"`},
		{"jurisdiction in lower case", provider + "jurisdiction = 'eu'", `:6: providers.p.jurisdiction: found "eu"; did you mean "EU"?`},
		{"unknown in upper case", provider + "jurisdiction = 'Unknown'", `:6: providers.p.jurisdiction: found "Unknown"; did you mean "unknown"?`},
		{"misspelt key", provider + "juristiction = 'EU'", `:6: providers.p.juristiction: unknown key "juristiction"; did you mean "jurisdiction"?`},
		// Data policies
		{"a claim that is a boolean", provider + "data_policy.training = false", `:6: providers.p.data_policy.training: found boolean false; expected a string`},
		{"a claim that is none", provider + "data_policy.training = 'never'", `:6: providers.p.data_policy.training: found "never"; expected yes, no or unknown`},
		{"misspelt claim", provider + "data_policy.trainning = 'no'", `:6: providers.p.data_policy.trainning: unknown key "trainning"; did you mean "training"?`},
		{"retention", provider + "data_policy.retention_days = -1", `:6: providers.p.data_policy.retention_days: found -1; expected at least 0`},
		{"retention without retaining", provider + "data_policy = { retains_prompts = 'no', retention_days = 30 }",
			`:6: providers.p.data_policy.retention_days: found 30 beside retains_prompts = "no"; expected 0, or "yes" there`},
		{"retention in spite of ZDR", provider + "data_policy = { zdr = 'yes', retention_days = 30 }",
			`:6: providers.p.data_policy.retention_days: found 30 beside zdr = "yes"; zero data retention means 0`},
		{"retaining in spite of ZDR", provider + "data_policy = { zdr = 'yes', retains_prompts = 'yes' }",
			`:6: providers.p.data_policy.zdr: found "yes" beside retains_prompts = "yes"; where prompts are kept, zero data retention does not hold`},
		{"a review in the past", provider + "data_policy = { as_of = 2026-05-01, review_by = 2026-04-01 }",
			`:6: providers.p.data_policy.review_by: found 2026-04-01, before as_of = 2026-05-01; expected a later date`},
		// Credentials
		{"a key in the file", provider + "credentials.paid.key = 'sk-verysecret'", `:6: providers.p.credentials.paid.key: a provider's key ` + key},
		{"a key for the provider", provider + "api_key = 'sk-verysecret'", `:6: providers.p.api_key: a provider's key ` + key},
		{"a key among keys", provider + "credentials.more.keys = [{ token = 'sk-verysecret', key_env = 'A' }]", `:6: providers.p.credentials.more.keys[0].token: a provider's key ` + key},
		{"a key as the variable's name", provider + "credentials.more.key_env = 'sk-verysecret'",
			`:6: providers.p.credentials.more.key_env: found what is no name of an environment variable; expected letters, digits and underscores, such as OPENAI_API_KEY`},
		{"a key that could name a variable", provider + "credentials.more.key_env = 'gsk_verysecret'",
			`:6: providers.p.credentials.more.key_env: found what looks like a key itself; expected the name of an environment variable, such as OPENAI_API_KEY`},
		{"another provider's key as the file's name", provider + "credentials.more.key_file = 'hf_verysecret'",
			`:6: providers.p.credentials.more.key_file: found what looks like a key; expected the path of a file that holds it`},
		{"a key as the file's name", provider + "credentials.more.key_file = 'sk-verysecret'",
			`:6: providers.p.credentials.more.key_file: found what looks like a key; expected the path of a file that holds it`},
		{"a key as the way to authenticate", provider + "credentials.more.auth = 'sk-verysecret'",
			`:6: providers.p.credentials.more.auth: found another word; expected "none", or no auth and a key_env or key_file`},
		{"a key as the group", provider + "credentials.more = 'sk-verysecret'", `:6: providers.p.credentials.more: found a string; expected a table`},
		{"no key and no reason", provider + "credentials.more.free = true",
			`:6: providers.p.credentials.more: has no key; expected key_env, key_file, keys = [{ key_env = … }, …], or auth = "none" for a server that needs none`},
		{"a key where none is needed", provider + "credentials.more = { auth = 'none', key_env = 'A' }",
			`:6: providers.p.credentials.more.auth: found "none" beside a key; expected one of the two`},
		{"two ways at once", provider + "credentials.more = { key_env = 'A', keys = [{ key_env = 'B' }] }",
			`:6: providers.p.credentials.more.keys: found beside key_env or key_file; expected all of them in keys`},
		{"variable and file", provider + "credentials.more = { key_env = 'A', key_file = 'B' }",
			`:6: providers.p.credentials.more.key_file: found beside key_env; expected one of the two`},
		{"a key that names nothing", provider + "credentials.more.keys = [{ weight = 2 }]",
			`:6: providers.p.credentials.more.keys[0]: has no key; expected key_env or key_file`},
		{"weight", provider + "credentials.more.keys = [{ key_env = 'A', weight = 0 }]",
			`:6: providers.p.credentials.more.keys[0].weight: found 0; expected at least 1`},
		{"one key under two terms", provider + "credentials.free.keys = [{ key_env = 'P' }]",
			`:5: providers.p.credentials.paid.key_env: P holds the same key as P of the group "free"; one key has the terms of one contract, so it belongs into one place`},
		{"group's name", provider + "credentials.'a#b'.key_env = 'A'",
			`:6: providers.p.credentials."a#b": found "a#b"; a group's name is of lower-case letters, digits, "_" and "-"`},
		// Models; what is added to model begins in line 4.
		{"model's id", "[models.gpt]\ncontext_length = 1", `:1: models.gpt: found "gpt"; a model's id is author/slug, of letters, digits, ".", "_" and "-"`},
		{"routing suffix", "[models.\"a/b:floor\"]\ncontext_length = 1",
			`:1: models."a/b:floor": found the suffix ":floor"; a model's id ends in none or one of :free, :batch, :thinking, :extended`},
		{"no context length", "[models.\"a/b\"]", `:1: models."a/b".context_length: missing; expected an integer`},
		{"more output than context", model + "max_output_tokens = 1001", `:4: models."a/b".max_output_tokens: found 1001; expected at most context_length = 1000`},
		{"modality", model + "input_modalities = ['text', 'images']", `:4: models."a/b".input_modalities[1]: found "images"; did you mean "image"?`},
		{"no modality", model + "output_modalities = []",
			`:4: models."a/b".output_modalities: found nothing in it; expected some of text, image, audio, file, video, embeddings, rerank`},
		// Aliases
		{"alias to nowhere", model + "[aliases]\nx = 'a/c'", `:5: aliases.x: unknown model "a/c"; did you mean "a/b"?`},
		{"alias to nothing", model + "[aliases]\nx = ''", `:5: aliases.x: found nothing in it; expected the id of a model`},
		{"alias to an alias", model + "[aliases]\nxylophone = 'a/b'\nzebra = 'xylophone'", `:6: aliases.zebra: unknown model "xylophone"; expected a/b`},
		{"alias over a model", model + "[aliases]\n'a/b' = 'a/b'", `:5: aliases."a/b": hides the model "a/b"; expected a name that no model has`},
		// Endpoints; what is added to provider, model and endpoint begins in line 14.
		{"no model", provider + "[[endpoints]]\nprovider = 'p'\nprice = { prompt = 1, completion = 1 }", `:6: endpoints[0].model: missing; expected a string`},
		{"unknown model", provider + model + "[[endpoints]]\nprovider = 'p'\nmodel = 'a/bb'\nprice = { prompt = 1, completion = 1 }",
			`:11: endpoints[0].model: unknown model "a/bb"; did you mean "a/b"?`},
		{"unknown provider", provider + model + "[[endpoints]]\nprovider = 'openai'\nmodel = 'a/b'\nprice = { prompt = 1, completion = 1 }",
			`:10: endpoints[0].provider: unknown provider "openai"; expected p`},
		{"unknown group", provider + model + endpoint + "credentials = ['piad']", `:14: endpoints[0].credentials[0]: unknown group of p "piad"; did you mean "paid"?`},
		{"a group twice", provider + model + endpoint + "credentials = ['paid', 'paid']", `:14: endpoints[0].credentials[1]: found "paid" twice; expected each group once`},
		{"no group", provider + model + endpoint + "credentials = []", `:14: endpoints[0].credentials: found nothing in it; expected some of paid`},
		{"variant", provider + model + endpoint + "variant = 'FP8'",
			`:14: endpoints[0].variant: found "FP8"; a variant is of lower-case letters, digits, ".", "_" and "-"`},
		{"the same row twice", provider + model + endpoint + endpoint, `:15: endpoints[1]: is a/b@p#paid again, as in catalog0.toml:10; one of the two needs a variant of its own`},
		{"distillation of a model", provider + model + "distillation.permitted = 'maybe'\n" + endpoint, `:9: models."a/b".distillation.permitted: found "maybe"; expected yes, no or unknown`},
		{"distillation that is reviewed before it is read", provider + model + endpoint + "distillation = { permitted = 'yes', as_of = 2026-02-01, review_by = 2026-01-01 }",
			":14: endpoints[0].distillation.review_by: found 2026-01-01, before as_of = 2026-02-01; expected a later date"},
		{"quantization", provider + model + endpoint + "quantization = 'fp9'", `:14: endpoints[0].quantization: found "fp9"; did you mean "fp4"?`},
		{"member state", provider + model + endpoint + "processing_regions = ['us', 'de']", `:14: endpoints[0].processing_regions[1]: found "de"; its region is "eu"`},
		{"UK as a region", provider + model + endpoint + "processing_regions = ['uk']", `:14: endpoints[0].processing_regions[0]: found "uk"; did you mean "gb"?`},
		{"region in upper case", provider + model + endpoint + "processing_regions = ['EU']", `:14: endpoints[0].processing_regions[0]: found "EU"; did you mean "eu"?`},
		{"region", provider + model + endpoint + "processing_regions = ['us-east-1']",
			`:14: endpoints[0].processing_regions[0]: found "us-east-1"; expected global or ` + strings.Join(catalog.Regions, ", ")},
		{"no region", provider + model + endpoint + "processing_regions = []", `:14: endpoints[0].processing_regions: found nothing in it; expected the regions, or ["global"]`},
		{"passed on to nobody", provider + model + endpoint + "only = []", `:14: endpoints[0].only: expected names, as in only = ["deepinfra"]; leave it out where requests may be passed on to anybody`},
		{"passed on by a provider that cannot be told so", strings.Replace(provider, "\"openai\"", "\"anthropic\"", 1) + model + endpoint + "only = ['x']",
			`:14: endpoints[0].only: can be said to providers of the dialect "openai" only; p has the dialect "anthropic"`},
		{"a tier of a provider that cannot be asked for it", strings.Replace(provider, "\"openai\"", "\"anthropic\"", 1) + model + endpoint + "service_tier = 'flex'",
			`:14: endpoints[0].service_tier: can be said to providers of the dialect "openai" only; p has the dialect "anthropic"`},
		{"parameter", provider + model + endpoint + "supported_parameters = ['tool']", `:14: endpoints[0].supported_parameters[0]: found "tool"; did you mean "tools"?`},
		{"modality of the endpoint", provider + model + endpoint + "input_modalities = ['image']", `:14: endpoints[0].input_modalities[0]: found "image"; the model takes text`},
		{"context", provider + model + endpoint + "context_length = -1", `:14: endpoints[0].context_length: found -1; expected at least 1`},
		{"output beyond the context", provider + model + endpoint + "max_output_tokens = 1001",
			`:14: endpoints[0].max_output_tokens: found 1001; expected at most context_length = 1000`},
		{"URL of the endpoint", provider + model + endpoint + "base_url = '/v1'",
			`:14: endpoints[0].base_url: found "/v1"; expected an absolute URL such as https://api.example.com/v1`},
		{"jurisdiction of the endpoint", provider + model + endpoint + "jurisdiction = 'uk'", `:14: endpoints[0].jurisdiction: found "uk"; did you mean "GB"?`},
		{"attribute", provider + model + endpoint + "attributes = { quality = 'good' }", `:14: endpoints[0].attributes.quality: found string "good"; expected a finite number`},
		{"expectation", provider + model + endpoint + "expected = { tps = -1 }", `:14: endpoints[0].expected.tps: found -1; expected at least 0`},
		// Prices; in line 10.
		{"no price", provider + model + "[[endpoints]]\nmodel = 'a/b'\nprovider = 'p'",
			`:9: endpoints[0].price: missing; expected price = { prompt = …, completion = … } in USD per million tokens, or free = true in the group "paid"`},
		{"half a price", priced("prompt = 1"), `:10: endpoints[0].price.completion: missing; expected a price in USD per million tokens, 0 if there is none`},
		{"negative price", priced("prompt = -0.1, completion = 1"), `:10: endpoints[0].price.prompt: found -0.1; a price is not negative`},
		{"no number", priced("prompt = nan, completion = 1"), `:10: endpoints[0].price.prompt: found NaN; expected a price in USD per million tokens`},
		{"infinite", priced("prompt = inf, completion = 1"), `:10: endpoints[0].price.prompt: found +Inf; expected a price in USD per million tokens`},
		{"words", priced("prompt = '1 USD', completion = 1"), `:10: endpoints[0].price.prompt: found "1 USD"; expected a decimal number such as "0.25", in USD per million tokens`},
		{"exponent", priced("prompt = '1e-3', completion = 1"), `:10: endpoints[0].price.prompt: found "1e-3"; expected a decimal number such as "0.25", in USD per million tokens`},
		{"too fine", priced("prompt = 0.0000025, completion = 1"), `:10: endpoints[0].price.prompt: found 0.0000025; expected at most 6 decimals: the price is in USD per million tokens`},
		{"absurd", priced("prompt = 100000, completion = 1"), `:10: endpoints[0].price.prompt: found 100000; expected less than 100000: the price is in USD per million tokens`},
		{"absurd for an image", priced("prompt = 1, completion = 1, image = 1e300"),
			`:10: endpoints[0].price.image: found 1` + strings.Repeat("0", 300) + `; expected less than 1000: the price is in USD each`},
		{"no price but a table", priced("prompt = { usd = 1 }, completion = 1"),
			`:10: endpoints[0].price.prompt: found neither a number nor a decimal string; expected a price in USD per million tokens`},
		{"misspelt price", priced("prompt = 1, completion = 1, cache_reed = 1"), `:10: endpoints[0].price.cache_reed: unknown key "cache_reed"; did you mean "cache_read"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cat, problems := catalog.Load(parse(t, c.src), environment)
			if cat != nil || problems == nil {
				t.Fatal("accepted")
			}
			if got, want := problems.Err().Error(), "catalog0.toml"+c.want; got != want {
				t.Errorf("says\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func priced(price string) string {
	return provider + model + "[[endpoints]]\nprice = { " + price + " }\nmodel = 'a/b'\nprovider = 'p'"
}

func TestSectionsMayBeSpreadOverFilesButEntriesHaveOnePlace(t *testing.T) {
	c := load(t, endpoint, model, provider, "[aliases]\nx = 'a/b'")
	if len(c.Rows) != 1 || c.Rows[0].Model != c.Models["a/b"] {
		t.Errorf("rows %v", c.Rows)
	}
	_, problems := catalog.Load(parse(t, provider+model+"[aliases]\nx = 'a/b'", "\n"+provider, "\n"+model, "[aliases]\n\nx = 'a/b'", endpoint, "\n"+endpoint), environment)
	want := `catalog1.toml:3: providers.p: provider "p" is already in catalog0.toml:2; one of the two must go
catalog2.toml:3: models."a/b": model "a/b" is already in catalog0.toml:7; one of the two must go
catalog3.toml:3: aliases.x: alias "x" is already in catalog0.toml:10; one of the two must go
catalog5.toml:3: endpoints[0]: is a/b@p#paid again, as in catalog4.toml:2; one of the two needs a variant of its own`
	if got := problems.Err().Error(); got != want {
		t.Errorf("says\n%s\nwant\n%s", got, want)
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "catalog.toml")
	try := func(keyFile string) (*catalog.Catalog, error) {
		t.Helper()
		src := "[providers.p]\ndialect = 'openai'\nbase_url = 'https://x'\n[providers.p.credentials.paid]\nkey_file = " + config.Quote(keyFile) + "\n"
		if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		return loadFile(t, path)
	}
	for name, content := range map[string]string{"good": "  sk-file-key\r\n", "empty": " \n", "two": "sk-one\nsk-two\n", "bom": "\ufeffsk-one"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"good", "./good", filepath.Join(dir, "good")} {
		c, err := try(name)
		if err != nil {
			t.Fatal(err)
		}
		got := c.Providers["p"].Groups[0]
		if len(got.Credentials) != 1 || got.Credentials[0].Name != "good" || got.Credentials[0].Secret.Reveal() != "sk-file-key" || got.Missing != nil {
			t.Errorf("%s: %+v", name, got)
		}
		if want := filepath.Join(dir, "good"); !slices.Equal(c.KeyFiles, []string{want}) {
			t.Errorf("the key files are %q, want %q", c.KeyFiles, want)
		}
	}
	for _, name := range []string{"empty", "absent"} {
		c, err := try(name)
		if err != nil {
			t.Fatalf("%s: a key that is not there is no problem of the catalog: %v", name, err)
		}
		if got := c.Providers["p"].Groups[0]; got.Usable() || !slices.Equal(got.Missing, []string{name}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	const odd = "; expected one key of printable ASCII and nothing else"
	for name, want := range map[string]string{
		"two": "found a key with a blank or a special character at byte 6" + odd,
		"bom": "found a key with a blank or a special character at byte 0" + odd,
		".":   "found a file that cannot be read: read " + dir + ": is a directory",
	} {
		if _, err := try(name); err == nil || err.Error() != path+":5: providers.p.credentials.paid.key_file: "+want {
			t.Errorf("%s says %v, want %s", name, err, want)
		}
	}
}

func TestAMissingVariableLeavesTheRowWithoutCredential(t *testing.T) {
	c := load(t, strings.Replace(provider, `"P"`, `"NO_KEY"`, 1)+model+endpoint)
	if g := c.Rows[0].Group; g.Usable() || !slices.Equal(g.Missing, []string{"NO_KEY"}) {
		t.Errorf("group %+v", g)
	}
}

// Whatever a document holds, loading ends with a total catalog or with problems, and neither shows a secret.
func FuzzLoad(f *testing.F) {
	f.Add(provider + model + endpoint)
	f.Add(priced("prompt = 0.15, completion = '0.6'"))
	whole, err := os.ReadFile("../../testdata/config/catalog.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(whole))
	f.Fuzz(func(t *testing.T, src string) {
		doc, problems := config.Parse("fuzz.toml", []byte(src))
		if problems != nil {
			return
		}
		const secret = "sk-never-seen"
		c, problems := catalog.Load([]*config.Document{doc}, func(string) (string, bool) { return secret, true })
		if (c == nil) == (problems == nil) {
			t.Fatalf("catalog %v beside problems %v", c, problems)
		}
		if strings.Contains(problems.Error(), secret) {
			t.Fatalf("a problem shows a secret: %v", problems)
		}
		for _, p := range problems {
			if p.File != "fuzz.toml" || p.Line == 0 || p.Message == "" {
				t.Fatalf("incomplete problem %+v", p)
			}
		}
		if c == nil {
			return
		}
		for _, p := range c.Providers {
			for _, g := range p.Groups {
				if text := fmt.Sprintf("%v %+v %#v", *g, g.Credentials, g.Credentials); strings.Contains(text, secret) {
					t.Fatal("a group shows a secret")
				}
			}
		}
		for _, row := range c.Rows {
			checkTotal(t, row)
		}
	})
}

func checkTotal(t *testing.T, row *catalog.Row) {
	t.Helper()
	for _, claim := range []catalog.Tri{row.DataPolicy.Training, row.DataPolicy.RetainsPrompts, row.DataPolicy.ZDR, row.DataPolicy.Publishes} {
		if claim != catalog.Yes && claim != catalog.No && claim != catalog.Unknown {
			t.Fatalf("%s: the claim %q", row.ID, claim)
		}
	}
	if row.Tag == "" || row.BaseURL == "" || row.Dialect == "" || row.UpstreamModel == "" || row.Quantization == "" || row.Jurisdiction == "" || row.Headquarters == "" ||
		len(row.ProcessingRegions) == 0 || len(row.InputModalities) == 0 || len(row.OutputModalities) == 0 || row.ContextLength < 1 || row.MaxOutputTokens < 0 ||
		row.Certifications == nil || row.Parameters == nil || row.Attributes == nil || row.Labels == nil {
		t.Fatalf("the row %s is not total: %+v", row.ID, row)
	}
	for _, price := range []catalog.Picodollars{row.Prices.Prompt, row.Prices.Completion, row.Prices.CacheRead, row.Prices.CacheWrite, row.Prices.Request, row.Prices.Image, row.Prices.Audio} {
		if price < 0 {
			t.Fatalf("%s: the price %d", row.ID, price)
		}
	}
}

func TestANameOfTwoModelsIsNeither(t *testing.T) {
	src := provider + model + endpoint + "[models.'c/b']\ncontext_length = 1\n[[endpoints]]\nmodel = 'c/b'\nprovider = 'p'\nvariant = 'v'\nupstream_model = 'up'\nprice = { prompt = 1, completion = 1 }\n" +
		"[[endpoints]]\nmodel = 'a/b'\nprovider = 'p'\nvariant = 'v'\nupstream_model = 'up'\nprice = { prompt = 1, completion = 1 }\n"
	c := load(t, src)
	for _, name := range []string{"b", "up"} {
		if m := c.Named(name); m != nil {
			t.Errorf("%s, which two models are called, is %s", name, m.ID)
		}
	}
}
