package dispatch_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chaperone/engine"
)

// panicking is a way to a provider on which something goes wrong that nobody has thought of.
type panicking struct {
	http.RoundTripper
	at int // bytes of the answer, after which it panics; -1: before it is asked
}

func (p panicking) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.at < 0 {
		panic(fmt.Sprint("a prompt of somebody: ", r.URL))
	}
	resp, err := p.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = &panickingBody{resp.Body, p.at}
	}
	return resp, err
}

type panickingBody struct {
	io.ReadCloser
	left int
}

func (b *panickingBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		panic([]string{"a prompt of somebody"})
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// A mistake of the router's own in one attempt ends that attempt, and nothing else.
func TestAPanicInAnAttemptEndsThatAttemptAlone(t *testing.T) {
	const hello = `data: {"choices":[{"index":0,"delta":{"content":"Hello wor"},"finish_reason":null}]}` + "\n\n"
	for _, c := range []struct {
		name   string
		at     int
		stream bool
	}{
		{"before it is asked", -1, false}, {"before it is asked, streamed", -1, true},
		{"in a whole answer", 10, false}, {"before the first content", 10, true}, {"in the middle of a stream", len(hello) + 10, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			way := func(on http.RoundTripper) http.RoundTripper { return panicking{on, c.at} }
			e := saidThrough(t, "openai", "sk-upstream", way, slog.New(slog.NewTextHandler(&log, nil)), func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", map[bool]string{true: "text/event-stream", false: "application/json"}[c.stream])
				io.WriteString(w, hello+hello)
			})
			resp, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: fmt.Appendf(nil, `{"model":"m/one","stream":%t,"messages":[{"role":"user","content":"hi"}]}`, c.stream)})
			told := fmt.Sprint(err)
			if err == nil {
				text, err := io.ReadAll(resp.Stream)
				if err != nil {
					t.Fatal(err)
				}
				told = string(text)
			}
			if !strings.Contains(told, "cannot be read") || strings.Contains(told, "[DONE]") || strings.Contains(told, "somebody") {
				t.Errorf("the client is told %q", told)
			}
			if s := log.String(); !strings.Contains(s, "panic in an attempt") || !strings.Contains(s, "panicking") || strings.Contains(s, "somebody") {
				t.Errorf("the log: %s", s)
			}
			scrape := httptest.NewRecorder()
			e.Metrics().ServeHTTP(scrape, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			if !strings.Contains(scrape.Body.String(), "chaperone_requests_in_flight 0\n") {
				t.Error("the request is still counted as in flight")
			}
		})
	}
}
