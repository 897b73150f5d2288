package journal

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/policy"
)

// collector takes decision logs as OPA sends them (https://www.openpolicyagent.org/docs/management-decision-logs).
type collector struct {
	*httptest.Server
	refuse int           // so many batches
	stuck  chan struct{} // batches wait for it, where there is one

	mu     sync.Mutex
	tokens []string
	events []map[string]any
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.stuck != nil {
			<-c.stuck
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.tokens = append(c.tokens, r.Header.Get("Authorization"))
		if c.refuse > 0 {
			c.refuse--
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		z, err := gzip.NewReader(r.Body)
		if err != nil || r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v, %v", r.Header, err)
			return
		}
		text, err := io.ReadAll(z)
		var batch []map[string]any
		if err == nil {
			err = json.Unmarshal(text, &batch)
		}
		if err != nil {
			t.Error(err)
		}
		c.events = append(c.events, batch...)
	}))
	t.Cleanup(c.Close)
	return c
}

func TestDecisionsAreSentAsOPALogsThem(t *testing.T) {
	c := newCollector(t)
	c.refuse = 1
	var log strings.Builder
	j := open(t, Options{Dir: t.TempDir(), DecisionLogURL: c.URL, DecisionLogToken: "kanarienvogel", Log: slog.New(slog.NewTextHandler(&log, nil))})
	for i := range 3 {
		rec := sample(idOf(i), time.Date(2026, 11, 26, 10, 0, i, 0, time.UTC), 5)
		if i == 1 {
			rec.Claims = &Claims{User: "somebody"}
		}
		if i == 2 {
			rec.Candidates, rec.Rejections = nil, []policy.Reason{{Binding: "own for everyone", Package: "own", Rule: "reject", Message: "not today"}}
			rec.Attempts, rec.Outcome = nil, Outcome{Status: 403, Error: "permission_denied"}
		}
		j.Append(rec, nil)
	}
	closeJournal(t, j) // which sends what waits
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) != 3 || len(c.tokens) < 2 {
		t.Fatalf("%d events in %d batches", len(c.events), len(c.tokens))
	}
	for _, token := range c.tokens {
		if token != "Bearer kanarienvogel" {
			t.Errorf("sent with %q", token)
		}
	}
	if strings.Contains(log.String(), "kanarienvogel") || !strings.Contains(log.String(), "tried again") {
		t.Errorf("the log says %s", log.String())
	}
	text, _ := json.Marshal(c.events)
	if strings.Contains(string(text), "somebody") {
		t.Error("what a caller said of itself was sent")
	}
	at := func(v any, path ...string) any {
		for _, name := range path {
			v = v.(map[string]any)[name]
		}
		return v
	}
	first, second, third := c.events[0], c.events[1], c.events[2]
	if at(first, "decision_id") != idOf(0) || at(first, "path") != "chaperone/route" || at(first, "labels", "id") != j.tape.signer.replica ||
		at(first, "timestamp") != "2026-11-26T10:00:00Z" || at(first, "requested_by") != "key_0123456789ab" || at(first, "input", "principal", "organisation") != "acme" ||
		at(first, "input", "request", "model") != "m/one" || at(first, "metrics", "timer_server_handler_ns") != 31000.0 {
		t.Errorf("%+v", first)
	}
	rows, denied := at(first, "result", "rows").([]any), at(first, "result", "denied").(map[string]any)
	if at(first, "result", "allow") != true || len(rows) != 3 || rows[0] != "m/one@p0#own" || len(denied) != 1 ||
		at(denied["m/one@p3#own"].([]any)[0], "package") != "library.training" || first["erased"] != nil {
		t.Errorf("%+v", at(first, "result"))
	}
	if erased, _ := second["erased"].([]any); len(erased) != 1 || erased[0] != "/input/claims" {
		t.Errorf("claims are left out, and named as %v", second["erased"])
	}
	if at(third, "result", "allow") != false || at(third, "result", "status") != 403.0 || at(third, "result", "rejected").([]any)[0].(map[string]any)["message"] != "not today" {
		t.Errorf("%+v", at(third, "result"))
	}
}

// A collector that is stuck holds up nothing; what it cannot take is told of.
func TestAStuckCollectorHoldsUpNothing(t *testing.T) {
	c := newCollector(t)
	c.stuck = make(chan struct{})
	var log strings.Builder
	d := newDecisionLog(c.URL, "", "replica", 5, slog.New(slog.NewTextHandler(&log, nil)))
	const n = 3 * logsAtOnce // at once, five wait, and at most one batch is under way
	for i := range n {
		d.add(sample(idOf(i), time.Now(), 0))
	}
	close(c.stuck)
	d.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := regexp.MustCompile(`decisions were not sent".* dropped=(\d+)`).FindStringSubmatch(log.String())
	if lost == nil || lost[1] != fmt.Sprint(n-len(c.events)) || len(c.events) < 5 {
		t.Errorf("%d of %d events; the log says %s", len(c.events), n, log.String())
	}
}
