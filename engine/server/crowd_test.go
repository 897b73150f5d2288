package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/sim"
)

var (
	streams = flag.Int("streams", 300, "slow streams at once in TestSlowStreamsAreCheap")
	profile = flag.String("streams-heap", "", "file for a heap profile of that test while they all run")
)

// crowdVariable makes this test program the other side of a router: its provider and its clients, in a process of their own so
// that the router's memory can be told from theirs.
const crowdVariable = "CHAPERONE_TEST_CROWD"

// perStream is what a slow stream may take of the router's heap.
const perStream = 24 << 10

const crowdTokens = 10

// crowd prints the address of a provider, reads which router the clients are to ask, says when all have content, and then how
// many answers came whole. An answer takes so long that all are open at once.
func crowd() int {
	clients, err := strconv.Atoi(os.Getenv(crowdVariable))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p, err := sim.Start(context.Background(), sim.Profile{Name: "one", Seed: 1, OutputTokens: sim.Distribution{P50: crowdTokens},
		TPS: sim.Distribution{P50: crowdTokens / (3 + float64(clients)/150)}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(p.URL())
	var address string
	if _, err := fmt.Scanln(&address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var begun, ended sync.WaitGroup
	whole := make(chan error, clients)
	gate := make(chan struct{}, 100) // that are not yet answered
	for i := range clients {
		gate <- struct{}{}
		begun.Add(1)
		ended.Go(func() {
			once := sync.OnceFunc(func() { begun.Done(); <-gate })
			defer once()
			whole <- slow(address, fmt.Sprintf(`{"model":"m/one","stream":true,"messages":[{"role":"user","content":"hello %d"}]}`, i), once)
		})
	}
	begun.Wait()
	fmt.Println("all have content")
	ended.Wait()
	failed := 0
	for range clients {
		if err := <-whole; err != nil {
			if failed++; failed <= 3 {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}
	fmt.Println(clients-failed, "came whole")
	return 0
}

// slow reads one stream, and holds its text against what the provider is known to say.
func slow(address, body string, content func()) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, post(body)); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("got %d %s", resp.StatusCode, text)
	}
	text, done := "", false
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			done = true
			continue
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return err
		}
		if len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != "" {
			text += chunk.Choices[0].Delta.Content
			content()
		}
	}
	right, _ := sim.Answer(sim.Profile{Seed: 1, OutputTokens: sim.Distribution{P50: crowdTokens}}, []byte(body))
	if !done || text != right.Choices[0].Text {
		return errors.New("the answer is not whole: " + text)
	}
	return lines.Err()
}

// use is what the process has after a collection.
func use() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}

// The full form: go test ./engine/server -run SlowStreams -streams 5000 -v
func TestSlowStreamsAreCheap(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector uses memory of its own; run without -race")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crowdVariable+"="+strconv.Itoa(*streams))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	line := func() string {
		if !said.Scan() {
			t.Fatalf("the crowd has ended: %v", said.Err())
		}
		return said.Text()
	}
	w := before(t, line(), "idle = \"10m\"\n[journal]\nkeep = 100\n", nil)
	var first sync.WaitGroup
	for range 20 { // what the first requests leave behind is not the streams'
		first.Go(func() {
			resp, err := client(t).Do(newRequest(t, "POST", w.url("/v1/chat/completions"), strings.Replace(chat, `"model"`, `"max_tokens":1,"model"`, 1)))
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		})
	}
	first.Wait()
	idle, goroutines := use(), runtime.NumGoroutine()
	began := time.Now()
	fmt.Fprintln(in, w.Addr())
	if said := line(); said != "all have content" {
		t.Fatal(said)
	}
	busy := use()
	took := time.Since(began)
	n := uint64(*streams)
	heap := (busy.HeapAlloc - idle.HeapAlloc) / n
	t.Logf("%d streams, open after %s: each takes %d bytes of heap, %d of stacks, %.1f goroutines; %d of the heap with what is free in it",
		n, took.Round(time.Millisecond), heap, (busy.StackInuse-idle.StackInuse)/n, float64(runtime.NumGoroutine()-goroutines)/float64(n), (busy.HeapInuse-idle.HeapInuse)/n)
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			t.Fatal(err)
		}
		pprof.Lookup("heap").WriteTo(f, 0)
		f.Close()
	}
	if heap > perStream {
		t.Errorf("a stream takes %d bytes of heap, %d are allowed", heap, perStream)
	}
	if said, want := line(), fmt.Sprint(n, " came whole"); said != want {
		t.Errorf("%s of %d", said, n)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
