package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/server"
	"chaperone/engine/server/openapi/contract"
	"chaperone/engine/sim"
)

const (
	key      = "sk-acme"
	chat     = `{"model":"m/one","messages":[{"role":"user","content":"hello"}]}`
	stream   = `{"model":"m/one","stream":true,"messages":[{"role":"user","content":"hello"}]}`
	patience = time.Minute // what only a mistake takes
)

// world is a server on a real engine, which has one simulated provider to ask.
type world struct {
	*server.Server
	engine   *engine.Engine
	provider *sim.Provider
	began    chan sim.Record // requests as the provider gets them
	ended    chan sim.Record
	log      *lockedBuffer
	close    func() error // server and engine, once
}

// open starts a world with the given profile, after change has been at the settings.
func open(t *testing.T, profile sim.Profile, change func(*engine.Server)) *world {
	t.Helper()
	return openWith(t, profile, "", change)
}

// openWith has more in its chaperone.toml.
func openWith(t *testing.T, profile sim.Profile, more string, change func(*engine.Server)) *world {
	t.Helper()
	profile.Name = "one"
	provider, err := sim.Start(t.Context(), profile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Close(); err != nil {
			t.Error(err)
		}
	})
	began, ended := make(chan sim.Record, 10_000), make(chan sim.Record, 10_000)
	provider.OnRequest(func(r sim.Record) { began <- r })
	provider.OnEnd(func(r sim.Record) { ended <- r })
	w := before(t, provider.URL(), more, change)
	w.provider, w.began, w.ended = provider, began, ended
	return w
}

// before starts a world before a provider that runs already.
func before(t *testing.T, provider, more string, change func(*engine.Server)) *world {
	t.Helper()
	w := &world{log: &lockedBuffer{}}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"chaperone.toml": fmt.Sprintf("catalog = [\"catalog.toml\"]\n[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n"+
			"[timeouts]\n%s", sha256.Sum256([]byte(key)), more),
		"catalog.toml": fmt.Sprintf("[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000\n[providers.one]\nname = \"One\"\ndialect = \"openai\"\n"+
			"base_url = %q\n[providers.one.credentials.own]\nkey_env = \"ONE\"\n[[endpoints]]\nmodel = \"m/one\"\nprovider = \"one\"\nupstream_model = \"one\"\n"+
			"price = { prompt = 1, completion = 2 }\n", provider),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	w.engine, err = engine.Open(t.Context(), engine.Options{
		ConfigPath: filepath.Join(dir, "chaperone.toml"), Log: log,
		Env: func(string) (string, bool) { return "sk-upstream", true },
	})
	if err != nil {
		t.Fatal(err)
	}
	settings := w.engine.Settings().Server
	settings.Listen, settings.PrivateListen = "127.0.0.1:0", "127.0.0.1:0"
	settings.DrainDelay, settings.DrainTimeout = 0, time.Second
	if change != nil {
		change(&settings)
	}
	if w.Server, err = server.New(w.engine, settings, w.engine.Metrics(), log); err != nil {
		t.Fatal(err)
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	w.close = sync.OnceValue(func() error {
		w.Shutdown(context.Background()) // the error is for tests that are about it
		return w.engine.Close(context.Background())
	})
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) url(path string) string { return "http://" + w.Addr().String() + path }

// client is one that nobody else shares connections with. Every answer that it gets is held to the OpenAPI document.
func client(t *testing.T) *http.Client {
	plain := &http.Transport{}
	t.Cleanup(plain.CloseIdleConnections)
	return &http.Client{Transport: served(t).Transport(plain, func(err error) { t.Error(err) })}
}

// served is the document as a server serves it.
func served(t *testing.T) *contract.Contract {
	t.Helper()
	c, err := servedOnce()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var servedOnce = sync.OnceValues(func() (*contract.Contract, error) {
	s, err := server.New(nil, engine.Server{Listen: "127.0.0.1:0", MaxConnections: 1, MaxHeaderBytes: 8192, MaxBodyBytes: 1, FlushTimeout: patience},
		http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	defer s.Shutdown(context.Background())
	one := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := one.Get("http://" + s.Addr().String() + "/openapi.json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	document, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return contract.Read(document)
})

func newRequest(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// do sends a request and reads the whole answer.
func do(t *testing.T, c *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// post is a chat completion as raw bytes.
func post(body string, fields ...string) string {
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: router\r\nAuthorization: Bearer " + key + "\r\nContent-Type: application/json\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

func dial(t *testing.T, addr net.Addr) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, raw string) {
	t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
}

// read reads one final answer, whole.
func read(t *testing.T, from *bufio.Reader) (*http.Response, string) {
	t.Helper()
	for {
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("%v after %q", err, body)
		}
		if resp.StatusCode >= 200 {
			return resp, string(body)
		}
	}
}

// next waits for a value.
func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s in %s", what, patience)
		panic("unreachable")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestMain fails where a goroutine is left when every server is shut down. Those that fasthttp keeps for a while, or for
// ever, are not the server's.
func TestMain(m *testing.M) {
	if os.Getenv(crowdVariable) != "" {
		os.Exit(crowd())
	}
	code := m.Run()
	if code == 0 {
		if left := leaked(); left != "" {
			fmt.Fprintln(os.Stderr, "goroutines are left:\n"+left)
			code = 1
		}
	}
	os.Exit(code)
}

func leaked() (left string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var all bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&all, 2)
		left = ""
		for _, g := range strings.Split(all.String(), "\n\n") {
			known := false
			for _, frame := range []string{"TestMain", "fasthttp.(*workerPool).Start", "fasthttp.updateServerDate", "os/signal."} {
				known = known || strings.Contains(g, frame)
			}
			if !known {
				left += g + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}
