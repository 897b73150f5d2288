package server_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine/journal"
	"chaperone/engine/report"
)

// What must be found nowhere: words of prompts and answers, and the provider's key. What a caller says of its program is in the ledger
// and told to itself, and in the clear nowhere else.
const (
	promptCanary = "kanarienvogel"
	answerCanary = "zeisig"
	keyCanary    = "sk-upstream"
	claimCanary  = "stieglitz"
)

// parrot is a provider that repeats the prompt and the key in whatever goes wrong.
func parrot(t *testing.T) *httptest.Server {
	t.Helper()
	var asked atomic.Int64
	said := fmt.Sprintf("%s %s %s", promptCanary, answerCanary, keyCanary)
	chunk := func(content string) string {
		return fmt.Sprintf("data: {\"id\":\"gen-"+keyCanary+"\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"one\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":%q},\"finish_reason\":null}]}\n\n", content)
	}
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Request-Id", said)
		failure := func(status int) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":{"message":%q,"type":%q,"code":%q,"param":%q}}`, said, said, said, said)
		}
		switch asked.Add(1) % 10 {
		case 0:
			failure(400)
		case 1:
			failure(500)
		case 2:
			failure(401)
		case 3:
			failure(429)
		case 4:
			failure(200)
		case 5:
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, said)
		case 6:
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "%sdata: {\"error\":{\"message\":%q}}\n\n", chunk(answerCanary), said)
		case 7:
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "%sdata: {%s\n\n: %s\n\n", chunk(answerCanary), said, said)
		case 8:
			w.Header().Set("Location", "http://127.0.0.1/"+said)
			w.WriteHeader(302)
		default:
			if strings.Contains(r.Header.Get("Accept"), "event-stream") {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, chunk(answerCanary)+"data: {\"id\":\"gen-"+keyCanary+"\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"one\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id":%q,"object":"chat.completion","created":1,"model":"one","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`, "gen-"+promptCanary+"-1", answerCanary)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// sink keeps all that it is sent.
type sink struct {
	*httptest.Server
	mu   sync.Mutex
	text strings.Builder
}

func newSink(t *testing.T) *sink {
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var from io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			from = z
		}
		text, err := io.ReadAll(from)
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.text.Write(text)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestNoContentAndNoKeyIsFoundAnywhere(t *testing.T) {
	dir, decisions, anchors := t.TempDir(), newSink(t), newSink(t)
	more := fmt.Sprintf(`# %s %s
[routing]
attempts = 3
[journal]
dir = %q
content_dir = %q
segment_bytes = 65536
decision_log_url = %q
decision_log_token_env = "TOKEN"
anchor_url = %q
[presets.calm]
system = "%s"
[organisations.acme.presets.own]
system = "%s"
tools = [{ type = "function", function = { name = "f", description = "%s" } }]
[organisations.beta]
log_content = true
[[keys]]
organisation = "beta"
sha256 = "%x"
`, promptCanary, keyCanary, filepath.Join(dir, "journal"), filepath.Join(dir, "content"), decisions.URL, anchors.URL, promptCanary, promptCanary, promptCanary, sha256.Sum256([]byte("sk-beta")))
	w := before(t, parrot(t).URL, more, nil)
	c := client(t)
	var ids, errors []string
	askAt := func(path, as, body string) {
		r := newRequest(t, http.MethodPost, w.url(path), body)
		r.Header.Set("Authorization", "Bearer "+as)
		r.Header.Set("User-Agent", claimCanary+"/1.0")
		r.Header.Set("Origin", "https://"+claimCanary+".example")
		resp, text := do(t, c, r)
		ids = append(ids, resp.Header.Get("X-Generation-Id"))
		if resp.StatusCode >= 400 {
			errors = append(errors, text)
		}
		for name, values := range resp.Header {
			clean(t, "the header "+name, strings.Join(values, " "), promptCanary, keyCanary, claimCanary)
		}
		clean(t, "an answer", text, keyCanary, claimCanary)
	}
	ask := func(as, body string) { askAt("/v1/chat/completions", as, body) }
	for i := range 30 {
		body := fmt.Sprintf(`{"model":"m/one","stream":%t,"user":"u","metadata":{"app":"a"},`+
			`"messages":[{"role":"system","content":"%[2]s"},{"role":"user","content":[{"type":"text","text":"%[2]s"}]}]}`, i%2 == 0, promptCanary)
		ask(key, body)
		if i == 15 {
			ask("sk-beta", strings.Replace(body, `"stream":true`, `"stream":false`, 1))
			ask("sk-beta", strings.Replace(body, `"stream":false`, `"stream":true`, 1))
		}
	}
	for _, bad := range []string{`{"model":"m/one","messages":[{"role":"user","content":"` + promptCanary, `{"model":"m/one","messages":"` + promptCanary + `"}`,
		`{"model":"m/one","model":"` + promptCanary + `"}`} {
		ask(key, bad)
	}
	for i := range 6 {
		stream := fmt.Sprint(i%2 == 0)
		askAt("/v1/messages", key, `{"model":"m/one","max_tokens":50,"stream":`+stream+`,"system":"`+promptCanary+`","messages":[{"role":"user","content":"`+promptCanary+`"}]}`)
		askAt("/v1/responses", key, `{"model":"m/one","stream":`+stream+`,"instructions":"`+promptCanary+`","input":"`+promptCanary+`"}`)
		askAt("/v1/completions", key, `{"model":"m/one","stream":`+stream+`,"prompt":"`+promptCanary+`"}`)
		ask(key, `{"model":"m/one","preset":"`+[]string{"calm", "own"}[i%2]+`","messages":[{"role":"user","content":"`+promptCanary+`"}]}`)
	}
	if len(errors) < 20 {
		t.Fatalf("only %d errors", len(errors))
	}
	for _, text := range errors {
		clean(t, "an error", text, promptCanary, keyCanary)
	}
	for _, id := range ids {
		if id == "" {
			continue
		}
		for _, path := range []string{"/v1/decisions/", "/v1/generation?id="} {
			_, text := do(t, c, newRequest(t, http.MethodGet, w.url(path+id), ""))
			clean(t, path, text, promptCanary, answerCanary, keyCanary)
		}
	}
	prompt := `{"model":"m/one","messages":[{"role":"user","content":"` + promptCanary + `"}]}`
	for _, r := range []struct{ method, path, body string }{
		{"POST", "/v1/route", prompt}, {"POST", "/v1/route?api=chat", `{"model":"m/one","preset":"calm",` + prompt[len(`{"model":"m/one",`):]}, {"POST", "/v1/messages/count_tokens", prompt},
		{"GET", "/v1/models", ""}, {"GET", "/v1/models/m/one/endpoints", ""}, {"GET", "/v1/providers", ""}, {"GET", "/v1/endpoints/zdr", ""}, {"GET", "/v1/key", ""}, {"GET", "/v1/credits", ""},
		{"GET", "/v1/activity", ""}, {"GET", "/v1/analytics/meta", ""}, {"POST", "/v1/analytics/query", `{"metrics":["total_usage"],"dimensions":["model"]}`}, {"GET", "/openapi.json", ""},
	} {
		_, text := do(t, c, newRequest(t, r.method, w.url(r.path), r.body))
		clean(t, r.path, text, promptCanary, answerCanary, keyCanary)
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/health", "/plugins", "/v1/rows", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2",
		"/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1"} {
		resp, err := func() (*http.Response, error) {
			if path == "/v1/rows" {
				r := newRequest(t, http.MethodPost, "http://"+w.PrivateAddr().String()+path, prompt)
				return c.Do(r)
			}
			return http.Get("http://" + w.PrivateAddr().String() + path)
		}()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %d", path, resp.StatusCode)
		}
		clean(t, path, string(text), promptCanary, answerCanary, keyCanary, claimCanary)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
	for what, s := range map[string]*sink{"the decision log": decisions, "an anchor": anchors} {
		if s.text.Len() == 0 {
			t.Errorf("%s got nothing", what)
		}
		clean(t, what, s.text.String(), promptCanary, answerCanary, keyCanary, claimCanary)
	}
	clean(t, "the log", w.log.String(), promptCanary, answerCanary, keyCanary, claimCanary)
	kept := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasPrefix(path, filepath.Join(dir, "content")) {
			if !strings.HasPrefix(path, filepath.Join(dir, "content", "beta")+"/") {
				t.Errorf("%s is of an organisation that does not keep content", path)
			}
			kept += bytes.Count(text, []byte(`"organisation":"beta"`))
			clean(t, path, string(text), keyCanary, claimCanary)
			return nil
		}
		clean(t, path, string(text), promptCanary, answerCanary, keyCanary)
		if !strings.HasPrefix(e.Name(), "ledger.sqlite") {
			clean(t, path, string(text), claimCanary)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if kept != 2 {
		t.Errorf("the content of %d requests is kept, not of 2", kept)
	}
	told, err := report.Make(t.Context(), report.Options{Dirs: []string{filepath.Join(dir, "journal")}, Organisation: "acme", From: time.Now().Add(-time.Hour), To: time.Now(), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []func(io.Writer) error{told.Markdown, told.HTML, func(w io.Writer) error { return json.NewEncoder(w).Encode(told) }} {
		var text strings.Builder
		if err := form(&text); err != nil {
			t.Fatal(err)
		}
		clean(t, "the report", text.String(), promptCanary, answerCanary, keyCanary, claimCanary)
	}
	for e, err := range journal.Records(filepath.Join(dir, "journal"), time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := e.Record.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		clean(t, "a record", string(text), promptCanary, answerCanary, keyCanary)
	}
}

func clean(t *testing.T, what, text string, canaries ...string) {
	t.Helper()
	for _, canary := range canaries {
		if i := strings.Index(text, canary); i >= 0 {
			t.Errorf("%s holds %s: …%.300s", what, canary, text[max(0, i-150):])
			return
		}
	}
}
