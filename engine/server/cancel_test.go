package server_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine/sim"
)

var cancelled = flag.Int("cancelled", 400, "requests in TestCancellationLeaksNothing")

// descriptors is how many files and sockets the process has open; 0 where the platform does not say.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// Clients go away at any moment: while they send, while they wait, between headers and content, and in the middle of an answer.
// Afterwards nothing is left of them: no request at the provider, no goroutine, no connection, nothing in flight. Those that
// stay get their answers. The full form: go test ./engine/server -run CancellationLeaks -cancelled 10000
func TestCancellationLeaksNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	slow := sim.Profile{TTFT: sim.Distribution{P50: 30, P95: 120}, TPS: sim.Distribution{P50: 150, P95: 400}, OutputTokens: sim.Distribution{P50: 20},
		Faults: []sim.Fault{{Kind: sim.Status, Status: 500, Share: 0.05}, {Kind: sim.Stall, AfterTokens: 3, Share: 0.05}, {Kind: sim.Silent, Share: 0.02}}}
	w := openWith(t, slow, "early_headers = \"100ms\"\nidle = \"400ms\"\nfirst_byte = \"400ms\"\nanswer = \"800ms\"\n[dispatch.breaker]\nfailures = 1000000\nattempts = 1000000\n[load]\nin_flight = 48\nqueue = 40\n", nil)
	w.provider.OnRequest(func(sim.Record) {})
	w.provider.OnEnd(func(sim.Record) {})
	first := newRequest(t, "POST", w.url("/v1/chat/completions"), chat)
	first.Close = true
	do(t, client(t), first) // what stays for good is there now
	settle(t, w)
	goroutines, files := len(working()), descriptors()

	const clients = 64
	var left, whole, refused atomic.Int64
	moments := make([]atomic.Int64, 4)
	jobs := make(chan uint64)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for n := range jobs {
				r := rand.New(rand.NewPCG(seed, n))
				c, err := net.Dial("tcp", w.Addr().String())
				if err != nil {
					t.Error(err)
					continue
				}
				body := []string{chat, stream}[r.IntN(2)]
				stays := r.IntN(8) == 0
				if !stays {
					time.AfterFunc(time.Duration(r.IntN(250))*time.Millisecond, func() {
						if r := n % 2; r == 0 {
							c.(*net.TCPConn).SetLinger(0) // a reset
						}
						c.Close()
					})
				}
				io.WriteString(c, post(body))
				answer, _ := io.ReadAll(&untilEnd{r: c})
				switch {
				case bytes.Contains(answer, []byte(" 503 ")) || bytes.Contains(answer, []byte(" 502 ")) || bytes.Contains(answer, []byte(" 504 ")) || bytes.Contains(answer, []byte(`"error"`)):
					refused.Add(1)
				case ended(answer):
					whole.Add(1)
				case stays:
					t.Errorf("seed %d: request %d stayed and got %q", seed, n, answer)
				default:
					left.Add(1)
					moments[moment(answer, body == stream)].Add(1)
				}
				c.Close()
			}
		})
	}
	for n := range *cancelled {
		jobs <- uint64(n)
	}
	close(jobs)
	all.Wait()
	settle(t, w)
	t.Logf("%d requests: %d went away (%d of answers in one piece, %d before a stream's head, %d before its content, %d in the middle), %d whole, %d refused or failed",
		*cancelled, left.Load(), moments[0].Load(), moments[1].Load(), moments[2].Load(), moments[3].Load(), whole.Load(), refused.Load())
	if whole.Load() == 0 || left.Load() < int64(*cancelled/4) {
		t.Error("the moments are not random enough")
	}
	for i := range moments {
		if moments[i].Load() == 0 && *cancelled >= 5000 {
			t.Errorf("nobody went away at moment %d", i)
		}
	}
	until(t, "nothing is in flight", func() bool { return w.metric(t, "chaperone_requests_in_flight 0") })
	if !w.metric(t, `chaperone_endpoint_in_flight{endpoint="m/one@one"} 0`) || w.metric(t, `chaperone_organisation_in_flight{organisation="acme"} 1`) {
		t.Error("a place was not given back")
	}
	if err := w.provider.Close(); err != nil { // and with it the connections to it that are kept
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		left := working()
		if len(left) <= goroutines && descriptors() <= files {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d descriptors are left, there were %d and %d\n%s", len(left), descriptors(), goroutines, files, strings.Join(left, "\n\n"))
		}
	}
}

// working are the goroutines that are there, without workers of fasthttp that wait for a connection: they stay a while.
func working() (stacks []string) {
	var all bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&all, 2)
	for _, g := range strings.Split(all.String(), "\n\n") {
		if !strings.Contains(g, "fasthttp.(*workerPool).workerFunc") || strings.Contains(g, "serveConn") {
			stacks = append(stacks, g)
		}
	}
	return stacks
}

// settle waits until the provider has nothing open.
func settle(t *testing.T, w *world) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.provider.Settle(ctx); err != nil {
		t.Fatalf("%d requests are still open at the provider", w.provider.Counts().Open)
	}
}

// ended says whether an answer came to its end, streamed or not.
func ended(answer []byte) bool {
	return bytes.Contains(answer, []byte("data: [DONE]")) || bytes.HasSuffix(answer, []byte("}")) && bytes.Contains(answer, []byte(`"usage"`))
}

// moment is when a client went away that has this much of its answer.
func moment(answer []byte, streamed bool) int {
	switch {
	case !streamed:
		return 0
	case len(answer) == 0:
		return 1
	case !strings.Contains(string(answer), `"content":"`):
		return 2
	}
	return 3
}

// untilEnd reads up to the end of one answer.
type untilEnd struct {
	r   io.Reader
	got []byte
}

func (u *untilEnd) Read(p []byte) (int, error) {
	if ended(u.got) || bytes.Contains(u.got, []byte(`"error"`)) {
		return 0, io.EOF
	}
	n, err := u.r.Read(p)
	u.got = append(u.got, p[:n]...)
	return n, err
}
