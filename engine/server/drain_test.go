package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
)

// The clients of this test keep their connections and never stop asking, as SDKs under load do. One that is told to close
// its connection goes to the second server, as a load balancer would send it.
func TestNoRequestIsLostInADrain(t *testing.T) {
	profile := sim.Profile{TTFT: sim.Distribution{P50: 5, P95: 40}, TPS: sim.Distribution{P50: 2000}, OutputTokens: sim.Distribution{P50: 20}}
	old := open(t, profile, func(s *engine.Server) { s.DrainDelay, s.DrainTimeout = 2*time.Second, patience }) // time for a busy machine to ask once more
	fresh := open(t, profile, nil)
	const clients = 24
	var atIt, moved sync.WaitGroup
	var stop atomic.Bool
	var answered atomic.Int64
	failures := make(chan error, clients)
	atIt.Add(clients)
	moved.Add(clients)
	for i := range clients {
		go func() {
			err := hammer(old.Addr(), fresh.Addr(), i, &stop, &answered, atIt.Done, moved.Done)
			failures <- err
		}()
	}
	atIt.Wait()
	if err := old.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	moved.Wait()
	stop.Store(true)
	for range clients {
		if err := next(t, failures, "client"); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d answers", answered.Load())
}

// hammer asks one request after another, streamed or not or with pauses by its number, until stop. It calls atIt once it has four
// answers, and moved when it asks the second server; both also where it fails.
func hammer(first, second net.Addr, number int, stop *atomic.Bool, answered *atomic.Int64, atIt, moved func()) error {
	begun, done := sync.OnceFunc(atIt), sync.OnceFunc(moved)
	defer begun()
	defer done()
	addr := first
	for n := 0; !stop.Load(); {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			return err
		}
		from := bufio.NewReader(c)
		c.SetDeadline(time.Now().Add(patience))
		for closing := false; !closing && !stop.Load(); n++ {
			body := chat
			if (n+number)%2 == 0 {
				body = stream
			}
			if _, err := io.WriteString(c, post(body)); err != nil {
				return fmt.Errorf("request %d of client %d: %w", n, number, err)
			}
			resp, err := http.ReadResponse(from, nil)
			if err != nil {
				return fmt.Errorf("request %d of client %d: %w", n, number, err)
			}
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK || body == stream && !strings.HasSuffix(string(text), "data: [DONE]\n\n") {
				return fmt.Errorf("request %d of client %d: %d %q, %w", n, number, resp.StatusCode, text, err)
			}
			answered.Add(1)
			if n >= 3 {
				begun()
			}
			closing = resp.Close
			time.Sleep(time.Duration(number%5) * time.Millisecond) // think
		}
		c.Close()
		if addr == first {
			addr = second
			done()
		}
	}
	return nil
}

func TestADrainSaysSoAndWaitsForStreams(t *testing.T) {
	w := open(t, sim.Profile{TTFT: sim.Distribution{P50: 1}, TPS: sim.Distribution{P50: 40}, OutputTokens: sim.Distribution{P50: 140}},
		func(s *engine.Server) { s.DrainDelay, s.DrainTimeout = 2*time.Second, patience })
	idle := dial(t, w.Addr())
	idleFrom := bufio.NewReader(idle)
	send(t, idle, "GET /readyz HTTP/1.1\r\nHost: router\r\n\r\n")
	if resp, text := read(t, idleFrom); resp.StatusCode != http.StatusOK || resp.Close || text != `{"status":"ready"}` {
		t.Errorf("before: %d %s", resp.StatusCode, text)
	}
	untouched := dial(t, w.Addr())
	busy := dial(t, w.Addr())
	busyFrom := bufio.NewReader(busy)
	send(t, busy, post(stream))
	next(t, w.began, "request at the provider")

	private := client(t)
	down := make(chan error, 1)
	go func() { down <- w.Shutdown(context.Background()) }()
	for {
		resp, text := do(t, private, newRequest(t, "GET", "http://"+w.PrivateAddr().String()+"/readyz", ""))
		if resp.StatusCode == http.StatusServiceUnavailable {
			if !strings.Contains(text, "the router is shutting down") {
				t.Error(text)
			}
			break
		}
	}
	late := dial(t, w.Addr())
	send(t, late, post(chat))
	next(t, w.began, "request at the provider")
	send(t, idle, "GET /readyz HTTP/1.1\r\nHost: router\r\n\r\n")
	if resp, _ := read(t, idleFrom); resp.StatusCode != http.StatusServiceUnavailable || !resp.Close {
		t.Errorf("readyz in the delay: %d, close %v", resp.StatusCode, resp.Close)
	}
	if resp, text := read(t, bufio.NewReader(late)); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("a new request in the delay: %d %s, close %v", resp.StatusCode, text, resp.Close)
	}
	if resp, text := read(t, busyFrom); resp.StatusCode != http.StatusOK || !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("the stream ended in %q", text[max(0, len(text)-100):])
	}
	for name, c := range map[string]net.Conn{"one that never spoke": untouched, "one that streamed": busy} {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := next(t, down, "end of the drain"); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", w.Addr().String()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestWhatOutlastsADrainIsToldSo(t *testing.T) {
	w := open(t, sim.Profile{Faults: []sim.Fault{{Kind: sim.Stall, Share: 1, AfterTokens: 3}}},
		func(s *engine.Server) { s.DrainTimeout = 50 * time.Millisecond })
	streaming, whole := dial(t, w.Addr()), dial(t, w.Addr())
	send(t, streaming, post(stream))
	readUntil(t, streaming, "content")
	send(t, whole, post(chat))
	next(t, w.began, "request at the provider")
	next(t, w.began, "request at the provider")
	err := w.Shutdown(context.Background())
	if want := "requests were ended before their answers were complete"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	rest, err := io.ReadAll(streaming)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(rest); !strings.Contains(text, "the router shut down before the answer was complete") ||
		strings.Contains(text, "[DONE]") || strings.HasSuffix(text, "0\r\n\r\n") {
		t.Errorf("the stream ended in %q", text[max(0, len(text)-500):])
	}
	if resp, text := read(t, bufio.NewReader(whole)); resp.StatusCode != http.StatusServiceUnavailable || !resp.Close ||
		!strings.Contains(text, "the router shut down before the answer was complete") {
		t.Errorf("got %d %s", resp.StatusCode, text)
	}
	for range 2 {
		if r := next(t, w.ended, "end at the provider"); !r.Cancelled {
			t.Error("the provider was not cancelled")
		}
	}
}
