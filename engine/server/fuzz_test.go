package server

import (
	"bufio"
	"net/http"
	"net/url"
	pathpkg "path"
	"strings"
	"testing"
)

// What is accepted must mean the same to net/http, wherever that accepts it too.
func FuzzReadHead(f *testing.F) {
	for _, raw := range []string{
		"", "\r\n", "Host: h\r\n\r\n", "Host: h\r\nAuthorization: Bearer sk-a\r\n\r\n", "host: h\r\nx-api-key: k\r\nauthorization: bearer k\r\n\r\n",
		"Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "Host: h\r\nX: a\r\n b\r\n\r\n", "Host: h\nX: y\n\n", ": \r\n\r\n", "A\r\n\r\n",
		"Host: h\r\nConnection: keep-alive, Close\r\nExpect: 100-continue\r\n\r\n", "Host: h\r\nContent-Type:\tapplication/json \r\n\r\n",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		h, e := readHead([]byte(raw))
		if (h == nil) == (e == nil) {
			t.Fatal("neither a head nor an error, or both")
		}
		if e != nil {
			if e.Status != http.StatusBadRequest || e.Message == "" {
				t.Fatalf("%d %q", e.Status, e.Message)
			}
			return
		}
		if i := strings.Index(raw, "\r\n\r\n"); i < 0 {
			return // fasthttp only gives whole sections
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\n" + raw)))
		if err != nil {
			return
		}
		for name, got := range map[string]string{"Content-Type": h.contentType, "Content-Encoding": h.contentEncoding, "Expect": h.expect} {
			if values := r.Header.Values(name); len(values) > 1 || len(values) == 1 && values[0] != got {
				t.Errorf("%s is %q, net/http has %q", name, got, values)
			}
		}
		keys := append(r.Header.Values("X-Api-Key"), "")
		for _, v := range r.Header.Values("Authorization") {
			keys[len(keys)-1] = strings.TrimLeft(v[len("Bearer"):], " ")
		}
		if keys[0] != h.key && keys[len(keys)-1] != h.key {
			t.Errorf("the key is %q, net/http has %q", h.key, keys)
		}
	})
}

// A path that is accepted is one that cleaning leaves alone, and decodes as net/url decodes it.
func FuzzReadTarget(f *testing.F) {
	for _, target := range []string{
		"/", "/v1/models", "/v1/models/a/b%3Afree/endpoints?x=/../", "//", "/.", "/a/..", "/%2e", "/a%2fb", "/a\\b", "http://h/v1", "https://h/v1", "http://h", "*",
		"/a/", "/a%", "/a%4", "/\xff", "/a#b",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		segments, e := readTarget([]byte(target), []byte("h"), false)
		if e != nil {
			if e.Status != http.StatusBadRequest || e.Message == "" {
				t.Fatalf("%d %q", e.Status, e.Message)
			}
			return
		}
		joined := "/" + strings.Join(segments, "/")
		if clean := pathpkg.Clean(joined); clean != joined && clean+"/" != joined {
			t.Errorf("%q is read as %q, which cleaning makes %q", target, joined, clean)
		}
		target, _, _ = strings.Cut(target, "?") // what follows is not read
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatalf("%q is accepted, but not by net/url: %v", target, err)
		}
		if u.Path != joined || u.Host != "" && !strings.EqualFold(u.Host, "h") {
			t.Errorf("%q is read as %q, but net/url has %q of host %q", target, joined, u.Path, u.Host)
		}
	})
}
