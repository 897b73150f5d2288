package journal

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"time"

	"chaperone/engine/policy"
)

// decisionLog sends decisions to a collector of OPA's decision logs: batches of events, as a gzip of a JSON array
// (https://www.openpolicyagent.org/docs/management-decision-logs). It never holds up a request: what a slow collector cannot
// take is dropped, counted and told of; the journal itself has it.
type decisionLog struct {
	url, token string
	replica    string
	log        *slog.Logger

	waiting chan *Record
	lost    atomic.Uint64
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
}

// logEvent is one decision. Claims stay out and are named as erased.
type logEvent struct {
	Labels      map[string]string `json:"labels"`
	ID          string            `json:"decision_id"`
	Path        string            `json:"path"`
	Input       logInput          `json:"input"`
	Result      logResult         `json:"result"`
	Erased      []string          `json:"erased,omitempty"`
	RequestedBy string            `json:"requested_by"` // id of the key
	Timestamp   time.Time         `json:"timestamp"`
	Metrics     map[string]int64  `json:"metrics"`
}

type logInput struct {
	Principal policy.PrincipalInput `json:"principal"`
	Request   json.RawMessage       `json:"request"`
}

type logResult struct {
	Allow    bool                       `json:"allow"` // some row may serve it
	Rows     []string                   `json:"rows"`  // those that may, in their order
	Denied   map[string][]policy.Reason `json:"denied,omitempty"`
	Rejected []policy.Reason            `json:"rejected,omitempty"`
	Policy   string                     `json:"policy_digest"`
	Catalog  string                     `json:"catalog_digest"`
	Status   int                        `json:"status"`
	Provider string                     `json:"provider,omitempty"`
}

const (
	logsWaiting = 10_000
	logsAtOnce  = 500
	logDelay    = time.Second
	logTimeout  = 10 * time.Second
)

// newDecisionLog has so many decisions wait at the most.
func newDecisionLog(url, token, replica string, most int, log *slog.Logger) *decisionLog {
	d := &decisionLog{url: url, token: token, replica: replica, log: log, waiting: make(chan *Record, most), done: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	go d.run()
	return d
}

// add takes a record that is not changed any more.
func (d *decisionLog) add(rec *Record) {
	select {
	case d.waiting <- rec:
	default:
		d.lost.Add(1)
	}
}

func (d *decisionLog) run() {
	defer close(d.done)
	for rec := range d.waiting {
		batch := []logEvent{d.event(rec)}
		delay := time.NewTimer(logDelay)
	collect:
		for len(batch) < logsAtOnce {
			select {
			case rec, open := <-d.waiting:
				if !open {
					break collect
				}
				batch = append(batch, d.event(rec))
			case <-delay.C:
				break collect
			}
		}
		delay.Stop()
		d.deliver(batch)
		if n := d.lost.Swap(0); n > 0 {
			d.log.Error("the collector of decision logs is too slow; decisions were not sent", "url", d.url, "dropped", n)
		}
	}
}

func (d *decisionLog) deliver(batch []logEvent) {
	text, err := json.Marshal(batch)
	if err != nil {
		d.log.Error("decisions cannot be written as events", "error", err)
		return
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(text) // into memory: neither fails
	z.Close()
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		ctx, cancel := context.WithTimeout(d.ctx, logTimeout)
		err := post(ctx, d.url, d.token, "application/json", "gzip", packed.Bytes())
		cancel()
		if err == nil {
			return
		}
		d.log.Error("the collector of decision logs did not take a batch; it is tried again", "decisions", len(batch), "error", err)
		select {
		case <-d.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (d *decisionLog) event(r *Record) logEvent {
	e := logEvent{
		Labels: map[string]string{"app": "chaperone", "id": d.replica}, ID: r.ID, Path: "chaperone/route",
		Input: logInput{
			Principal: policy.PrincipalInput{Organisation: r.Organisation, Team: r.Team, Key: r.Key, Labels: r.Labels, DataClass: r.DataClass},
			Request:   r.Request.appendJSON(nil),
		},
		Result: logResult{
			Rows: []string{}, Rejected: r.Rejections, Policy: r.Policy, Catalog: r.Catalog, Status: r.Outcome.Status, Provider: r.Outcome.Provider,
		},
		RequestedBy: r.Key, Timestamp: r.At, Metrics: map[string]int64{"timer_server_handler_ns": r.PlanMicros * 1000},
	}
	if r.Claims != nil && r.Claims.decide() {
		e.Erased = []string{"/input/claims"}
	}
	places := map[int]string{}
	for i := range r.Candidates {
		c := &r.Candidates[i]
		switch {
		case c.Place > 0:
			places[c.Place] = c.Row
		case c.Excluded != nil && len(c.Excluded.Denials) > 0:
			if e.Result.Denied == nil {
				e.Result.Denied = map[string][]policy.Reason{}
			}
			e.Result.Denied[c.Row] = c.Excluded.Denials
		}
	}
	for place := 1; places[place] != ""; place++ {
		e.Result.Rows = append(e.Result.Rows, places[place])
	}
	e.Result.Allow = len(e.Result.Rows) > 0
	return e
}

// close sends what waits, for a while.
func (d *decisionLog) close() {
	close(d.waiting)
	select {
	case <-d.done:
	case <-time.After(anchorFarewell):
		d.cancel()
		<-d.done
	}
	d.cancel()
}
