package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// stamper has the newest checkpoint stamped by an authority, now and then: a head covers all before it.
type stamper struct {
	dir    string
	url    string
	every  time.Duration
	log    *slog.Logger
	newest atomic.Pointer[Checkpoint]
	ctx    context.Context
	cancel context.CancelFunc
	stop   chan struct{}
	done   chan struct{}
}

const mostStamp = 1 << 20 // bytes of an answer

func newStamper(dir, url string, every time.Duration, log *slog.Logger) *stamper {
	s := &stamper{dir: filepath.Join(dir, "timestamps"), url: url, every: every, log: log, stop: make(chan struct{}), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s
}

// add never waits.
func (s *stamper) add(c Checkpoint) { s.newest.Store(&c) }

func (s *stamper) run() {
	defer close(s.done)
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	var last uint64
	for running := true; running; {
		select {
		case <-tick.C:
		case <-s.stop:
			running = false
		}
		c := s.newest.Load()
		if c == nil || c.Count == last {
			continue
		}
		if err := s.stamp(c); err != nil {
			s.log.Error("a checkpoint of the journal cannot be stamped; a later one is tried", "count", c.Count, "error", err)
			continue
		}
		last = c.Count
	}
}

// stamp has one checkpoint stamped and keeps it with its stamp, COUNT.json and COUNT.tsr.
func (s *stamper) stamp(c *Checkpoint) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	ask, nonce, err := newStampRequest(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, anchorTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(ask))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, mostStamp))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", s.url, resp.Status)
	}
	got, err := parseStamp(answer, text)
	if err != nil {
		return err
	}
	if got.info.Nonce == nil || got.info.Nonce.Cmp(nonce) != 0 {
		return fmt.Errorf("%s answers another question", s.url)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	base := filepath.Join(s.dir, fmt.Sprintf("%012d", c.Count))
	if err := writeWhole(base+".json", text); err != nil {
		return err
	}
	return writeWhole(base+".tsr", answer)
}

// close has the last checkpoint stamped, or gives up after a while.
func (s *stamper) close() {
	close(s.stop)
	select {
	case <-s.done:
	case <-time.After(anchorFarewell):
		s.cancel()
		<-s.done
	}
	s.cancel()
}
