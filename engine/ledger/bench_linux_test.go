package ledger_test

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"chaperone/engine/journal"
	"chaperone/engine/ledger"
)

// BenchmarkRecording is what a request's own thread spends on its record, with and without a ledger that follows the journal: CPU of that
// thread alone, whatever else the machine does meanwhile. The two should not differ.
func BenchmarkRecording(b *testing.B) {
	for _, with := range []string{"without", "with"} {
		b.Run(with, func(b *testing.B) {
			dir := b.TempDir()
			j, err := journal.Open(journal.Options{Dir: dir, Keep: 1, Log: quiet})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			if with == "with" {
				l := open(b, ledger.Options{Database: dir + "/ledger.sqlite", Journal: dir})
				l.Follow()
				defer l.Close()
			}
			d := newDice(b)
			records := make([]*journal.Record, 1000)
			for i := range records {
				records[i] = d.record(time.Now())
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var before, after unix.Rusage
			unix.Getrusage(unix.RUSAGE_THREAD, &before)
			for i := 0; b.Loop(); i++ {
				r := *records[i%len(records)]
				r.ID = d.id()
				j.Append(&r, nil)
			}
			unix.Getrusage(unix.RUSAGE_THREAD, &after)
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(cpu)/1e3/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkEntering is what the ledger itself spends on a record, of the process's CPU.
func BenchmarkEntering(b *testing.B) {
	dir := b.TempDir()
	j, err := journal.Open(journal.Options{Dir: dir, Keep: 1, Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	d := newDice(b)
	for range 5000 {
		j.Append(d.record(time.Now()), nil)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	n := 0
	for b.Loop() {
		l := open(b, ledger.Options{Database: b.TempDir() + "/ledger.sqlite", Journal: dir})
		if err := l.CatchUp(b.Context()); err != nil {
			b.Fatal(err)
		}
		n += 5000
	}
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/1e3/float64(n), "cpu-µs/record")
}
