//go:build unix

package journal

import (
	"fmt"
	"syscall"
	"testing"
)

// BenchmarkAppend reports the CPU that a record costs, user and system, whatever else the machine does meanwhile: memory is what a
// request costs without a journal on disk.
func BenchmarkAppend(b *testing.B) {
	for _, rows := range []int{1, 5, 20} {
		for _, fsync := range []Fsync{"memory", Never, Interval, Always} {
			b.Run(fmt.Sprintf("endpoints=%d/%s", rows, fsync), func(b *testing.B) {
				o := Options{Keep: 10_000}
				if fsync != "memory" {
					o.Dir, o.Fsync = b.TempDir(), fsync
				}
				j := open(b, o)
				defer closeJournal(b, j)
				rec, seen := planned(rows)
				rec.Claims = &Claims{App: &App{UserAgent: "OpenAI/Python 2.8.1"}} // as every program says of itself
				rec.Attempts[0].UpstreamID = "chatcmpl-CgYbGvN2mXkqZ8rTfWd4sL0pHaJ3e"
				var before, after syscall.Rusage
				syscall.Getrusage(syscall.RUSAGE_SELF, &before)
				for b.Loop() {
					j.Append(rec, seen)
				}
				syscall.Getrusage(syscall.RUSAGE_SELF, &after)
				cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
				b.ReportMetric(float64(cpu)/1e3/float64(b.N), "cpu-µs/op")
			})
		}
	}
}
