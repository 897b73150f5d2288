package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
)

func TestConnectionsOverTheLimitAreToldSo(t *testing.T) {
	for name, connect := range transports(t) {
		t.Run(name, func(t *testing.T) {
			w := open(t, sim.Profile{}, func(s *engine.Server) {
				secure(t, name)(s)
				s.MaxConnections = 2
			})
			const ask = "GET /healthz HTTP/1.1\r\nHost: router\r\n\r\n"
			var held []net.Conn
			for range 2 {
				c := connect(w)
				send(t, c, ask)
				if resp, _ := read(t, bufio.NewReader(c)); resp.StatusCode != http.StatusOK {
					t.Fatalf("got %d", resp.StatusCode)
				}
				held = append(held, c)
			}
			for _, path := range []string{"/healthz", "/readyz"} {
				c := connect(w)
				send(t, c, strings.Replace(ask, "/healthz", path, 1))
				if resp, text := read(t, bufio.NewReader(c)); resp.StatusCode != http.StatusOK || !resp.Close {
					t.Errorf("a check over the limit got %d %s", resp.StatusCode, text)
				}
			}
			over := connect(w)
			send(t, over, post(chat))
			resp, text := read(t, bufio.NewReader(over))
			if want := "this router has as many connections open as it may; close idle ones, or ask again shortly"; resp.StatusCode != http.StatusServiceUnavailable ||
				!resp.Close || resp.Header.Get("Retry-After") != "1" || !strings.Contains(text, want) {
				t.Errorf("got %d %s", resp.StatusCode, text)
			}
			if resp, _ := do(t, client(t), newRequest(t, "GET", "http://"+w.PrivateAddr().String()+"/healthz", "")); resp.StatusCode != http.StatusOK {
				t.Errorf("the private listener says %d", resp.StatusCode)
			}
			held[0].Close()
			for deadline := time.Now().Add(patience); ; {
				c := connect(w)
				send(t, c, post(chat))
				resp, _ := read(t, bufio.NewReader(c))
				c.Close()
				if resp.StatusCode == http.StatusOK {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("a closed connection still counts")
				}
			}
		})
	}
}

// A silent client over the limit must not keep others from being told.
func TestSilentClientsOverTheLimitHoldUpNobody(t *testing.T) {
	w := open(t, sim.Profile{}, func(s *engine.Server) {
		secure(t, "TLS")(s)
		s.MaxConnections = 1
	})
	dial(t, w.Addr())
	for range 100 {
		dial(t, w.Addr())
	}
	// More than are told at the same time are closed without a word, but closed.
	c := dial(t, w.Addr())
	if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

// Clients that hold connections over the limit without a word leave some for health checks.
func TestAHealthCheckGetsThroughASilentCrowd(t *testing.T) {
	w := open(t, sim.Profile{}, func(s *engine.Server) { s.MaxConnections = 1 })
	for range 30 {
		dial(t, w.Addr())
	}
	for range 100 {
		if resp, text := do(t, client(t), newRequest(t, "GET", w.url("/healthz"), "")); resp.StatusCode != http.StatusOK {
			t.Fatalf("got %d %s", resp.StatusCode, text)
		}
	}
}

func TestSlowRequestsEnd(t *testing.T) {
	w := open(t, sim.Profile{}, func(s *engine.Server) { s.ReadTimeout = time.Second }) // which a busy machine has for what arrives in time
	head, _, _ := strings.Cut(post(chat), "\r\n\r\n")
	for name, c := range map[string]struct{ begin, drip, message string }{
		"a header": {"GET /healthz HTTP/1.1\r\nHost: router\r\n", "X", "the header did not arrive within 1s (server.read_timeout)"},
		"a body in chunks": {"POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n",
			"the body did not arrive in time; send it faster, or less"},
		"a short body": {head + "\r\n\r\n", " ", "the header did not arrive within 1s (server.read_timeout)"},
		"a long body": {"POST /v1/route HTTP/1.1\r\n" + host + bearer + asJSON + "Content-Length: 100000\r\n\r\n" + strings.Repeat(" ", 9000), " ",
			"the body did not arrive in time; send it faster, or less"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := dial(t, w.Addr())
			send(t, nc, c.begin)
			stop := make(chan struct{})
			defer close(stop)
			go func() { // a byte now and then, for ever
				for tick := time.NewTicker(20 * time.Millisecond); ; {
					select {
					case <-tick.C:
						io.WriteString(nc, c.drip)
					case <-stop:
						tick.Stop()
						return
					}
				}
			}()
			resp, text := read(t, bufio.NewReader(nc))
			if resp.StatusCode != http.StatusRequestTimeout || !resp.Close || !strings.Contains(text, c.message) {
				t.Errorf("got %d %s", resp.StatusCode, text)
			}
		})
	}
}

// A body may take longer than the read timeout as long as it keeps coming.
func TestALargeBodyHasTheTimeThatItNeeds(t *testing.T) {
	w := open(t, sim.Profile{}, func(s *engine.Server) { s.ReadTimeout = time.Second })
	c := dial(t, w.Addr())
	raw := post(chat + strings.Repeat(" ", 400_000))
	for len(raw) > 0 {
		n := min(len(raw), 40_000)
		send(t, c, raw[:n])
		raw = raw[n:]
		time.Sleep(150 * time.Millisecond) // the pace is what is tested
	}
	if resp, text := read(t, bufio.NewReader(c)); resp.StatusCode != http.StatusOK {
		t.Errorf("got %d %s", resp.StatusCode, text)
	}
}

func TestAnIdleConnectionIsClosed(t *testing.T) {
	w := open(t, sim.Profile{}, func(s *engine.Server) { s.IdleTimeout, s.ReadTimeout = 100*time.Millisecond, time.Minute })
	c := dial(t, w.Addr())
	from := bufio.NewReader(c)
	send(t, c, "GET /healthz HTTP/1.1\r\nHost: router\r\n\r\n")
	read(t, from)
	if rest, err := io.ReadAll(from); err != nil || len(rest) != 0 {
		t.Errorf("got %q, %v", rest, err)
	}
}

// A body that is only announced costs no memory, and one that ends early is not taken for whole.
func TestABodyThatEndsEarlyIsRefused(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	for _, length := range []string{"100", "20000"} {
		c := dial(t, w.Addr())
		send(t, c, "POST /v1/route HTTP/1.1\r\n"+host+bearer+asJSON+"Content-Length: "+length+"\r\n\r\n"+chat[:len(chat)-1]+strings.Repeat(" ", 10_000*(len(length)/5))+"}")
		c.CloseWrite()
		resp, text := read(t, bufio.NewReader(c))
		if resp.StatusCode != http.StatusBadRequest || strings.Contains(text, `"id":"gen-`) {
			t.Errorf("got %d %s", resp.StatusCode, text)
		}
	}
}

// A client that does not read must hold up the provider, not fill the router's memory, and not for ever.
func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	w := open(t, sim.Profile{OutputTokens: sim.Distribution{P50: 300_000}}, func(s *engine.Server) { s.FlushTimeout = 500 * time.Millisecond })
	c := dial(t, w.Addr())
	c.SetReadBuffer(4096)
	send(t, c, post(stream))
	r := next(t, w.ended, "end at the provider")
	if !r.Cancelled || r.Tokens == 300_000 {
		t.Errorf("cancelled: %v after %d tokens", r.Cancelled, r.Tokens)
	}
}

// A stream may last longer than any timeout of the server, as long as each flush gets through.
func TestAStreamOutlivesTheTimeouts(t *testing.T) {
	w := open(t, sim.Profile{TPS: sim.Distribution{P50: 10}, OutputTokens: sim.Distribution{P50: 25}}, func(s *engine.Server) {
		s.ReadTimeout, s.FlushTimeout, s.IdleTimeout = time.Second, time.Second, time.Second
	})
	began := time.Now()
	resp, text := do(t, client(t), newRequest(t, "POST", w.url("/v1/chat/completions"), stream))
	if resp.StatusCode != http.StatusOK || !strings.HasSuffix(text, "data: [DONE]\n\n") || time.Since(began) < 2*time.Second {
		t.Errorf("got %d after %s", resp.StatusCode, time.Since(began))
	}
}
