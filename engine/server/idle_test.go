package server_test

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"chaperone/engine"
	"chaperone/engine/dispatch"
	"chaperone/engine/route"
	"chaperone/engine/server"
	"chaperone/engine/sim"
)

// witness tells, without keeping any of it, what a request and its answer consist of.
type witness struct {
	server.Router
	body   chan weak.Pointer[byte]
	plan   chan weak.Pointer[route.Plan]
	stream chan weak.Pointer[dispatch.Stream]
}

func (w *witness) Do(ctx context.Context, c engine.Call) (*dispatch.Response, error) {
	w.body <- weak.Make(&c.Body[0])
	resp, err := w.Router.Do(ctx, c)
	if err == nil {
		w.plan <- weak.Make(resp.Plan)
		w.stream <- weak.Make(resp.Stream)
	}
	return resp, err
}

// A connection that waits for its next request holds none of the last: thousands that are idle would hold as many prompts.
func TestAnIdleConnectionLetsGoOfItsLastRequest(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	settings := w.engine.Settings().Server
	settings.Listen, settings.PrivateListen, settings.DrainDelay = "127.0.0.1:0", "", 0
	seen := &witness{w.engine, make(chan weak.Pointer[byte], 10), make(chan weak.Pointer[route.Plan], 10), make(chan weak.Pointer[dispatch.Stream], 10)}
	s, err := server.New(seen, settings, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	// As on a router with many connections. A timer that was stopped stays with the runtime until there are too many of them.
	var timers sync.WaitGroup
	for range 1000 {
		timers.Go(func() {
			timer := time.AfterFunc(time.Hour, func() {})
			t.Cleanup(func() { timer.Stop() })
		})
	}
	timers.Wait()
	for name, body := range map[string]string{"stream": stream, "whole": chat} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.Addr())
			from := bufio.NewReader(c)
			send(t, c, post(strings.Replace(body, "hello", strings.Repeat("hello ", 10_000), 1)))
			if resp, text := read(t, from); resp.StatusCode != http.StatusOK || resp.Close {
				t.Fatalf("got %d, closing: %t, %s", resp.StatusCode, resp.Close, text)
			}
			prompt, plan, events := <-seen.body, <-seen.plan, <-seen.stream
			until(t, "it is let go of", func() bool {
				runtime.GC()
				return prompt.Value() == nil && plan.Value() == nil && events.Value() == nil
			})
			send(t, c, post(chat)) // it was idle, and serves on
			if resp, text := read(t, from); resp.StatusCode != http.StatusOK {
				t.Errorf("got %d %s", resp.StatusCode, text)
			}
			<-seen.body
			<-seen.plan
			<-seen.stream
		})
	}
}
