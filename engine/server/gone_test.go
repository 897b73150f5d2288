package server_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
)

const notice = 250 * time.Millisecond

// promptly holds how long the provider went on after its client had left, which is what try returns, to notice. A busy machine adds
// to that, so that the quickest of several tries counts.
func promptly(t *testing.T, w *world, try func() (left time.Time)) {
	t.Helper()
	var took time.Duration
	for range 20 {
		left := try()
		r := next(t, w.ended, "end at the provider")
		if !r.Cancelled {
			t.Fatal("the provider was not cancelled")
		}
		if took = r.Ended.Sub(left); took <= notice {
			return
		}
	}
	t.Errorf("the provider went on for %s", took)
}

// clients are how a client can be connected, and how it then goes away.
func transports(t *testing.T) map[string]func(w *world) net.Conn {
	return map[string]func(w *world) net.Conn{
		"plain": func(w *world) net.Conn { return dial(t, w.Addr()) },
		"TLS":   func(w *world) net.Conn { return tls.Client(dial(t, w.Addr()), &tls.Config{InsecureSkipVerify: true}) },
	}
}

func secure(t *testing.T, name string) func(*engine.Server) {
	return func(s *engine.Server) {
		if name == "TLS" {
			s.TLSCertificate, s.TLSKey = writeCertificate(t, t.TempDir(), "router")
		}
	}
}

func TestAClientThatGoesAwayCancelsTheProvider(t *testing.T) {
	silent := []sim.Fault{{Kind: sim.Silent, Share: 1}}
	for what, c := range map[string]struct {
		body     string
		profile  sim.Profile
		timeouts string
		until    string // what the client reads before it goes away
	}{
		"no answer yet":               {chat, sim.Profile{Faults: silent}, "", ""},
		"a stream before its headers": {stream, sim.Profile{Faults: silent}, "", ""},
		"a stream with early headers": {stream, sim.Profile{Faults: silent}, "early_headers = \"50ms\"\n", "\r\n\r\n"},
		"a stream that is silent":     {stream, sim.Profile{Faults: []sim.Fault{{Kind: sim.Stall, Share: 1, AfterTokens: 3}}}, "", "content"},
		"a stream that goes on":       {stream, sim.Profile{TPS: sim.Distribution{P50: 50}, OutputTokens: sim.Distribution{P50: 100_000}}, "", "content"},
	} {
		for transport, connect := range transports(t) {
			t.Run(what+", "+transport, func(t *testing.T) {
				w := openWith(t, c.profile, c.timeouts, secure(t, transport))
				promptly(t, w, func() time.Time {
					nc := connect(w)
					send(t, nc, post(c.body))
					next(t, w.began, "request at the provider")
					readUntil(t, nc, c.until)
					left := time.Now()
					nc.Close()
					return left
				})
			})
		}
	}
}

// readUntil reads until the text has come.
func readUntil(t *testing.T, nc net.Conn, text string) {
	t.Helper()
	var got []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(got), text); got = append(got, b[0]) {
		if _, err := nc.Read(b); err != nil {
			t.Fatalf("%v after %q", err, got)
		}
	}
}

func TestAResetCancelsTheProvider(t *testing.T) {
	w := open(t, sim.Profile{Faults: []sim.Fault{{Kind: sim.Silent, Share: 1}}}, nil)
	promptly(t, w, func() time.Time {
		c := dial(t, w.Addr())
		send(t, c, post(chat))
		next(t, w.began, "request at the provider")
		c.SetLinger(0)
		left := time.Now()
		c.Close()
		return left
	})
}

// A client may have said all that it has to say and still want to hear the answer.
func TestAHalfClosedClientGetsItsWholeAnswer(t *testing.T) {
	for name, body := range map[string]string{"whole": chat, "stream": stream} {
		t.Run(name, func(t *testing.T) {
			w := open(t, sim.Profile{TPS: sim.Distribution{P50: 100}, OutputTokens: sim.Distribution{P50: 30}}, nil)
			c := dial(t, w.Addr())
			answer := make(chan struct{})
			w.provider.OnRequest(func(sim.Record) { <-answer })
			send(t, c, post(body))
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			from := bufio.NewReader(c)
			if resp, err := http.ReadResponse(from, nil); err != nil || resp.StatusCode != http.StatusProcessing {
				t.Fatalf("the answer begins with %v, %v", resp, err)
			}
			close(answer)
			resp, err := http.ReadResponse(from, nil)
			if err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			text := string(rest)
			if end := map[string]string{"whole": "}", "stream": "data: [DONE]\n\n"}[name]; resp.StatusCode != http.StatusOK || !strings.HasSuffix(text, end) {
				t.Errorf("got %d ending in %q", resp.StatusCode, text[max(0, len(text)-50):])
			}
			if r := next(t, w.ended, "end at the provider"); r.Cancelled {
				t.Error("the provider was cancelled")
			}
		})
	}
}

func TestAHalfClosedClientOfASilentStreamIsAskedWithAComment(t *testing.T) {
	w := open(t, sim.Profile{Faults: []sim.Fault{{Kind: sim.Stall, Share: 1, AfterTokens: 3}}}, nil)
	c := dial(t, w.Addr())
	send(t, c, post(stream))
	readUntil(t, c, "content")
	c.CloseWrite()
	readUntil(t, c, ": keep-alive\n\n")
	select {
	case <-w.ended:
		t.Error("the provider was cancelled while the client still read")
	default:
	}
	c.SetLinger(0)
	c.Close()
	if r := next(t, w.ended, "end at the provider"); !r.Cancelled {
		t.Error("the provider was not cancelled")
	}
}

// HTTP/1.0 has no interim answers, so that a client which stops sending counts as gone.
func TestAHalfClosedHTTP10ClientIsGone(t *testing.T) {
	w := open(t, sim.Profile{Faults: []sim.Fault{{Kind: sim.Silent, Share: 1}}}, nil)
	promptly(t, w, func() time.Time {
		c := dial(t, w.Addr())
		send(t, c, strings.Replace(post(chat), "HTTP/1.1", "HTTP/1.0", 1))
		next(t, w.began, "request at the provider")
		left := time.Now()
		c.CloseWrite()
		return left
	})
}

func TestAPipelinedRequestIsNotTakenForAClose(t *testing.T) {
	w := open(t, sim.Profile{TTFT: sim.Distribution{P50: 300}}, nil)
	c := dial(t, w.Addr())
	from := bufio.NewReader(c)
	send(t, c, post(chat)+post(stream)+post(chat)+"GET /healthz HTTP/1.1\r\nHost: router\r\n\r\n")
	for i := range 4 {
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("answer %d: %d %s, %v", i, resp.StatusCode, body, err)
		}
	}
	if n := w.provider.Counts().Cancelled; n != 0 {
		t.Errorf("%d were cancelled", n)
	}
}

// Connections come and go while others wait: an event must never reach the exchange that has the descriptor next.
func TestEventsReachOnlyTheirOwnExchange(t *testing.T) {
	w := open(t, sim.Profile{TTFT: sim.Distribution{P50: 20, P95: 60}}, nil)
	const clients, rounds = 16, 25
	answered := make(chan int, clients)
	for i := range clients {
		go func() {
			n := 0
			defer func() { answered <- n }()
			for round := range rounds {
				c, err := net.Dial("tcp", w.Addr().String())
				if err != nil {
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				io.WriteString(c, post(chat))
				if (i+round)%2 == 0 {
					c.Close() // at once
					n++
					continue
				}
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err == nil && resp.StatusCode == http.StatusOK {
					n++
				}
				c.Close()
			}
		}()
	}
	for range clients {
		if n := next(t, answered, "client"); n != rounds {
			t.Errorf("a client had %d of %d rounds", n, rounds)
		}
	}
}
