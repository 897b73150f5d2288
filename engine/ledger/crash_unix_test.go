//go:build unix

package ledger_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/journal"
	"chaperone/engine/ledger"
)

// TestMain is also the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEDGER_TEST_DIR"); dir != "" {
		child(dir, os.Getenv("LEDGER_TEST_DATABASE"))
	}
	os.Exit(m.Run())
}

// child records and enters until it is killed, and says which answers would have ended.
func child(dir, database string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	j, err := journal.Open(journal.Options{Dir: dir, Log: quiet, Keep: 1, SegmentBytes: 64 << 10})
	fail(err)
	l, err := ledger.Open(ledger.Options{Database: database, Journal: dir, Log: quiet})
	fail(err)
	go func() {
		for range time.Tick(2 * time.Millisecond) {
			fail(l.CatchUp(context.Background()))
		}
	}()
	var say sync.Mutex
	for w := range 4 {
		d := dice{rand.New(rand.NewPCG(rand.Uint64(), uint64(w)))}
		go func() {
			for {
				r := d.record(time.Now())
				r.Dispatched, r.Outcome.Status = true, 200
				j.Append(r, nil)
				say.Lock()
				fmt.Println(r.ID)
				say.Unlock()
			}
		}()
	}
	select {}
}

func TestAKilledProcessEntersEveryAnswerOnce(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		d, dir, database, ended := newDice(t), t.TempDir(), fresh(t), map[string]bool{}
		times := 200
		if ledger.IsURL(database) {
			times = 40 // the server is not killed, only what is in flight there
		}
		if testing.Short() {
			times = 6
		}
		for range times {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "LEDGER_TEST_DIR="+dir, "LEDGER_TEST_DATABASE="+database)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			after, n := d.IntN(150), 0 // records, so that the moment does not depend on how busy the machine is
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				id := lines.Text()
				if !strings.HasPrefix(id, "gen-") {
					t.Fatal(id)
				}
				if len(id) == len("gen-")+24 { // the last line may be cut
					ended[id] = true
				}
				if n++; n >= after {
					cmd.Process.Kill()
				}
			}
			cmd.Process.Kill()
			cmd.Wait()
		}
		j, err := journal.Open(journal.Options{Dir: dir, Log: quiet, Keep: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		report, err := journal.Verify(dir, journal.Trust{})
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("the journal does not hold: %v, %v", report.Problems, err)
		}
		l := open(t, ledger.Options{Database: database, Journal: dir})
		catchUp(t, l)
		recorded := map[string]*ledger.Generation{}
		var all []*ledger.Generation
		for e, err := range journal.Records(dir, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			if recorded[e.Record.ID] != nil {
				t.Errorf("%s is in the journal twice", e.Record.ID)
			}
			g := ledger.Of(e.Record)
			recorded[g.ID] = g
			all = append(all, g)
		}
		for id := range ended {
			if recorded[id] == nil {
				t.Errorf("%s had ended and is not in the journal", id)
			}
			if g, err := l.Generation(t.Context(), id); g == nil || err != nil {
				t.Errorf("%s had ended and is not in the ledger: %v", id, err)
			}
		}
		u, err := l.Usage(t.Context(), ledger.Query{})
		if err != nil || figuresOf(&u.Total) != expect(all, &ledger.Query{})[""] {
			t.Errorf("the ledger has %s, and the journal %s: %v", figuresOf(&u.Total), expect(all, &ledger.Query{})[""], err)
		}
		if u.Total.Requests != int64(len(recorded)) {
			t.Errorf("%d requests in the ledger, %d in the journal", u.Total.Requests, len(recorded))
		}
		t.Logf("%d answers ended, %d records, %d kills", len(ended), len(recorded), times)
	})
}
