package dispatch_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"chaperone/engine"
	"chaperone/engine/wire"
)

// However many kept connections have gone stale at once, as with a provider that restarts: the next attempt goes by a new one.
func TestOneAttemptFindsOutThatConnectionsAreStale(t *testing.T) {
	const kept = 5
	var mu sync.Mutex
	restarts, of := 0, map[string]int{} // by the client's end of a connection, after how many it was made
	var all sync.WaitGroup              // requests that wait for each other, so that each has a connection of its own
	all.Add(kept)
	e := said(t, "sk-upstream", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		made, met := of[r.RemoteAddr]
		if !met {
			of[r.RemoteAddr], made = restarts, restarts
		}
		stale, first := made < restarts, restarts == 0
		mu.Unlock()
		if stale {
			panic(http.ErrAbortHandler)
		}
		if first {
			all.Done()
			all.Wait()
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	})
	ask := func() string {
		resp, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)})
		var told *wire.Error
		if errors.As(err, &told) {
			return outcomes(e.Record(told.DecisionID))
		}
		return outcomes(e.Record(resp.Plan.ID))
	}
	var clients sync.WaitGroup
	for range kept {
		clients.Go(func() {
			if got := ask(); got != "p:ok" {
				t.Error(got)
			}
		})
	}
	clients.Wait()
	for range 2 {
		mu.Lock()
		restarts++
		mu.Unlock()
		if got := ask(); !strings.HasSuffix(got, "p:ok") || strings.Count(got, "p:stale") > 1 {
			t.Errorf("%s, want p:stale p:ok", got)
		}
	}
}

// A connection to a provider serves on after a stream as it does after a whole answer, though the end of the body comes behind the
// end mark.
func TestAConnectionOutlivesItsStream(t *testing.T) {
	const streams = 20
	var mu sync.Mutex
	connections, marked := map[string]bool{}, make(chan struct{})
	e := said(t, "sk-upstream", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connections[r.RemoteAddr] = true
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
		w.(http.Flusher).Flush()
		<-marked
	})
	for range streams {
		resp, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","stream":true,"messages":[{"role":"user","content":"hi"}]}`)})
		if err != nil {
			t.Fatal(err)
		}
		for {
			events, err := resp.Stream.Next()
			if err != nil {
				break
			}
			if strings.Contains(string(events), "[DONE]") {
				marked <- struct{}{}
			}
		}
	}
	if n := len(connections); n > streams/2 { // a busy machine may be too slow for one or the other
		t.Errorf("%d streams took %d connections", streams, n)
	}
}
