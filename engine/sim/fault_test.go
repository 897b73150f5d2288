package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// outcome is what a client makes of one request, in a line.
func outcome(t *testing.T, p *sim.Provider, body string) string {
	t.Helper()
	resp, err := client.Do(request(t, p, "sk-canary", body))
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF):
		return "closed"
	case err != nil:
		return "failed: " + err.Error()
	}
	defer resp.Body.Close()
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	line := fmt.Sprint(resp.StatusCode, " ", kind)
	if location := resp.Header.Get("Location"); location != "" {
		line += " to " + location
	}
	if wait := resp.Header.Get("Retry-After"); wait != "" {
		line += " retry after " + wait
	}
	if kind == "text/event-stream" {
		s, err := readStream(t, resp.Body)
		line += fmt.Sprintf(" words=%d finish=%v done=%v malformed=%d error=%v broken=%v",
			countTokens(s.texts[0]), s.finish, s.done, s.malformed, s.errorEvent != "", err != nil)
		return line
	}
	b, err := io.ReadAll(resp.Body)
	code := ""
	for _, c := range []string{"context_length_exceeded", "content_policy_violation", "unsupported_parameter", "overloaded",
		"server_error", "rate_limit_exceeded", "sk-canary", "model_not_found", "<html>", `"finish_reason":"stop"`} {
		if strings.Contains(string(b), c) {
			code = " " + c
			break
		}
	}
	return fmt.Sprintf("%s json=%v%s broken=%v", line, json.Valid(b), code, err != nil)
}

// countTokens counts the tokens of the answer to body("x") that text is the beginning of.
func countTokens(text string) int {
	for n := 1; n <= 12; n++ {
		c, err := sim.Answer(sim.Profile{OutputTokens: fixed(float64(n))}, []byte(body("x")))
		if err == nil && c.Choices[0].Text == text {
			return n
		}
	}
	if text == "" {
		return 0
	}
	return -1
}

func TestEachFaultAtTheWire(t *testing.T) {
	const well = " words=12 finish=[stop] done=true malformed=0 error=false broken=false"
	for _, test := range []struct {
		fault         sim.Fault
		whole, stream string
	}{
		{sim.Fault{Kind: sim.Reset}, "reset", "reset"},
		{sim.Fault{Kind: sim.Close}, "closed", "closed"},
		{sim.Fault{Kind: sim.Status, Status: 500}, "500 application/json json=true server_error broken=false", "="},
		{sim.Fault{Kind: sim.Status, Status: 502}, "502 application/json json=true server_error broken=false", "="},
		{sim.Fault{Kind: sim.Status, Status: 503, RetryAfter: 1500 * time.Millisecond}, "503 application/json retry after 2 json=true overloaded broken=false", "="},
		{sim.Fault{Kind: sim.Status, Status: 429}, "429 application/json retry after 1 json=true rate_limit_exceeded broken=false", "="},
		{sim.Fault{Kind: sim.Status, Status: 401}, "401 application/json json=true sk-canary broken=false", "="},
		{sim.Fault{Kind: sim.Status, Status: 404}, "404 application/json json=true model_not_found broken=false", "="},
		{sim.Fault{Kind: sim.ContextLength}, "400 application/json json=true context_length_exceeded broken=false", "="},
		{sim.Fault{Kind: sim.ContentPolicy}, "400 application/json json=true content_policy_violation broken=false", "="},
		{sim.Fault{Kind: sim.UnsupportedParameter}, "400 application/json json=true unsupported_parameter broken=false", "="},
		{sim.Fault{Kind: sim.Slow, Delay: 30 * time.Millisecond}, `200 application/json json=true "finish_reason":"stop" broken=false`, "200 text/event-stream" + well},
		{sim.Fault{Kind: sim.Cut, AfterTokens: 5}, "200 application/json json=false broken=true",
			"200 text/event-stream words=5 finish=[] done=false malformed=0 error=false broken=true"},
		{sim.Fault{Kind: sim.Cut}, "200 application/json json=false broken=true",
			"200 text/event-stream words=0 finish=[] done=false malformed=0 error=false broken=true"},
		{sim.Fault{Kind: sim.Truncate, AfterTokens: 5}, "200 application/json json=false broken=false",
			"200 text/event-stream words=5 finish=[] done=false malformed=0 error=false broken=false"},
		{sim.Fault{Kind: sim.Truncate, AfterTokens: 99}, `200 application/json json=false "finish_reason":"stop" broken=false`,
			"200 text/event-stream words=12 finish=[] done=false malformed=0 error=false broken=false"},
		{sim.Fault{Kind: sim.NoDone}, `200 application/json json=true "finish_reason":"stop" broken=false`,
			"200 text/event-stream words=12 finish=[stop] done=false malformed=0 error=false broken=false"},
		{sim.Fault{Kind: sim.Malformed, AfterTokens: 5}, `200 application/json json=false "finish_reason":"stop" broken=false`,
			"200 text/event-stream words=12 finish=[stop] done=true malformed=1 error=false broken=false"},
		{sim.Fault{Kind: sim.ErrorEvent}, "200 application/json json=true server_error broken=false",
			"200 text/event-stream words=0 finish=[] done=false malformed=0 error=true broken=false"},
		{sim.Fault{Kind: sim.ErrorEvent, AfterTokens: 5, Status: 503}, "200 application/json json=true overloaded broken=false",
			"200 text/event-stream words=5 finish=[] done=false malformed=0 error=true broken=false"},
		{sim.Fault{Kind: sim.Malformed, Events: 4}, `200 application/json json=false "finish_reason":"stop" broken=false`,
			"200 text/event-stream words=12 finish=[stop] done=true malformed=4 error=false broken=false"},
		{sim.Fault{Kind: sim.EarlyDone, AfterTokens: 5}, "200 application/json json=true broken=false",
			"200 text/event-stream words=5 finish=[] done=true malformed=0 error=false broken=false"},
		{sim.Fault{Kind: sim.ErrorFinish, AfterTokens: 5}, "200 application/json json=true broken=false",
			"200 text/event-stream words=5 finish=[error] done=true malformed=0 error=false broken=false"},
		{sim.Fault{Kind: sim.ErrorBody, Status: 429, Form: "bare"}, "200 application/json json=true broken=false", "="},
		{sim.Fault{Kind: sim.ErrorBody, Status: 503, Form: "array"}, "200 application/json json=true overloaded broken=false", "="},
		{sim.Fault{Kind: sim.ErrorBody, Form: "text"}, "200 application/json json=true broken=false", "="},
		{sim.Fault{Kind: sim.ErrorBody, Form: "detail"}, "200 application/json json=true broken=false", "="},
		{sim.Fault{Kind: sim.ErrorBody}, "200 application/json json=true server_error broken=false", "="},
		{sim.Fault{Kind: sim.Empty}, "200 application/json json=false broken=false", "="},
		{sim.Fault{Kind: sim.ContentType}, `200 text/plain json=true "finish_reason":"stop" broken=false`,
			`200 text/plain json=false "finish_reason":"stop" broken=false`},
		{sim.Fault{Kind: sim.HTML}, "502 text/html json=false <html> broken=false", "="},
		{sim.Fault{Kind: sim.HTML, Status: 200}, "200 text/html json=false <html> broken=false", "="},
		{sim.Fault{Kind: sim.Redirect}, "307  to /v1/chat/completions json=false broken=false", "="},
		{sim.Fault{Kind: sim.Redirect, Status: 302, Location: "http://other.test/"}, "302  to http://other.test/ json=false broken=false", "="},
	} {
		name := fmt.Sprint(test.fault.Kind, test.fault.Status, " ", test.fault.AfterTokens)
		t.Run(name, func(t *testing.T) {
			test.fault.Share = 1
			p := start(t, sim.Profile{OutputTokens: fixed(12), Faults: []sim.Fault{test.fault}})
			if test.stream == "=" {
				test.stream = test.whole
			}
			if got := outcome(t, p, body("x")); got != test.whole {
				t.Errorf("whole: got    %s\nshould be %s", got, test.whole)
			}
			if got := outcome(t, p, body("x", `"stream":true`)); got != test.stream {
				t.Errorf("streamed: got    %s\nshould be %s", got, test.stream)
			}
			for _, r := range settled(t, p) {
				if r.Fate != test.fault.Kind || r.Cancelled {
					t.Errorf("logged as %+v; should be %s and not cancelled", r, test.fault.Kind)
				}
			}
		})
	}
}

// Silence ends only when the client goes away, and the provider sees that it does.
func TestSilenceLastsUntilTheClientLeaves(t *testing.T) {
	for _, fault := range []sim.Fault{
		{Kind: sim.Silent},
		{Kind: sim.Stall},
		{Kind: sim.Stall, AfterTokens: 3},
		{Kind: sim.Slow, Delay: time.Hour},
	} {
		for _, stream := range []string{"true", "false"} {
			t.Run(fmt.Sprint(fault.Kind, fault.AfterTokens, stream), func(t *testing.T) {
				fault.Share = 1
				p := start(t, sim.Profile{OutputTokens: fixed(12), Faults: []sim.Fault{fault}})
				met := make(chan struct{})
				p.OnRequest(func(sim.Record) { close(met) })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				gone := make(chan error)
				go func() {
					resp, err := client.Do(request(t, p, "", body("x", `"stream":`+stream)).WithContext(ctx))
					if err == nil {
						_, err = io.ReadAll(resp.Body)
						resp.Body.Close()
					}
					gone <- err
				}()
				<-met
				if c := p.Counts(); c.Open != 1 {
					t.Errorf("%d requests are open, should be 1", c.Open)
				}
				cancel()
				if err := <-gone; !errors.Is(err, context.Canceled) {
					t.Errorf("the client got %v, should have waited until it left", err)
				}
				r := settled(t, p)[0]
				if !r.Cancelled || r.Fate != fault.Kind || p.Counts().Cancelled != 1 {
					t.Errorf("logged as %+v; should be cancelled", r)
				}
			})
		}
	}
}

func TestACancelledClientIsSeenBeforeTheAnswerWouldHaveEnded(t *testing.T) {
	// 600 tokens at 10 a second: a minute that nobody waits for.
	p := start(t, sim.Profile{TPS: fixed(10), OutputTokens: fixed(600)})
	for _, stream := range []string{"true", "false"} {
		met := make(chan struct{}, 1)
		p.OnRequest(func(sim.Record) { met <- struct{}{} })
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			resp, err := client.Do(request(t, p, "", body("x", `"stream":`+stream)).WithContext(ctx))
			if err == nil {
				io.ReadAll(resp.Body)
				resp.Body.Close()
			}
		}()
		<-met
		left := time.Now()
		cancel()
		log := settled(t, p)
		r := log[len(log)-1]
		if !r.Cancelled || r.Tokens >= 600 || r.Fate != sim.Served {
			t.Errorf("stream %s: logged as %+v; should be cancelled before its end", stream, r)
		}
		if seen := r.Ended.Sub(left); seen > 5*time.Second {
			t.Errorf("stream %s: noticed after %v", stream, seen)
		}
	}
}

func TestABodyThatNeverEndsIsLogged(t *testing.T) {
	p := start(t, sim.Profile{})
	ended := make(chan sim.Record, 1)
	p.OnEnd(func(r sim.Record) { ended <- r })
	connection, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(p.URL(), "http://"), "/v1"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(connection, "POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nContent-Length: 100\r\n\r\n{\"model\":")
	connection.Close()
	if got := <-ended; got.Fate != sim.Unread || !got.Cancelled || got.BodyBytes != 9 {
		t.Errorf("logged as %+v; should be unread and cancelled after 9 bytes", got)
	}
}

var mixed = []sim.Fault{
	{Kind: sim.Status, Share: 0.2, Status: 500},
	{Kind: sim.Reset, Share: 0.1},
	{Kind: sim.Truncate, Share: 0.2, AfterTokens: 1},
}

func fates(t *testing.T, p *sim.Provider) []sim.Kind {
	var all []sim.Kind
	for _, r := range settled(t, p) {
		all = append(all, r.Fate)
	}
	return all
}

func TestFatesFollowFromSeedNameAndPlace(t *testing.T) {
	run := func(profile sim.Profile, pause time.Duration) []sim.Kind {
		profile.Faults, profile.TTFT = mixed, sim.Distribution{P50: float64(pause.Milliseconds())}
		p := start(t, profile)
		for i := range 60 {
			outcome(t, p, body(fmt.Sprint(i)))
		}
		return fates(t, p)
	}
	first := run(sim.Profile{Name: "a", Seed: 5}, 0)
	if again := run(sim.Profile{Name: "a", Seed: 5}, 2*time.Millisecond); !slices.Equal(first, again) {
		t.Errorf("the same seed at another pace gave other fates:\n%v\n%v", first, again)
	}
	if other := run(sim.Profile{Name: "a", Seed: 6}, 0); slices.Equal(first, other) {
		t.Error("another seed gave the same fates")
	}
	if other := run(sim.Profile{Name: "b", Seed: 5}, 0); slices.Equal(first, other) {
		t.Error("another name gave the same fates")
	}
	for _, kind := range []sim.Kind{sim.Served, sim.Status, sim.Reset, sim.Truncate} {
		if !slices.Contains(first, kind) {
			t.Errorf("60 requests met no %s", kind)
		}
	}
}

func TestFatesByBodyDoNotDependOnTheOrder(t *testing.T) {
	run := func(backwards bool) map[string]string {
		p := start(t, sim.Profile{Seed: 5, FateBy: "body", Faults: mixed})
		got := map[string]string{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 40 {
			if backwards {
				i = 39 - i
			}
			all.Go(func() {
				// The same body twice, one after the other: its second coming has a fate of its own.
				text := fmt.Sprint(i)
				met := outcome(t, p, body(text)) + ", then " + outcome(t, p, body(text))
				mu.Lock()
				defer mu.Unlock()
				got[text] = met
			})
		}
		all.Wait()
		return got
	}
	forth, back := run(false), run(true)
	retried := false
	for text, met := range forth {
		if back[text] != met {
			t.Errorf("%s met %q and %q", text, met, back[text])
		}
		first, second, _ := strings.Cut(met, ", then ")
		retried = retried || first != second
	}
	if !retried {
		t.Error("no body met another fate the second time")
	}
}

func TestSharesAreThoseOfTheProfile(t *testing.T) {
	p := start(t, sim.Profile{Seed: 11, OutputTokens: fixed(1), Faults: []sim.Fault{
		{Kind: sim.Status, Status: 500, Share: 0.3}, {Kind: sim.Status, Status: 404, Share: 0.1},
	}})
	keepAlive := &http.Client{}
	byStatus := map[int]int{}
	for range 2000 {
		resp, err := keepAlive.Do(request(t, p, "", body("x")))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		byStatus[resp.StatusCode]++
	}
	// Five standard deviations.
	if n := byStatus[500]; n < 498 || n > 702 {
		t.Errorf("%d of 2000 met a share of 0.3", n)
	}
	if n := byStatus[404]; n < 133 || n > 267 {
		t.Errorf("%d of 2000 met a share of 0.1", n)
	}
}
