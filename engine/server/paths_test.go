package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/server"
	"chaperone/engine/sim"
)

func TestEveryPathAnswers(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := client(t)
	for _, prefix := range []string{"", "/api"} {
		resp, text := do(t, c, newRequest(t, "POST", w.url(prefix+"/v1/chat/completions"), chat))
		var answer struct{ ID, Object string }
		if err := json.Unmarshal([]byte(text), &answer); err != nil || resp.StatusCode != http.StatusOK || answer.Object != "chat.completion" {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		id := resp.Header.Get("X-Generation-Id")
		if id == "" || id != answer.ID {
			t.Errorf("X-Generation-Id is %q, the answer's id %q", id, answer.ID)
		}
		for path, want := range map[string]string{
			"/v1/models":                   `"id":"m/one"`,
			"/v1/models/m/one/endpoints":   `"provider_name":"One"`,
			"/v1/decisions/" + id:          `"id":"` + id + `"`,
			"/v1/decisions/gen-0123456789": `no decision`,
		} {
			if resp, text := do(t, c, newRequest(t, "GET", w.url(prefix+path), "")); !strings.Contains(text, want) || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("GET %s: %d %s", path, resp.StatusCode, text)
			}
		}
		before := w.provider.Counts().Requests
		if resp, text := do(t, c, newRequest(t, "POST", w.url(prefix+"/v1/route"), chat)); resp.StatusCode != http.StatusOK || !strings.Contains(text, `"candidates"`) {
			t.Errorf("route: %d %s", resp.StatusCode, text)
		}
		for api, body := range map[string]string{
			"chat":         chat,
			"messages":     `{"model":"m/one","max_tokens":20,"messages":[{"role":"user","content":"x"}]}`,
			"count_tokens": `{"model":"m/one","messages":[{"role":"user","content":"x"}]}`,
			"responses":    `{"model":"m/one","input":"x","max_output_tokens":20}`,
			"completions":  `{"model":"m/one","prompt":"x"}`,
			"embeddings":   `{"model":"m/one","input":"x"}`,
			"rerank":       `{"model":"m/one","query":"x","documents":["y"]}`,
		} {
			resp, text := do(t, c, newRequest(t, "POST", w.url(prefix+"/v1/route?api="+api), body))
			if resp.StatusCode != http.StatusOK || !strings.Contains(text, `"candidates"`) || !strings.Contains(text, `"m/one"`) {
				t.Errorf("route of %s: %d %s", api, resp.StatusCode, text)
			}
		}
		if resp, text := do(t, c, newRequest(t, "POST", w.url(prefix+"/v1/route?api=message"), chat)); resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, `did you mean \"messages\"?`) {
			t.Errorf("route of an unknown API: %d %s", resp.StatusCode, text)
		}
		if resp, text := do(t, c, newRequest(t, "POST", w.url(prefix+"/v1/route?api=responses"), chat)); resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, "input") {
			t.Errorf("a chat as a response: %d %s", resp.StatusCode, text)
		}
		if w.provider.Counts().Requests != before {
			t.Error("asking for a decision has dispatched it")
		}
	}
	if _, text := do(t, c, newRequest(t, "GET", w.url("/healthz"), "")); text != `{"status":"ok"}` {
		t.Error(text)
	}
}

func TestAnswersHaveTheHeadersThatAreListed(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := client(t)
	for name, x := range map[string]struct {
		request *http.Request
		want    []string
	}{
		"an answer": {newRequest(t, "POST", w.url("/v1/chat/completions"), chat), []string{"Cache-Control", "Content-Length", "Content-Type", "Date", "Server-Timing", "X-Generation-Id"}},
		"a stream":  {newRequest(t, "POST", w.url("/v1/chat/completions"), stream), []string{"Cache-Control", "Content-Type", "Date", "Server-Timing", "X-Accel-Buffering", "X-Generation-Id"}},
		"an error":  {newRequest(t, "GET", w.url("/nowhere"), ""), []string{"Cache-Control", "Content-Length", "Content-Type", "Date"}},
		"options":   {newRequest(t, "OPTIONS", w.url("/v1/models"), ""), []string{"Allow", "Date"}},
	} {
		x.request.Header.Set("Origin", "https://elsewhere.example")
		resp, _ := do(t, c, x.request)
		if got := slices.Sorted(maps.Keys(resp.Header)); !slices.Equal(got, x.want) {
			t.Errorf("%s has %v\nwant %v", name, got, x.want)
		}
	}
}

func TestMethods(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := client(t)
	get, _ := do(t, c, newRequest(t, "GET", w.url("/v1/models"), ""))
	head, text := do(t, c, newRequest(t, "HEAD", w.url("/v1/models"), ""))
	if head.StatusCode != http.StatusOK || text != "" || head.ContentLength != get.ContentLength {
		t.Errorf("HEAD: %d, %d bytes announced, %q", head.StatusCode, head.ContentLength, text)
	}
	for path, allow := range map[string]string{"/v1/models": "GET, HEAD, OPTIONS", "/v1/chat/completions": "POST, OPTIONS"} {
		for method, status := range map[string]int{"OPTIONS": http.StatusNoContent, "PUT": http.StatusMethodNotAllowed} {
			if resp, _ := do(t, c, newRequest(t, method, w.url(path), "")); resp.StatusCode != status || resp.Header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q", method, path, resp.StatusCode, resp.Header.Get("Allow"))
			}
		}
	}
	if resp, _ := do(t, c, newRequest(t, "HEAD", w.url("/v1/route"), "")); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD of a POST path: %d", resp.StatusCode)
	}
	r := newRequest(t, "GET", w.url("/v1/models"), "")
	r.Header.Del("Authorization")
	if resp, _ := do(t, c, r); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("without a key: %d, WWW-Authenticate %q", resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
	}
}

func TestThePrivateListenerIsApart(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := client(t)
	private := func(path string) string { return "http://" + w.PrivateAddr().String() + path }
	for path, want := range map[string]string{
		"/healthz": `{"status":"ok"}`, "/readyz": `{"status":"ready"}`, "/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile",
		"/debug/pprof/cmdline": os.Args[0], "/plugins": `{"plugins":[]}`,
	} {
		if resp, text := do(t, c, newRequest(t, "GET", private(path), "")); resp.StatusCode != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d %.200s", path, resp.StatusCode, text)
		}
	}
	for _, path := range []string{"/v1/models", "/v1/chat/completions"} {
		if resp, _ := do(t, c, newRequest(t, "GET", private(path), "")); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s on the private listener: %d", path, resp.StatusCode)
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap"} {
		if resp, _ := do(t, c, newRequest(t, "GET", w.url(path), "")); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s on the public listener: %d", path, resp.StatusCode)
		}
	}
}

func TestMetricsAreServed(t *testing.T) {
	settings := open(t, sim.Profile{}, nil).engine.Settings().Server
	settings.Listen, settings.PrivateListen, settings.DrainDelay = "127.0.0.1:0", "127.0.0.1:0", 0
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, "up 1\n")
	})
	s, err := server.New(nil, settings, metrics, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	resp, text := do(t, client(t), newRequest(t, "GET", "http://"+s.PrivateAddr().String()+"/metrics", ""))
	if text != "up 1\n" || resp.Header.Get("Content-Type") != "text/plain; version=0.0.4" {
		t.Errorf("got %q, %v", text, resp.Header)
	}
}

func TestStartNamesTheAddressThatIsTaken(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	for key, settings := range map[string]engine.Server{
		"server.listen":         {Listen: w.Addr().String()},
		"server.private_listen": {Listen: "127.0.0.1:0", PrivateListen: w.PrivateAddr().String()},
	} {
		s, err := server.New(w.engine, settings, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err == nil || !strings.HasPrefix(err.Error(), "cannot listen on "+key+": ") || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// HTTP/1.0 has no chunks: the end of the connection is the end of the stream.
func TestAStreamOverHTTP10(t *testing.T) {
	for name, connect := range transports(t) {
		t.Run(name, func(t *testing.T) {
			w := open(t, sim.Profile{}, secure(t, name))
			c := connect(w)
			send(t, c, strings.Replace(post(stream, "Connection: keep-alive"), "HTTP/1.1", "HTTP/1.0", 1))
			resp, text := read(t, bufio.NewReader(c))
			if len(resp.TransferEncoding) > 0 || !resp.Close || !strings.HasPrefix(text, "data: {") || !strings.HasSuffix(text, "data: [DONE]\n\n") {
				t.Errorf("%v, close %v, %q", resp.TransferEncoding, resp.Close, text)
			}
			if r := next(t, w.ended, "end at the provider"); r.Cancelled {
				t.Error("the provider was cancelled")
			}
		})
	}
}

// Events leave when they come: a client has as many as the provider has sent.
func TestEventsAreFlushedOneByOne(t *testing.T) {
	for sent := 1; sent <= 4; sent++ {
		w := open(t, sim.Profile{Faults: []sim.Fault{{Kind: sim.Stall, Share: 1, AfterTokens: sent}}}, nil)
		c := dial(t, w.Addr())
		send(t, c, post(stream))
		for range sent {
			readUntil(t, c, `"delta":{"content":"`)
		}
		readUntil(t, c, "\n\n") // the whole event, of an answer that never goes on
	}
}

// A router that panics stands for a mistake of ours anywhere below.
type panics struct{ server.Router }

func (panics) Models(context.Context, engine.Listing) ([]byte, error) { panic("sk-secret") }

func (panics) Endpoints(context.Context, string, string) ([]byte, error) {
	var none []int
	return nil, map[bool]error{}[none[0] == 0]
}

func TestAPanicIsAnErrorWithAnId(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	settings := w.engine.Settings().Server
	settings.Listen, settings.PrivateListen, settings.DrainDelay = "127.0.0.1:0", "", 0
	log := &lockedBuffer{}
	s, err := server.New(panics{w.engine}, settings, http.NotFoundHandler(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	if s.PrivateAddr() != nil {
		t.Error("a private listener that is switched off has an address")
	}
	c := client(t)
	for path, reason := range map[string]string{"/v1/models": "a panic with a string", "/v1/models/m/one/endpoints": "index out of range"} {
		resp, text := do(t, c, newRequest(t, "GET", "http://"+s.Addr().String()+path, ""))
		id := resp.Header.Get("X-Request-Id")
		if resp.StatusCode != http.StatusInternalServerError || !strings.HasPrefix(id, "err-") ||
			!strings.Contains(text, "the router failed on this request; its log has the details under "+id) {
			t.Errorf("got %d %s", resp.StatusCode, text)
		}
		if got := log.String(); !strings.Contains(got, id) || !strings.Contains(got, reason) || !strings.Contains(got, "paths_test.go") {
			t.Errorf("the log has no %s, %q or place:\n%s", id, reason, got)
		}
	}
	if strings.Contains(log.String(), "sk-secret") {
		t.Error("the log has what the panic held")
	}
}

func TestTheLogTellsNothingOfRequests(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	for _, body := range []string{chat, stream} {
		r := newRequest(t, "POST", w.url("/v1/chat/completions?token=quite-secret"), strings.Replace(body, "hello", "prompt-text", 1))
		r.Header.Set("Cookie", "quite-secret")
		do(t, client(t), r)
	}
	for deadline := time.Now().Add(patience); strings.Count(w.log.String(), "route=/v1/chat/completions status=200") != 2; {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not have both requests:\n%s", w.log)
		}
	}
	for _, secret := range []string{"quite-secret", "prompt-text", key, "sk-upstream"} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}
