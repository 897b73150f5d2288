// Package clients holds official client libraries against a running router.
package clients

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/server"
	"chaperone/engine/server/openapi/contract"
	"chaperone/engine/sim"
)

// router is a running server with simulated providers in each of the dialects: chat/one and messages/one answer well behind a
// provider that fails first, …/dying breaks off in the middle, …/slow takes its time, …/limited is rate limited, m/secret is
// denied by policy.
type router struct {
	url      string // of the relay
	front    *httptest.Server
	sims     map[string]*sim.Provider
	contract *contract.Contract
}

// backs are the authors of the models, by the dialect of their providers.
var backs = map[string]string{"chat": "openai", "messages": "anthropic"}

func start(t *testing.T) *router {
	t.Helper()
	dir := t.TempDir()
	r := &router{sims: map[string]*sim.Provider{}}
	var b strings.Builder
	fmt.Fprintf(&b, `[server]
listen = "127.0.0.1:0"
private_listen = ""
drain_delay = "0s"
[timeouts]
total = "30s" # less than a rate limit announces: such a wait is not waited out
[routing]
temperature = 0
exploration = 0
[organisations.acme]
[[keys]]
organisation = "acme"
sha256 = "%x"
[[policy.sources]]
name = "own"
path = "rego"
[[policy.bindings]]
package = "own"
for = "org:acme"
`, sha256.Sum256([]byte(key)))
	if err := os.Mkdir(filepath.Join(dir, "rego"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rego", "own.rego"),
		[]byte("package own\n\ndeny contains \"nobody may use this\" if input.endpoint.model == \"m/secret\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	add := func(model, id, dialect string, price int, profile sim.Profile) {
		profile.Name = id
		p, err := sim.Start(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		r.sims[id] = p
		if !strings.Contains(b.String(), fmt.Sprintf("[models.%q]", model)) {
			fmt.Fprintf(&b, "[models.%q]\nname = %q\ncontext_length = 32000\ninput_modalities = [\"text\", \"image\"]\n", model, model)
			if strings.HasSuffix(model, "embed") {
				b.WriteString("output_modalities = [\"embeddings\"]\n")
			}
		}
		fmt.Fprintf(&b, `[providers.%s]
name = %q
dialect = %q
base_url = %q
[providers.%s.credentials.own]
auth = "none"
[[endpoints]]
model = %q
provider = %q
upstream_model = "upstream"
supported_parameters = ["max_tokens", "tools", "tool_choice", "response_format", "structured_outputs", "custom_tools"]
price = { prompt = %d, completion = %d }
`, id, strings.ToUpper(id), dialect, p.URL(), id, model, id, price, price)
	}
	for back, dialect := range backs {
		add(back+"/one", back+"-failing", dialect, 1, sim.Profile{Faults: []sim.Fault{{Kind: sim.Status, Status: 500, Share: 1}}})
		add(back+"/one", back+"-good", dialect, 9, sim.Profile{KeepRequests: true})
		add(back+"/dying", back+"-dying", dialect, 1, sim.Profile{Faults: []sim.Fault{{Kind: sim.Cut, AfterTokens: 5, Share: 1}}})
		add(back+"/slow", back+"-slow", dialect, 1, sim.Profile{TPS: sim.Distribution{P50: 20}, OutputTokens: sim.Distribution{P50: 2000}})
		add(back+"/limited", back+"-limited", dialect, 1, sim.Profile{Faults: []sim.Fault{{Kind: sim.Status, Status: 429, RetryAfter: 40 * time.Second, Share: 1}}})
	}
	add("m/embed", "embed-failing", "openai", 1, sim.Profile{Faults: []sim.Fault{{Kind: sim.Status, Status: 500, Share: 1}}})
	add("m/embed", "embed-good", "openai", 9, sim.Profile{})
	add("m/secret", "secret", "openai", 1, sim.Profile{})
	path := filepath.Join(dir, "chaperone.toml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(e, e.Settings().Server, e.Metrics(), log)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), e.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	r.relay(t, &url.URL{Scheme: "http", Host: s.Addr().String()})
	return r
}

const key = "sk-acme"

// relay stands before the router, so that every answer, event and error that any client gets is held to the OpenAPI document
// that the router serves.
func (r *router) relay(t *testing.T, to *url.URL) {
	t.Helper()
	resp, err := http.Get(to.String() + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	document, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.contract, err = contract.Read(document); err != nil {
		t.Fatal(err)
	}
	r.front = httptest.NewServer(r.contract.Relay(to, func(err error) { t.Error(err) }))
	t.Cleanup(r.front.Close)
	r.url = r.front.URL
}

// held wants answers and events of these schemas to have been held to the document, when no more come.
func (r *router) held(t *testing.T, schemas ...string) {
	t.Helper()
	r.front.Close()
	checked := r.contract.Checked()
	for _, name := range schemas {
		if checked[name] == 0 {
			t.Errorf("no %s was held to the OpenAPI document: %v", name, checked)
		}
	}
	t.Logf("answers and events that were held to the OpenAPI document, by schema: %v", checked)
}

// ended is the next request of a provider that ends.
func (r *router) ended(id string) <-chan sim.Record {
	ch := make(chan sim.Record, 16)
	r.sims[id].OnEnd(func(rec sim.Record) { ch <- rec })
	return ch
}

// right is the whole answer that a good provider should have given to its last request.
func (r *router) right(t *testing.T, back string) sim.Choice {
	t.Helper()
	p := r.sims[back+"-good"]
	log := p.Log()
	if len(log) == 0 {
		t.Fatal("the good provider was never asked")
	}
	answer := map[string]func(sim.Profile, []byte) (sim.Completion, error){"chat": sim.Answer, "messages": sim.AnswerMessages}[back]
	c, err := answer(p.Profile(), log[len(log)-1].Body)
	if err != nil {
		t.Fatal(err)
	}
	return c.Choices[0]
}

// cancelled wants the provider to have seen its client leave, long before it would have finished.
func cancelled(t *testing.T, ended <-chan sim.Record, left time.Time) {
	t.Helper()
	select {
	case rec := <-ended:
		if !rec.Cancelled || rec.Tokens > 1000 {
			t.Errorf("the provider went on: %+v", rec)
		}
		t.Logf("the provider noticed after %v", rec.Ended.Sub(left).Round(time.Millisecond))
	case <-time.After(10 * time.Second):
		t.Error("the provider never noticed that the client had gone")
	}
}
