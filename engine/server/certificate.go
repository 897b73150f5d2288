package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// statEvery is how often, at most, a handshake looks whether the certificate files have changed.
const statEvery = time.Second

// certificate serves a pair of PEM files and follows their changes. Where the new pair is broken (or only one of the two
// files is written yet) the old one stays.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]os.FileInfo // of what current was read from
	broken  string         // why what is there now cannot be used; "" where it can
	next    time.Time
}

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	seen, err := c.stat()
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s with %s: %w", certFile, keyFile, err)
	}
	c.current, c.seen = &pair, seen
	return c, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: c.get}
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); !now.Before(c.next) {
		c.next = now.Add(statEvery)
		c.refresh()
	}
	return c.current, nil
}

func (c *certificate) refresh() {
	seen, err := c.stat()
	if err == nil && c.broken == "" && same(seen, c.seen) {
		return
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile)
	}
	if err != nil {
		if c.broken != err.Error() {
			c.log.Error("the TLS certificate has changed but cannot be used; the old one stays",
				"certificate", c.certFile, "key", c.keyFile, "error", err)
		}
		c.broken = err.Error()
		return
	}
	c.current, c.seen, c.broken = &pair, seen, ""
	c.log.Info("the TLS certificate was reloaded", "certificate", c.certFile, "expires", pair.Leaf.NotAfter)
}

func (c *certificate) stat() (seen [2]os.FileInfo, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if seen[i], err = os.Stat(name); err != nil {
			return [2]os.FileInfo{}, err
		}
	}
	return seen, nil
}

func same(a, b [2]os.FileInfo) bool {
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}
