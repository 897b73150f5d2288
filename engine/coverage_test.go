package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
)

func TestTheGaugesCountPermittedAndHealthyProviders(t *testing.T) {
	later := time.Now().Add(48 * time.Hour).UTC().Format(time.DateOnly)
	w := openSmall(t, `deny contains "from then on" if {
	input.endpoint.provider == "p1"
	input.time.date >= "`+later+`"
}`, "", slog.DiscardHandler, sim.Profile{Limit: sim.Limit{RequestsPerSecond: 0.001, Burst: 1}}, sim.Profile{})
	path := filepath.Join(w.dir, "chaperone.toml")
	var offset atomic.Int64
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	counts := func(when, permitted, healthy string) {
		t.Helper()
		text := scrape(e)
		for _, want := range []string{"chaperone_permitted_providers" + permitted, "chaperone_healthy_providers" + healthy} {
			if !strings.Contains(text, "\n"+want+"\n") {
				t.Errorf("%s: the metrics lack %s", when, want)
			}
		}
	}
	const one, two = `{model="m/one",organisation="acme"} `, `{model="m/two",organisation="acme"} `
	counts("at first", one+"2", one+"2")

	for range 2 { // the second is refused with 429, and a wait
		ask(e, "sk-acme", `{"model":"m/one","messages":[{"role":"user","content":"hi"}],"provider":{"only":["p0"]}}`)
	}
	counts("with one that rests", one+"2", one+"1")

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "chaperone.toml", string(text)+`
[models."m/two"]
context_length = 32000
[providers.unarmed]
dialect = "openai"
base_url = "https://unarmed.example/v1"
credentials.paid = { key_env = "CHAPERONE_TEST_NO_SUCH_KEY" }
[[endpoints]]
model = "m/two"
provider = "unarmed"
price = { prompt = 1, completion = 1 }
`)
	if err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts("with a model that nobody has a key for", two+"1", two+"0")

	offset.Store(int64(72 * time.Hour))
	counts("when the policy has changed its mind", one+"1", one+"1")
}

func TestTheGaugesJudgeAModelByTheRequestThatItTakes(t *testing.T) {
	w := openSmall(t, `deny contains "asked otherwise than it can be" if input.request.api != object.get(input.endpoint.labels, "api", "chat")

deny contains "asks for something else than it gives" if {
	some modality in input.request.output_modalities
	not modality in input.endpoint.output_modalities
}`, "", slog.DiscardHandler, sim.Profile{})
	text, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	models, want := "", []string{`{model="m/one",organisation="acme"} 1`}
	for _, api := range []string{"embeddings", "rerank"} {
		models += fmt.Sprintf("[models.\"m/%s\"]\ncontext_length = 8000\noutput_modalities = [%q]\n[[endpoints]]\nmodel = \"m/%s\"\nprovider = \"p0\"\nlabels = { api = %q }\nprice = { prompt = 1, completion = 0 }\n", api, api, api, api)
		want = append(want, fmt.Sprintf(`{model="m/%s",organisation="acme"} 1`, api))
	}
	w.write(t, "chaperone.toml", string(text)+models)
	if err := w.engine.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, gauge := range []string{"chaperone_permitted_providers", "chaperone_healthy_providers"} {
		for _, sample := range want {
			if !strings.Contains(scrape(w.engine), "\n"+gauge+sample+"\n") {
				t.Errorf("the metrics lack %s%s", gauge, sample)
			}
		}
	}
}

// scrape is what the metrics say.
func scrape(e *engine.Engine) string {
	rec := httptest.NewRecorder()
	e.Metrics().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	return rec.Body.String()
}

func TestTheGaugesAreReadByManyWhileTheConfigurationChanges(t *testing.T) {
	w := openSmall(t, `deny contains "never" if input.endpoint.free`, "", slog.DiscardHandler, sim.Profile{}, sim.Profile{})
	var scrapers sync.WaitGroup
	for range 4 {
		scrapers.Go(func() {
			for range 20 {
				if !strings.Contains(scrape(w.engine), `chaperone_permitted_providers{model="m/one",organisation="acme"} 2`) {
					t.Error("a scrape lacks the two providers")
				}
			}
		})
	}
	for range 10 {
		if err := w.engine.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	scrapers.Wait()
}
