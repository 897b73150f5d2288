//go:build unix

package main

import (
	"bufio"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/journal"
	"chaperone/engine/ledger"
	"chaperone/engine/sim"
)

var kills = flag.Int("kills", 6, "how often TestAKilledRouterForgetsNoAnswer kills the router")

// TestAKilledRouterForgetsNoAnswer kills a router under load again and again: every answer of which a client has seen the end is
// in the journal, whose chain holds, and in the ledger once.
func TestAKilledRouterForgetsNoAnswer(t *testing.T) {
	for name, database := range map[string]func(*testing.T) string{"sqlite": func(*testing.T) string { return "" }, "postgres": newDatabase} {
		t.Run(name, func(t *testing.T) {
			w := recording(t, database(t), "segment_bytes = 1048576\n")
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			times := *kills
			if testing.Short() {
				times = min(times, 2)
			}
			ended := map[string]bool{}
			for range times {
				w.crash(t, random.IntN(120), ended)
			}
			w.hold(t, ended)
		})
	}
}

// newDatabase is the address of an empty database on the tests' PostgreSQL, which goes with the test.
func newDatabase(t *testing.T) string {
	t.Helper()
	server := os.Getenv("CHAPERONE_TEST_POSTGRES")
	if server == "" {
		missing(t, "no PostgreSQL: install Debian's package postgresql and set CHAPERONE_TEST_POSTGRES to what \".ci/postgres start DIR\" prints")
	}
	db, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("router_%x", rand.Uint64())
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
		db.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// recorder is a router that is to record all that it answers, as a process of its own.
type recorder struct {
	config, dir string // of the journal
	database    string // of the ledger
	router      *exec.Cmd
	said        *lines
	url         string
	private     string
	client      *http.Client
}

// recording has a configuration with more of [journal] in it, and a ledger at an address, or beside the journal where that is "".
func recording(t *testing.T, address, more string) *recorder {
	t.Helper()
	provider, err := sim.Start(t.Context(), sim.Profile{Name: "good", OutputTokens: sim.Distribution{P50: 4}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	kept := ""
	if address != "" {
		kept = "[ledger]\ndatabase_env = \"LEDGER_ADDRESS\"\n"
		t.Setenv("LEDGER_ADDRESS", address)
	}
	w := &recorder{database: address, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}}
	w.config = write(t, "chaperone.toml", fmt.Sprintf(`%s[server]
listen = "127.0.0.1:0"
private_listen = "127.0.0.1:0"
drain_delay = "0s"
[journal]
dir = "journal"
%s[organisations.acme]
[[keys]]
organisation = "acme"
sha256 = "%x"
[models."m/one"]
context_length = 32000
[providers.good]
name = "Good"
dialect = "openai"
base_url = %q
[providers.good.credentials.own]
auth = "none"
[[endpoints]]
model = "m/one"
provider = "good"
upstream_model = "x"
price = { prompt = 1, completion = 1 }
`, kept, more, sha256.Sum256([]byte("sk-acme")), provider.URL()))
	w.dir = filepath.Join(filepath.Dir(w.config), "journal")
	if address == "" {
		w.database = filepath.Join(w.dir, "ledger.sqlite")
	}
	return w
}

// start runs the router.
func (w *recorder) start(t *testing.T) {
	t.Helper()
	w.router = exec.Command(os.Args[0], "serve", "--json", "--config", w.config)
	w.router.Env = append(os.Environ(), asCommand+"=1")
	w.said = &lines{}
	w.router.Stderr = w.said
	stdout, err := w.router.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.router.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.router.Process.Kill() })
	var printed struct {
		URL     string
		Private string `json:"private_url"`
	}
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&printed); err != nil {
		t.Fatalf("serve printed no address: %v: %s", err, w.said.String())
	}
	w.url, w.private = printed.URL, printed.Private
}

// crash runs the router until so many answers have ended, kills it in the middle of others, and notes those that ended.
func (w *recorder) crash(t *testing.T, answers int, ended map[string]bool) {
	t.Helper()
	w.start(t)
	defer w.client.CloseIdleConnections()
	ids, counted := make(chan string), make(chan struct{})
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			for {
				id, err := w.answered(n%2 == 0)
				if err != nil {
					return // the router is gone
				}
				ids <- id
			}
		})
	}
	for range answers {
		select {
		case id := <-ids:
			ended[id] = true
		case <-time.After(20 * time.Second):
			t.Fatalf("no answer in 20 s: %s", w.said.String())
		}
	}
	go func() {
		for id := range ids {
			ended[id] = true
		}
		close(counted)
	}()
	w.router.Process.Kill()
	w.router.Wait()
	clients.Wait()
	close(ids)
	<-counted
}

// answered asks once and returns the id of an answer that it has read to its end.
func (w *recorder) answered(stream bool) (id string, err error) {
	body := fmt.Sprintf(`{"model":"m/one","stream":%t,"messages":[{"role":"user","content":"hi"}]}`, stream)
	req, err := http.NewRequest(http.MethodPost, w.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer sk-acme")
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode != http.StatusOK, stream && !strings.HasSuffix(string(text), "data: [DONE]\n\n"):
		return "", fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	return resp.Header.Get("X-Generation-Id"), nil
}

// hold holds what is on disk to what clients have seen, and says how many records there are.
func (w *recorder) hold(t *testing.T, ended map[string]bool) (records int) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	j, err := journal.Open(journal.Options{Dir: w.dir, Log: log, Keep: 1}) // which mends a torn tail
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if report, err := journal.Verify(w.dir, journal.Trust{}); err != nil || len(report.Problems) > 0 {
		t.Fatalf("the journal does not hold: %v, %v", report.Problems, err)
	}
	l, err := ledger.Open(ledger.Options{Database: w.database, Journal: w.dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	recorded := map[string]int{}
	for e, err := range journal.Records(w.dir, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		recorded[e.Record.ID]++
	}
	for id := range ended {
		if recorded[id] != 1 {
			t.Errorf("%s had ended and is in the journal %d times", id, recorded[id])
		}
		if g, err := l.Generation(t.Context(), id); g == nil || err != nil {
			t.Errorf("%s had ended and is not in the ledger: %v", id, err)
		}
	}
	u, err := l.Usage(t.Context(), ledger.Query{})
	if err != nil || u.Total.Requests != int64(len(recorded)) {
		t.Errorf("%d requests in the ledger, %d in the journal: %v", u.Total.Requests, len(recorded), err)
	}
	if len(ended) == 0 {
		t.Error("no answer ended: this shows nothing")
	}
	t.Logf("%d answers ended, %d records", len(ended), len(recorded))
	return len(recorded)
}
