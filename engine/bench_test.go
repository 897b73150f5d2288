package engine_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine"
)

// BenchmarkDecide is a whole decision: authenticate, skim, filter, judge with three library policies, rank, record.
func BenchmarkDecide(b *testing.B) {
	for _, rows := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("endpoints=%d", rows), func(b *testing.B) {
			var c strings.Builder
			fmt.Fprintf(&c, "[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n", sha256.Sum256([]byte("sk-acme")))
			for _, p := range []string{"training", "free_credentials", "provider_tools"} {
				fmt.Fprintf(&c, "[[policy.bindings]]\npackage = \"library.%s\"\nfor = \"everyone\"\n", p)
			}
			c.WriteString("[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000\n")
			for i := range rows {
				fmt.Fprintf(&c, "[providers.p%d]\nname = \"P%d\"\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:1\"\ndata_policy = { training = \"no\" }\n[providers.p%d.credentials.own]\nauth = \"none\"\n[[endpoints]]\nmodel = \"m/one\"\nprovider = \"p%d\"\nupstream_model = \"x\"\nprice = { prompt = %d, completion = 1 }\n", i, i, i, i, 1+i)
			}
			path := filepath.Join(b.TempDir(), "chaperone.toml")
			if err := os.WriteFile(path, []byte(c.String()), 0o600); err != nil {
				b.Fatal(err)
			}
			e, err := engine.Open(b.Context(), engine.Options{ConfigPath: path})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close(context.Background())
			body := []byte(`{"model":"m/one","max_tokens":100,"messages":[{"role":"user","content":"hello"}]}`)
			b.ReportAllocs()
			for b.Loop() {
				p, err := e.Decide(b.Context(), engine.Call{Key: "sk-acme", Body: body})
				if err != nil || len(p.Permits) != rows {
					b.Fatalf("%v, %d permits", err, len(p.Permits))
				}
			}
		})
	}
}
