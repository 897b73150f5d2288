//go:build unix

package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
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
	provider, err := sim.Start(t.Context(), sim.Profile{Name: "good", OutputTokens: sim.Distribution{P50: 4}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	config := write(t, "chaperone.toml", fmt.Sprintf(`[server]
listen = "127.0.0.1:0"
private_listen = ""
[journal]
dir = "journal"
segment_bytes = 1048576
[organisations.acme]
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
`, sha256.Sum256([]byte("sk-acme")), provider.URL()))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	times := *kills
	if testing.Short() {
		times = min(times, 2)
	}
	ended := map[string]bool{}
	for range times {
		crash(t, config, random.IntN(120), ended)
	}
	hold(t, filepath.Join(filepath.Dir(config), "journal"), ended)
}

// crash runs a router until so many answers have ended, kills it in the middle of others, and notes those that ended.
func crash(t *testing.T, config string, answers int, ended map[string]bool) {
	t.Helper()
	router := exec.Command(os.Args[0], "serve", "--json", "--config", config)
	router.Env = append(os.Environ(), asCommand+"=1")
	said := &lines{}
	router.Stderr = said
	stdout, err := router.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := router.Start(); err != nil {
		t.Fatal(err)
	}
	var printed struct{ URL string }
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&printed); err != nil {
		t.Fatalf("serve printed no address: %v: %s", err, said.text.String())
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	ids, counted := make(chan string), make(chan struct{})
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			for {
				id, err := answered(client, printed.URL, n%2 == 0)
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
			t.Fatalf("no answer in 20 s: %s", said.text.String())
		}
	}
	go func() {
		for id := range ids {
			ended[id] = true
		}
		close(counted)
	}()
	router.Process.Kill()
	router.Wait()
	clients.Wait()
	close(ids)
	<-counted
}

// answered asks once and returns the id of an answer that it has read to its end.
func answered(client *http.Client, url string, stream bool) (id string, err error) {
	body := fmt.Sprintf(`{"model":"m/one","stream":%t,"messages":[{"role":"user","content":"hi"}]}`, stream)
	req, err := http.NewRequest(http.MethodPost, url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer sk-acme")
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
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

// hold holds what is on disk to what clients have seen.
func hold(t *testing.T, dir string, ended map[string]bool) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	j, err := journal.Open(journal.Options{Dir: dir, Log: log, Keep: 1}) // which mends a torn tail
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if report, err := journal.Verify(dir, journal.Trust{}); err != nil || len(report.Problems) > 0 {
		t.Fatalf("the journal does not hold: %v, %v", report.Problems, err)
	}
	l, err := ledger.Open(ledger.Options{Database: filepath.Join(dir, "ledger.sqlite"), Journal: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	recorded := map[string]int{}
	for e, err := range journal.Records(dir, time.Time{}) {
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
}
