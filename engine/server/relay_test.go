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

// What gateways and browsers add to a request has its place: cookies, traces, tokens of identity providers.
func TestALongHeadIsTaken(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	long := []string{"Cookie: session=" + strings.Repeat("c", 4000), "Baggage: " + strings.Repeat("b", 4000), "X-Amzn-Oidc-Data: " + strings.Repeat("j", 6000)}
	c := dial(t, w.Addr())
	from := bufio.NewReader(c)
	for _, body := range []string{chat, stream, chat} {
		send(t, c, post(body, long...))
		if resp, text := read(t, from); resp.StatusCode != http.StatusOK {
			t.Errorf("got %d %s", resp.StatusCode, text)
		}
	}
}

// A connection that has had a stream serves on: what was pipelined behind it, in however many pieces it comes, and what is sent later.
func TestAConnectionServesOnAfterAStream(t *testing.T) {
	certificate, private := writeCertificate(t, t.TempDir(), "router")
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			w := open(t, sim.Profile{TTFT: sim.Distribution{P50: 20}}, func(s *engine.Server) {
				if secure {
					s.TLSCertificate, s.TLSKey = certificate, private
				}
			})
			var c net.Conn = dial(t, w.Addr())
			if secure {
				c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			}
			from := bufio.NewReader(c)
			gets := func(body string) {
				t.Helper()
				resp, text := read(t, from)
				if resp.StatusCode != http.StatusOK || resp.Close || strings.HasSuffix(text, "data: [DONE]\n\n") != (body == stream) {
					t.Fatalf("got %d, closing: %t, %s", resp.StatusCode, resp.Close, text)
				}
			}
			all := post(stream) + post(stream) + post(chat) + post(stream) + post(chat)
			cut := len(post(stream)) + 40 // in the middle of the second's head
			send(t, c, all[:cut])
			gets(stream)
			send(t, c, all[cut:])
			for _, body := range []string{stream, chat, stream, chat} {
				gets(body)
			}
			for _, body := range []string{stream, chat, stream} {
				send(t, c, post(body))
				gets(body)
			}
			send(t, c, post(stream, "Connection: close"))
			if resp, text := read(t, from); !resp.Close || !strings.HasSuffix(text, "data: [DONE]\n\n") {
				t.Errorf("closing: %t, %s", resp.Close, text)
			}
			if rest, err := io.ReadAll(from); err != nil || len(rest) > 0 {
				t.Errorf("behind the end: %q, %v", rest, err)
			}
			if n := w.provider.Counts().Cancelled; n > 0 {
				t.Errorf("%d were cancelled", n)
			}
		})
	}
}

// After a stream a connection may be as idle as after anything else, and no longer.
func TestAConnectionIdlesAfterAStream(t *testing.T) {
	for _, c := range []struct {
		idle, read time.Duration
	}{{100 * time.Millisecond, time.Minute}, {time.Minute, time.Second}} { // the latter is also what a busy machine has for the first request
		w := open(t, sim.Profile{}, func(s *engine.Server) { s.IdleTimeout, s.ReadTimeout = c.idle, c.read })
		client := dial(t, w.Addr())
		from := bufio.NewReader(client)
		send(t, client, post(stream))
		read(t, from)
		if c.idle < c.read {
			if rest, err := io.ReadAll(from); err != nil || len(rest) > 0 {
				t.Errorf("got %q, %v", rest, err)
			}
			continue
		}
		client.SetReadDeadline(time.Now().Add(2 * c.read)) // it is not closed for not having sent another request
		if _, err := from.ReadByte(); err == nil || !err.(net.Error).Timeout() {
			t.Fatalf("the connection ended with %v", err)
		}
		client.SetReadDeadline(time.Now().Add(patience))
		send(t, client, post(chat))
		if resp, text := read(t, from); resp.StatusCode != http.StatusOK {
			t.Errorf("got %d %s", resp.StatusCode, text)
		}
	}
}
