package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"time"
)

// anchor hands checkpoints to somebody outside, in order, off the request path. A head covers everything before it, so where
// the receiver does not keep up the oldest that wait are left out.
type anchor struct {
	url     string
	command []string
	log     *slog.Logger

	waiting chan Checkpoint
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
}

const (
	anchorsWaiting = 1024
	anchorTimeout  = 10 * time.Second
	anchorFarewell = 5 * time.Second // to deliver what waits when the journal closes
)

// newAnchor has so many checkpoints wait at the most.
func newAnchor(url string, command []string, most int, log *slog.Logger) *anchor {
	a := &anchor{url: url, command: command, log: log, waiting: make(chan Checkpoint, most), done: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	go a.run()
	return a
}

// add never waits. Only the holder of the token calls it.
func (a *anchor) add(c Checkpoint) {
	for {
		select {
		case a.waiting <- c:
			return
		default:
		}
		select {
		case <-a.waiting:
		default:
		}
	}
}

func (a *anchor) run() {
	defer close(a.done)
	for c := range a.waiting {
		a.deliver(c)
	}
}

// deliver tries until it is done or the journal has closed.
func (a *anchor) deliver(c Checkpoint) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := a.send(c)
		if err == nil {
			return
		}
		a.log.Error("a checkpoint of the journal cannot be anchored; it is tried again", "count", c.Count, "error", err)
		select {
		case <-a.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (a *anchor) send(c Checkpoint) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	body = append(body, '\n')
	ctx, cancel := context.WithTimeout(a.ctx, anchorTimeout)
	defer cancel()
	if a.url != "" {
		if err := post(ctx, a.url, "", "application/json", "", body); err != nil {
			return err
		}
	}
	if len(a.command) > 0 {
		cmd := exec.CommandContext(ctx, a.command[0], a.command[1:]...)
		cmd.Stdin = bytes.NewReader(body)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %.200s", a.command[0], err, out)
		}
	}
	return nil
}

// close hands out what waits, for a while.
func (a *anchor) close() {
	close(a.waiting)
	select {
	case <-a.done:
	case <-time.After(anchorFarewell):
		a.cancel()
		<-a.done
	}
	a.cancel()
}

// post sends body. The error tells the status and nothing of what the receiver wrote.
func post(ctx context.Context, url, token, contentType, encoding string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// client follows no redirect: what is sent is meant for the address that operators wrote.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
