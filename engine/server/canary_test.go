package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine/journal"
)

// What must be found nowhere: words of prompts and answers, and the provider's key.
const (
	promptCanary = "kanarienvogel"
	answerCanary = "zeisig"
	keyCanary    = "sk-upstream"
)

// parrot is a provider that repeats the prompt and the key in whatever goes wrong.
func parrot(t *testing.T) *httptest.Server {
	t.Helper()
	var asked atomic.Int64
	said := fmt.Sprintf("%s %s %s", promptCanary, answerCanary, keyCanary)
	chunk := func(content string) string {
		return fmt.Sprintf("data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"one\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":%q},\"finish_reason\":null}]}\n\n", content)
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
				io.WriteString(w, chunk(answerCanary)+"data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"one\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id":"1","object":"chat.completion","created":1,"model":"one","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`, answerCanary)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func TestNoContentAndNoKeyIsFoundAnywhere(t *testing.T) {
	dir := t.TempDir()
	more := fmt.Sprintf(`# %s %s
[routing]
attempts = 3
[journal]
dir = %q
content_dir = %q
segment_bytes = 65536
[organisations.beta]
log_content = true
[[keys]]
organisation = "beta"
sha256 = "%x"
`, promptCanary, keyCanary, filepath.Join(dir, "journal"), filepath.Join(dir, "content"), sha256.Sum256([]byte("sk-beta")))
	w := before(t, parrot(t).URL, more, nil)
	c := client(t)
	var ids, errors []string
	ask := func(as, body string) {
		r := newRequest(t, http.MethodPost, w.url("/v1/chat/completions"), body)
		r.Header.Set("Authorization", "Bearer "+as)
		resp, text := do(t, c, r)
		ids = append(ids, resp.Header.Get("X-Generation-Id"))
		if resp.StatusCode >= 400 {
			errors = append(errors, text)
		}
		for name, values := range resp.Header {
			clean(t, "the header "+name, strings.Join(values, " "), promptCanary, keyCanary)
		}
		clean(t, "an answer", text, keyCanary)
	}
	for i := range 60 {
		body := fmt.Sprintf(`{"model":"m/one","stream":%t,"user":"u","metadata":{"app":"a"},`+
			`"messages":[{"role":"system","content":"%[2]s"},{"role":"user","content":[{"type":"text","text":"%[2]s"}]}]}`, i%2 == 0, promptCanary)
		ask(key, body)
		if i == 30 {
			ask("sk-beta", strings.Replace(body, `"stream":true`, `"stream":false`, 1))
			ask("sk-beta", strings.Replace(body, `"stream":false`, `"stream":true`, 1))
		}
	}
	for _, bad := range []string{`{"model":"m/one","messages":[{"role":"user","content":"` + promptCanary, `{"model":"m/one","messages":"` + promptCanary + `"}`,
		`{"model":"m/one","model":"` + promptCanary + `"}`} {
		ask(key, bad)
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
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		resp, err := http.Get("http://" + w.PrivateAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		clean(t, path, string(text), promptCanary, answerCanary, keyCanary)
	}
	w.Shutdown(context.Background())
	clean(t, "the log", w.log.String(), promptCanary, answerCanary, keyCanary)
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
			clean(t, path, string(text), keyCanary)
			return nil
		}
		clean(t, path, string(text), promptCanary, answerCanary, keyCanary)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if kept != 2 {
		t.Errorf("the content of %d requests is kept, not of 2", kept)
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
