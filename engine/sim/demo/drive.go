package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"chaperone/engine/journal"
)

// answerTime bounds one request of the traffic, fallbacks included.
const answerTime = time.Minute

// Pace is how traffic is sent.
type Pace struct {
	AtOnce int           // requests in flight at the most
	Every  time.Duration // between the starts of two
}

// Drive sends the next n requests of the traffic and returns when the last answer has ended. The end of ctx stops it from
// sending more; what is in flight still comes to its end.
func (d *Demo) Drive(ctx context.Context, n int, p Pace) {
	slots := make(chan struct{}, p.AtOnce)
	var senders sync.WaitGroup
	defer senders.Wait()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for range n {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		pause.Reset(p.Every)
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		q := d.traffic.Next()
		senders.Go(func() {
			d.send(q)
			<-slots
		})
	}
}

// send sends one request and counts what came of it.
func (d *Demo) send(q Request) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	id, text, err := ask(ctx, d.client, d.URL(), q)
	record := d.engine.Record(id)
	if err == nil {
		err = d.whole(q, record, text)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent++
	if record != nil {
		d.own.Add(record)
		if record.Organisation == "strict" && (d.example == nil || d.example.Outcome.Fallbacks == 0) {
			d.example = record
		}
	}
	if err != nil {
		d.failed++
		d.failures = append(d.failures, fmt.Errorf("%s (request %s): %w", id, q.Body, err))
		d.failures = d.failures[max(0, len(d.failures)-failuresKept):]
	}
}

// failuresKept is how many of the latest failures are explained.
const failuresKept = 10

// Failures says what was wrong with the latest requests that failed.
func (d *Demo) Failures() []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]error(nil), d.failures...)
}

// Example is the id of a decision for the organisation strict that is worth a look: one that fell back, if there was any.
// "" where there is none yet.
func (d *Demo) Example() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.example == nil {
		return ""
	}
	return d.example.ID
}

// Finished is the records of the requests that have come to their end since it was last called, whoever sent them.
func (d *Demo) Finished() []*journal.Record { return d.watched.finished() }
