//go:build unix

package replay_test

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"chaperone/engine"
	"chaperone/engine/replay"
)

// BenchmarkReplay reports verdicts a second of wall time, and a second of CPU, whatever else the machine does meanwhile. Requests
// name a model that has as many endpoints.
func BenchmarkReplay(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the command has it
	const records = 20_000
	for _, endpoints := range []int{1, 6, 20} {
		b.Run(fmt.Sprintf("endpoints=%d", endpoints), func(b *testing.B) {
			o := open(b, "", more(endpoints))
			random := rand.New(rand.NewPCG(1, 2))
			for range records {
				text := fmt.Sprintf(`{"model":"m/many","user":"u%d","stream":%t,"messages":[{"role":"user","content":"hello"}]}`, random.IntN(30), random.IntN(2) == 0)
				if _, err := o.engine.Decide(b.Context(), engine.Call{Key: "sk-acme", Body: []byte(text)}); err != nil {
					b.Fatal(err)
				}
			}
			o.close(b)
			var before, after syscall.Rusage
			verdicts := 0
			syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			for b.Loop() {
				verdicts += run(b, replay.Options{Dir: o.journal()}).Verdicts
			}
			syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			if verdicts < records*endpoints {
				b.Fatalf("only %d verdicts", verdicts)
			}
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(verdicts)/b.Elapsed().Seconds(), "verdicts/s")
			b.ReportMetric(float64(verdicts)*1e9/float64(cpu), "verdicts/cpu-s")
		})
	}
}

// more is a model with that many endpoints.
func more(endpoints int) string {
	var b strings.Builder
	b.WriteString("[models.\"m/many\"]\nname = \"many\"\ncontext_length = 32000\n")
	for i := range endpoints {
		fmt.Fprintf(&b, "[[endpoints]]\nmodel = \"m/many\"\nprovider = \"p%d\"\nvariant = \"v%d\"\nupstream_model = \"x\"\nprice = { prompt = %d, completion = 1 }\n", i%5, i, 1+i)
	}
	return b.String()
}
