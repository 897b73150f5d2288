package journal

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever gets the checkpoints has all that verification needs, though it sends elsewhere at first.
func TestCheckpointsAreAnchoredOutside(t *testing.T) {
	var mu sync.Mutex
	var kept bytes.Buffer
	var asked, elsewhere atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer trap.Close()
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if asked.Add(1) == 1 {
			http.Redirect(w, r, trap.URL, http.StatusTemporaryRedirect)
			return
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %s", r.Method, r.Header.Get("Content-Type"))
		}
		mu.Lock()
		defer mu.Unlock()
		kept.Write(body)
	}))
	defer outside.Close()

	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "anchored.jsonl")
	j := open(t, Options{Dir: dir, AnchorURL: outside.URL, AnchorCommand: []string{"sh", "-c", `cat >> "$0"`, file}})
	for i := range 5 {
		j.Append(sample(idOf(i), time.Now(), 1), nil)
		j.second(time.Now())
	}
	closeJournal(t, j) // which hands out what waits
	mu.Lock()
	defer mu.Unlock()
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := checkpoints(t, dir)[1:] // the first is older than the anchor
	for name, text := range map[string][]byte{"the address": kept.Bytes(), "the command": written} {
		got, err := ReadCheckpoints(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if !bytes.Equal(a, b) {
			t.Errorf("%s has got %d checkpoints: %s\nnot %d: %s", name, len(got), a, len(want), b)
		}
		if r := sound(t, dir, Trust{Checkpoints: got}); r.Confirmed != len(want) {
			t.Errorf("%d of %d agree", r.Confirmed, len(want))
		}
	}
	if elsewhere.Load() > 0 {
		t.Error("a checkpoint was sent to where a redirect leads")
	}
}

// A receiver that is stuck holds up nothing, and gets the newest once it goes on.
func TestAStuckReceiverOfCheckpointsHoldsUpNothing(t *testing.T) {
	release, arrived, got := make(chan struct{}), make(chan struct{}, 100), []Checkpoint{}
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		c, err := ReadCheckpoints(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, c...) // one at a time
	}))
	defer outside.Close()
	a := newAnchor(outside.URL, nil, 5, quiet)
	a.add(Checkpoint{Count: 1})
	<-arrived
	for i := range 20 {
		a.add(Checkpoint{Count: uint64(2 + i)})
	}
	close(release)
	a.close()
	var counts []uint64
	for _, c := range got {
		counts = append(counts, c.Count)
	}
	if want := []uint64{1, 17, 18, 19, 20, 21}; !slices.Equal(counts, want) {
		t.Errorf("the checkpoints %v were handed out, want %v", counts, want)
	}
}
