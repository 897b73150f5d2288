package dispatch_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine"
	"chaperone/engine/wire"
)

// said is a router in front of one provider that says exactly what it is told.
func said(t *testing.T, key string, handler http.HandlerFunc) *engine.Engine {
	t.Helper()
	return saidThrough(t, "openai", key, nil, slog.Default(), handler)
}

// saidThrough says so in a dialect, and has a way to the provider of its own.
func saidThrough(t *testing.T, dialect, key string, way func(http.RoundTripper) http.RoundTripper, log *slog.Logger, handler http.HandlerFunc) *engine.Engine {
	t.Helper()
	p := httptest.NewServer(handler)
	t.Cleanup(p.Close)
	path := filepath.Join(t.TempDir(), "chaperone.toml")
	text := fmt.Sprintf("[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000\n[providers.p]\nname = \"P\"\ndialect = %q\nbase_url = %q\n[providers.p.credentials.own]\nkey_env = \"KEY\"\n[[endpoints]]\nmodel = \"m/one\"\nprovider = \"p\"\nupstream_model = \"x\"\nprice = { prompt = 1, completion = 1 }\n",
		sha256.Sum256([]byte("sk-acme")), dialect, p.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Env: func(string) (string, bool) { return key, true }, Way: way, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(t.Context()) })
	return e
}

func TestAStreamThatIsNotWholeHasNoEndMark(t *testing.T) {
	const (
		hello = `data: {"choices":[{"index":0,"delta":{"content":"Hello wor"},"finish_reason":null}]}` + "\n\n"
		stop  = `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	)
	for _, c := range []struct {
		name, n, body string
		cut           bool // the connection breaks off behind body
		whole         bool
	}{
		{"whole", "1", hello + stop + "data: [DONE]\n\n", false, true},
		{"a finish reason and a clean end", "1", hello + stop, false, true},
		{"a finish reason, then half an event", "1", hello + stop + `data: {"choi`, true, false},
		{"a finish reason, then a broken connection", "1", hello + stop, true, false},
		{"a finish reason with every chunk, then a broken connection", "1", strings.Replace(hello, "null", `"stop"`, 1), true, false},
		{"one of two choices, said twice", "2", hello + strings.Replace(hello, `"index":0`, `"index":1`, 1) + stop + stop, false, false},
		{"both of two choices", "2", hello + stop + strings.Replace(stop, `"index":0`, `"index":1`, 1), false, true},
		{"an end mark in the middle of one of two choices", "2", hello + strings.Replace(hello, `"index":0`, `"index":1`, 1) + stop + "data: [DONE]\n\n", false, false},
		{"one choice where two were asked for", "2", hello + stop + "data: [DONE]\n\n", false, true},
		{"an end mark behind the name of a tool", "1", `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}}]}` +
			"\n\ndata: [DONE]\n\n", false, false},
		{"an end mark in the middle of the text", "1", hello + "data: [DONE]\n\n", false, false},
		{"an error event in another form, then an end mark", "1",
			hello + "event: error\ndata: {\"message\":\"engine died\",\"type\":\"server_error\",\"code\":500}\n\ndata: [DONE]\n\n", false, false},
		{"an error as finish reason", "1", hello + strings.Replace(stop, `"stop"`, `"error"`, 1) + "data: [DONE]\n\n", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := said(t, "sk-upstream", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, c.body)
				http.NewResponseController(w).Flush()
				if c.cut {
					panic(http.ErrAbortHandler)
				}
			})
			resp, err := e.Do(t.Context(), engine.Call{Key: "sk-acme",
				Body: fmt.Appendf(nil, `{"model":"m/one","stream":true,"n":%s,"messages":[{"role":"user","content":"hi"}]}`, c.n)})
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Stream)
			if err != nil {
				t.Fatal(err)
			}
			done, failed := strings.HasSuffix(string(text), "data: [DONE]\n\n"), strings.Contains(string(text), `"error":{`)
			if done != c.whole || failed == c.whole {
				t.Errorf("end mark %t, error event %t, and the answer is whole: %t\n%s", done, failed, c.whole, text)
			}
			if got := e.Record(resp.Plan.ID).Outcome.Status == http.StatusOK; got != c.whole {
				t.Errorf("the record calls it whole: %t", got)
			}
		})
	}
}

func TestPartsOfASecretReachNobody(t *testing.T) {
	const key = "SECRET-KEY-AAAAAAAAAAAAAAAA-BBBB"
	for name, message := range map[string]string{
		"whole":     "bad key " + key + ", twice " + key,
		"cut short": strings.Repeat("x", 4096-len(key)+3) + key,
		"a prefix":  "the key that begins with " + key[:12] + " is wrong",
	} {
		t.Run(name, func(t *testing.T) {
			e := said(t, key, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"error":{"message":%q,"type":"invalid_request_error"}}`, message)
			})
			_, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)})
			if err == nil || strings.Contains(err.Error(), key[:8]) || !strings.Contains(err.Error(), "[redacted]") {
				t.Errorf("the client is told %v", err)
			}
		})
	}
}

func TestAProvidersWordsReachNoRecord(t *testing.T) {
	const prompt = "the launch is on the ninth of May"
	e := said(t, "sk-upstream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":%q}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, prompt)
	})
	resp, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: fmt.Appendf(nil, `{"model":"m/one","messages":[{"role":"user","content":%q}]}`, prompt)})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Record(resp.Plan.ID).Outcome.FinishReason; got != "other" {
		t.Errorf("the record has %q as the finish reason", got)
	}
}

func TestWhatCannotBeTranslatedIsNamedWithoutSecrets(t *testing.T) {
	const key = "SECRET-KEY-AAAAAAAAAAAAAAAA-BBBB"
	e := said(t, key, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, `data: {"choices":[{"index":0,"delta":{"content":[{"type":%q}]}}]}`+"\n\n", key)
	})
	_, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Shape: wire.Messages, Body: []byte(`{"model":"m/one","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}`)})
	if err == nil || strings.Contains(err.Error(), key[:8]) || !strings.Contains(err.Error(), "content of type") {
		t.Errorf("the client is told %v", err)
	}
}

// Counts that no answer can have are not billed to who got none either, and what is billed is never less than nothing.
func TestAbsurdCountsOfFailedAttemptsAreEstimated(t *testing.T) {
	asked := 0
	e := said(t, "sk-upstream", func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"error"}],"usage":{"prompt_tokens":9007199254740992,"completion_tokens":9007199254740992}}`)
	})
	var told *wire.Error
	_, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)})
	if !errors.As(err, &told) {
		t.Fatal(err)
	}
	if got := e.Record(told.DecisionID).Outcome.Cost; asked < 2 || got <= 0 || got > 100_000_000 {
		t.Errorf("%d attempts cost %d", asked, got)
	}
}

// The record says how much of a request its provider may have seen.
func TestTheRecordSaysHowMuchWasSent(t *testing.T) {
	const all = 8 << 20 // more than any connection holds
	for want, takes := range map[string]int64{"part": 1 << 10, "all": all * 2} {
		e := said(t, "sk-upstream", func(w http.ResponseWriter, r *http.Request) {
			io.CopyN(io.Discard, r.Body, takes)
			panic(http.ErrAbortHandler)
		})
		_, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: fmt.Appendf(nil, `{"model":"m/one","messages":[{"role":"user","content":"hi"}]%s}`, strings.Repeat(" ", all))})
		var told *wire.Error
		if !errors.As(err, &told) || told.DecisionID == "" {
			t.Fatal(err)
		}
		if rec := e.Record(told.DecisionID); outcomes(rec) != "p:connect" || rec.Attempts[0].BodySent != want {
			t.Errorf("%s of it was sent, want %s: %s", rec.Attempts[0].BodySent, want, outcomes(rec))
		}
	}
}
