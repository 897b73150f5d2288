package author_test

import (
	"os"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/policy"
	"chaperone/engine/policy/author"
	"chaperone/engine/wire"
)

// now is a Monday.
var now = time.Date(2026, 6, 1, 10, 30, 0, 0, time.UTC)

// acme is an organisation with a team, and three providers of one model: alpha, of which all is well, beta, of which little
// is, and gamma, of which nothing is known.
const acme = `
[organisations.acme]
[organisations.acme.teams.fraud]
[organisations.open]

[providers.alpha]
dialect = "openai"
base_url = "https://alpha.example/v1"
headquarters = "DE"
jurisdiction = "DE"
certifications = ["soc2", "iso27001"]
credentials.paid = { key_env = "ALPHA_KEY" }
data_policy = { training = "no", zdr = "yes", publishes = "no", as_of = 2026-05-01 }

[providers.beta]
dialect = "openai"
base_url = "https://beta.example/v1"
headquarters = "US"
jurisdiction = "US"
credentials.paid = { key_env = "BETA_KEY" }
data_policy = { training = "yes", retains_prompts = "yes", retention_days = 30, as_of = 2024-01-01 }

[providers.gamma]
dialect = "openai"
base_url = "https://gamma.example/v1"
credentials.free = { key_env = "GAMMA_KEY", free = true }

[models."acme/large"]
context_length = 32768
[models."acme/small"]
context_length = 32768

[[endpoints]]
model = "acme/large"
provider = "alpha"
processing_regions = ["eu"]
quantization = "bf16"
price = { prompt = 1.0, completion = 2.0 }
expected = { ttft_ms = 400, tps = 80 }
[[endpoints]]
model = "acme/large"
provider = "beta"
processing_regions = ["us"]
quantization = "fp4"
price = { prompt = 5.0, completion = 20.0 }
expected = { ttft_ms = 4000, tps = 10 }
[[endpoints]]
model = "acme/large"
provider = "gamma"
[[endpoints]]
model = "acme/small"
provider = "beta"
processing_regions = ["us"]
price = { prompt = 0.1, completion = 0.2 }
`

// world is acme with more, such as bindings.
func world(t testing.TB, more string) *author.World {
	t.Helper()
	doc, problems := config.Parse("chaperone.toml", []byte(acme+more))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	cat, problems := catalog.Load([]*config.Document{doc}, os.LookupEnv)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	accounts, problems := account.Load([]*config.Document{doc}, cat)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	w, problems := author.NewWorld(t.Context(), policy.Config{
		Documents: []*config.Document{doc}, Accounts: accounts, Catalog: cat,
		Honoured: []string{policy.ObligationMaxOutputTokens, policy.ObligationStore, policy.ObligationZDR, policy.ObligationMaxProcessors},
	})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return w
}

// whyNot asks about one row of acme/large.
func whyNot(t *testing.T, w *author.World, provider, body string) author.WhyNot {
	t.Helper()
	who, err := w.Who("acme", "", "", now)
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Model(who, "acme/large")
	if err != nil {
		t.Fatal(err)
	}
	req, err := author.Request(wire.Chat, "acme/large", body)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Rows {
		if r.Provider.ID == provider {
			return w.WhyNot(t.Context(), who, req, []*catalog.Row{r}, now)[0]
		}
	}
	t.Fatalf("no provider %s", provider)
	return author.WhyNot{}
}
