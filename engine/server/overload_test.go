package server_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// until waits for something that can be observed.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (w *world) metric(t *testing.T, line string) bool {
	t.Helper()
	r := newRequest(t, "GET", "http://"+w.PrivateAddr().String()+"/metrics", "")
	r.Close = true
	_, text := do(t, client(t), r)
	return strings.Contains(text, "\n"+line+"\n")
}

const otherKey = "sk-calm"

var otherOrganisation = fmt.Sprintf("[organisations.calm]\n[[keys]]\norganisation = \"calm\"\nsha256 = \"%x\"\n", sha256.Sum256([]byte(otherKey)))

// Too much of one organisation: the others go first, whoever goes away leaves the queue, whoever has no place is told so at
// once, and health checks are answered on both listeners.
func TestAnOverloadIsQueuedFairlyAndShed(t *testing.T) {
	slow := sim.Profile{Faults: []sim.Fault{{Kind: sim.Stall, Share: 1, AfterTokens: 1}}}
	w := openWith(t, slow, "idle = \"1h\"\n[load]\nin_flight = 2\nqueue = 3\nqueue_wait = \"5m\"\n"+otherOrganisation, nil)
	var queued []*bufio.Reader
	var close []func()
	ask := func(key string) (*bufio.Reader, func()) {
		c := dial(t, w.Addr())
		send(t, c, strings.Replace(post(stream), "sk-acme", key, 1))
		return bufio.NewReader(c), func() { c.SetLinger(0); c.Close() }
	}
	for range 2 {
		_, end := ask(key)
		close = append(close, end)
		next(t, w.began, "request at the provider")
	}
	var leave []func()
	for i := range 3 {
		from, end := ask(key)
		queued, leave = append(queued, from), append(leave, end)
		until(t, "it waits", func() bool {
			return w.metric(t, fmt.Sprintf(`chaperone_organisation_queued{organisation="acme"} %d`, i+1))
		})
	}
	began := time.Now()
	resp, text := do(t, client(t), newRequest(t, "POST", w.url("/v1/chat/completions"), stream))
	if took := time.Since(began); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "300" || took > patience ||
		!strings.Contains(text, "this router has 2 requests in flight, as many as it may, and its queue is full; ask again later") {
		t.Errorf("got %d %v after %s: %s", resp.StatusCode, resp.Header, took, text)
	}
	for _, url := range []string{w.url("/healthz"), w.url("/readyz"), "http://" + w.PrivateAddr().String() + "/healthz"} {
		if resp, _ := do(t, client(t), newRequest(t, "GET", url, "")); resp.StatusCode != http.StatusOK {
			t.Errorf("%s says %d", url, resp.StatusCode)
		}
	}
	// A client of another organisation takes the place of the last of the one with the most, and the next that is free.
	calm, _ := ask(otherKey)
	if resp, text := read(t, queued[2]); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the last in the queue got %d %s", resp.StatusCode, text)
	}
	close[0]()
	if resp, err := http.ReadResponse(calm, nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the other organisation got %v, %v", resp, err)
	}
	if !w.metric(t, `chaperone_organisation_in_flight{organisation="calm"} 1`) {
		t.Error("it is not in the metrics")
	}
	leave[0]()
	until(t, "who went away leaves the queue", func() bool { return w.metric(t, `chaperone_organisation_queued{organisation="acme"} 1`) })
	close[1]()
	if resp, err := http.ReadResponse(queued[1], nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("who waited got %v, %v", resp, err)
	}
	if !w.metric(t, `chaperone_shed_total{at="router",organisation="acme",reason="queue_full"} 2`) {
		t.Error("two were shed; the metrics say otherwise")
	}
}

func TestAnOrganisationsLimitIsItsOwn(t *testing.T) {
	w := openWith(t, sim.Profile{Faults: []sim.Fault{{Kind: sim.Stall, Share: 1, AfterTokens: 1}}},
		"idle = \"1h\"\n[load]\nin_flight_organisation = 1\nqueue_wait = \"30ms\"\n"+strings.Replace(otherOrganisation, "calm]\n", "calm]\nin_flight = 2\n", 1), nil)
	c := dial(t, w.Addr())
	send(t, c, post(stream))
	next(t, w.began, "request at the provider")
	resp, text := do(t, client(t), newRequest(t, "POST", w.url("/v1/chat/completions"), chat))
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "1" ||
		!strings.Contains(text, "organisation acme has 1 requests in flight, as many as it may, and none has ended while this one waited; ask again later") {
		t.Errorf("got %d %v: %s", resp.StatusCode, resp.Header, text)
	}
	for range 2 {
		other := dial(t, w.Addr())
		send(t, other, strings.Replace(post(stream), key, otherKey, 1))
		if resp, err := http.ReadResponse(bufio.NewReader(other), nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("another organisation got %v, %v", resp, err)
		}
	}
}

// The time that a client allows includes that in the queue.
func TestAWaitIsPartOfTheClientsTime(t *testing.T) {
	w := openWith(t, sim.Profile{Faults: []sim.Fault{{Kind: sim.Stall, Share: 1, AfterTokens: 1}}}, "idle = \"1h\"\n[load]\nin_flight = 1\nqueue_wait = \"5m\"\n", nil)
	c := dial(t, w.Addr())
	send(t, c, post(stream))
	next(t, w.began, "request at the provider")
	r := newRequest(t, "POST", w.url("/v1/chat/completions"), chat)
	r.Header.Set("X-Request-Timeout", "50ms")
	began := time.Now()
	if resp, _ := do(t, client(t), r); resp.StatusCode != http.StatusServiceUnavailable || time.Since(began) > patience {
		t.Errorf("got %d after %s", resp.StatusCode, time.Since(began))
	}
}

func TestAnswersSayWhereTheTimeWent(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	for name, body := range map[string]string{
		"whole":   chat,
		"stream":  stream,
		"refused": strings.Replace(chat, `"model"`, `"provider":{"only":["nobody"]},"model"`, 1),
	} {
		resp, _ := do(t, client(t), newRequest(t, "POST", w.url("/v1/chat/completions"), body))
		timing := resp.Header.Get("Server-Timing")
		if attempted := strings.Contains(timing, `, attempt;desc="one `); !strings.HasPrefix(timing, "policy;dur=") || attempted == (name == "refused") {
			t.Errorf("%s: %d, Server-Timing is %q", name, resp.StatusCode, timing)
		}
	}
}

func TestThePrivateListenerShowsWhatRestsWhyAndUntilWhen(t *testing.T) {
	w := openWith(t, sim.Profile{Faults: []sim.Fault{{Kind: sim.Status, Status: 503, Share: 1}}}, "[dispatch.breaker]\nfailures = 1\ncool_down = \"1m\"\n[load]\nin_flight_endpoint = 7\n", nil)
	do(t, client(t), newRequest(t, "POST", w.url("/v1/chat/completions"), chat))
	r := newRequest(t, "GET", "http://"+w.PrivateAddr().String()+"/health", "")
	_, text := do(t, client(t), r)
	var health struct {
		Endpoints, Credentials []struct {
			Endpoint, Credential, Breaker, Resting string
			Until                                  time.Time
			LastFault                              string    `json:"last_fault"`
			LastFaultAt                            time.Time `json:"last_fault_at"`
			Openings                               int
			InFlight                               *int `json:"in_flight"`
			Limit                                  *int `json:"in_flight_limit"`
		}
	}
	if err := json.Unmarshal([]byte(text), &health); err != nil || len(health.Endpoints) != 1 || len(health.Credentials) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	e, c := health.Endpoints[0], health.Credentials[0]
	if e.Endpoint != "m/one@one" || e.Breaker != "open" || e.Resting != "breaker_open" || e.Openings != 1 || time.Until(e.Until) < 30*time.Second ||
		e.InFlight == nil || *e.InFlight != 0 || *e.Limit != 7 || e.LastFault != "overloaded" || time.Since(e.LastFaultAt) > time.Minute {
		t.Errorf("the endpoint: %s", text)
	}
	if c.Endpoint != "m/one@one#own" || c.Credential != "ONE" || c.Breaker != "closed" || c.InFlight != nil || c.LastFault != "" {
		t.Errorf("the credential: %s", text)
	}
	if resp, _ := do(t, client(t), newRequest(t, "GET", w.url("/health"), "")); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the public listener has it: %d", resp.StatusCode)
	}
}

// The fallback models of an organisation are tried after the one that a request names, unless it names several.
func TestAnOrganisationsFallbackModels(t *testing.T) {
	two := "[models.\"m/two\"]\nname = \"Two\"\ncontext_length = 32000\n[[endpoints]]\nmodel = \"m/two\"\nprovider = \"one\"\nupstream_model = \"two\"\nprice = { prompt = 1, completion = 2 }\n"
	models := "calm]\nfallback_models = [\"m/one\"]\n"
	w := openWith(t, sim.Profile{Models: []string{"one"}}, two+strings.Replace(otherOrganisation, "calm]\n", models, 1), nil)
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"a fallback":       {strings.Replace(chat, "m/one", "m/two", 1), 200},
		"its own fallback": {strings.Replace(chat, `"model":"m/one"`, `"model":"m/two","models":["m/two"]`, 1), 502},
	} {
		r := newRequest(t, "POST", w.url("/v1/chat/completions"), c.body)
		r.Header.Set("Authorization", "Bearer "+otherKey)
		if resp, text := do(t, client(t), r); resp.StatusCode != c.status || c.status == 200 && !strings.Contains(text, `"model":"m/one"`) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	if resp, text := do(t, client(t), newRequest(t, "POST", w.url("/v1/chat/completions"), strings.Replace(chat, "m/one", "m/two", 1))); resp.StatusCode != 502 {
		t.Errorf("an organisation without fallbacks: %d %s", resp.StatusCode, text)
	}
}

// A request that names no model gets those of its organisation before it is judged: what is judged, recorded and sent is the same.
func TestAnOrganisationsDefaultModels(t *testing.T) {
	two := "[models.\"m/two\"]\nname = \"Two\"\ncontext_length = 32000\n[[endpoints]]\nmodel = \"m/two\"\nprovider = \"one\"\nupstream_model = \"two\"\nprice = { prompt = 1, completion = 2 }\n"
	models := "calm]\ndefault_models = [\"first\", \"m/one\"]\naliases = { first = \"m/two\" }\n[organisations.calm.presets.brief]\nparameters = { max_tokens = 7 }\n"
	w := openWith(t, sim.Profile{Models: []string{"one"}, KeepRequests: true}, two+strings.Replace(otherOrganisation, "calm]\n", models, 1), nil)
	ask := func(key, path, body string) (int, string) {
		r := newRequest(t, "POST", w.url(path), body)
		r.Header.Set("Authorization", "Bearer "+key)
		resp, text := do(t, client(t), r)
		return resp.StatusCode, text
	}
	const unnamed = `{"messages":[{"role":"user","content":"hello"}],"max_tokens":5}`
	for name, c := range map[string]struct{ path, body string }{
		"chat":      {"/v1/chat/completions", unnamed},
		"null":      {"/v1/chat/completions", strings.Replace(unnamed, "{", `{"model":null,`, 1)},
		"messages":  {"/v1/messages", unnamed},
		"responses": {"/v1/responses", `{"input":"hello","max_output_tokens":32}`},
		"a preset":  {"/v1/chat/completions", `{"model":"@preset/brief","messages":[{"role":"user","content":"hello"}]}`},
	} {
		status, text := ask(otherKey, c.path, c.body)
		if status != 200 || !strings.Contains(text, `"model":"m/one"`) {
			t.Errorf("%s: %d %s", name, status, text)
			continue
		}
		log := w.provider.Log()
		if sent := log[len(log)-2:]; sent[0].Model != "two" || sent[1].Model != "one" || strings.Contains(string(sent[1].Body), `"models"`) {
			t.Errorf("%s: sent %s, then %s", name, sent[0].Body, sent[1].Body)
		}
		if capped := strings.Contains(string(log[len(log)-1].Body), `"max_tokens":7`); capped != (name == "a preset") {
			t.Errorf("%s: sent %s", name, log[len(log)-1].Body)
		}
	}
	status, text := ask(otherKey, "/v1/route", unnamed)
	if status != 200 || !strings.Contains(text, "m/two") || !strings.Contains(text, "m/one") {
		t.Errorf("asked what would be decided: %d %s", status, text)
	}
	if status, text := ask(otherKey, "/v1/chat/completions", strings.Replace(unnamed, "{", `{"model":"m/two","models":["m/two"],`, 1)); status != 502 {
		t.Errorf("a request that names models: %d %s", status, text)
	}
	if status, text := ask(key, "/v1/chat/completions", unnamed); status != 400 || !strings.Contains(text, "model is missing") {
		t.Errorf("an organisation without default models: %d %s", status, text)
	}
}
