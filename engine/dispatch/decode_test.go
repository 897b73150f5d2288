package dispatch_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"chaperone/engine"
)

type encoder interface {
	io.WriteCloser
	Flush() error
}

var encodings = map[string]func(io.Writer) encoder{
	"gzip":    func(w io.Writer) encoder { return gzip.NewWriter(w) },
	"deflate": func(w io.Writer) encoder { return zlib.NewWriter(w) },
	"deflate, bare": func(w io.Writer) encoder {
		e, err := flate.NewWriter(w, flate.BestSpeed)
		if err != nil {
			panic(err)
		}
		return e
	},
	"zstd": func(w io.Writer) encoder {
		e, err := zstd.NewWriter(w)
		if err != nil {
			panic(err)
		}
		return e
	},
}

// Providers are asked for no encoding; a proxy before one may compress all the same.
func TestAnswersThatCameCompressed(t *testing.T) {
	for name, encode := range encodings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := make(chan bool) // the client has the last event
			provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.Header().Set("Content-Encoding", strings.TrimSuffix(name, ", bare"))
				if !bytes.Contains(body, []byte(`"stream":true`)) {
					w.Header().Set("Content-Type", "application/json")
					e := encode(w)
					io.WriteString(e, `{"choices":[{"index":0,"message":{"role":"assistant","content":"word 0 word 1"},"finish_reason":"stop"}]}`)
					e.Close()
					return
				}
				w.Header().Set("Content-Type", "text/event-stream")
				e := encode(w)
				for i := range 3 {
					fmt.Fprintf(e, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word %d\"}}]}\n\n", i)
					e.Flush()
					w.(http.Flusher).Flush()
					<-next
				}
				io.WriteString(e, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
				e.Close()
			}))
			defer provider.Close()
			path := filepath.Join(t.TempDir(), "chaperone.toml")
			config := fmt.Sprintf("[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000\n"+
				"[providers.p]\nname = \"P\"\ndialect = \"openai\"\nbase_url = %q\n[providers.p.credentials.own]\nauth = \"none\"\n"+
				"[[endpoints]]\nmodel = \"m/one\"\nprovider = \"p\"\nprice = { prompt = 1, completion = 2 }\n", sha256.Sum256([]byte("sk-acme")), provider.URL)
			if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close(t.Context())
			ask := func(stream bool) (body []byte, events io.Reader) {
				resp, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: fmt.Appendf(nil, `{"model":"m/one","stream":%t,"messages":[{"role":"user","content":"x"}]}`, stream)})
				if err != nil {
					t.Fatal(err)
				}
				return resp.Body, resp.Stream
			}
			if body, _ := ask(false); !bytes.Contains(body, []byte("word 0 word 1")) {
				t.Errorf("got %s", body)
			}
			_, events := ask(true)
			deadline := time.AfterFunc(20*time.Second, func() { panic("an event was held back") })
			defer deadline.Stop()
			buf := make([]byte, 4096)
			for i := range 3 { // each arrives before the next is written
				n, err := events.Read(buf)
				if err != nil || !bytes.Contains(buf[:n], fmt.Appendf(nil, "word %d", i)) {
					t.Fatalf("event %d: %v %s", i, err, buf[:n])
				}
				next <- true
			}
			if rest, err := io.ReadAll(events); err != nil || !bytes.HasSuffix(rest, []byte("data: [DONE]\n\n")) {
				t.Errorf("%v %s", err, rest)
			}
		})
	}
}
