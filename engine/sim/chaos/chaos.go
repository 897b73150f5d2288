// Package chaos shows what a client of a configuration would see while providers misbehave. Every provider is replaced by a
// simulated one: whichever a request asks first misbehaves in the named way, the others are well.
package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"chaperone/engine"
	"chaperone/engine/dispatch"
	"chaperone/engine/journal"
	"chaperone/engine/route"
	"chaperone/engine/wire"
)

// Options is what to rehearse.
type Options struct {
	ConfigPath string
	Key        string   // id of the key that asks
	Model      string   // that is asked for
	Faults     []string // by name; all where empty
	Everyone   bool     // all providers misbehave, not only the one that is asked first
	Speed      int      // how many times faster than the configuration says time passes; at least 1
	Log        *slog.Logger
}

// Report is what came of it.
type Report struct {
	Model    string   `json:"model"`
	Speed    int      `json:"speed"`
	Results  []Result `json:"results"`
	Answered int      `json:"answered"`
	Refused  int      `json:"refused"`
	Lost     int      `json:"lost"`     // the needless included
	Needless int      `json:"needless"` // lost, though another endpoint could have answered
}

// What a client can come to see.
const (
	SawAnswer    = "answer"     // the whole right one
	SawRefusal   = "refusal"    // the provider's word that the request is wrong
	SawError     = "error"      // in place of an answer
	SawBrokenOff = "broken_off" // a part of an answer, then the error event
	SawTruncated = "truncated"  // a part of an answer that passes for a whole one
)

// Result is one request during one fault.
type Result struct {
	Fault    string    `json:"fault"`
	About    string    `json:"about"`
	Request  string    `json:"request"`
	Saw      string    `json:"saw"`
	Status   int       `json:"status"`
	Message  string    `json:"message,omitempty"` // of the error
	Rescued  string    `json:"rescued,omitempty"`
	Attempts []Attempt `json:"attempts"`
	Seconds  float64   `json:"seconds"` // as they would have been at the configuration's own pace
	Needless bool      `json:"needless"`
	Why      string    `json:"why,omitempty"` // it was lost
}

// Attempt is one provider that was asked.
type Attempt struct {
	Provider string `json:"provider"`
	Outcome  string `json:"outcome"`
}

// shape is a kind of request.
type shape struct {
	name   string
	stream bool
	more   string
}

const tool = `,"tools":[{"type":"function","function":{"name":"look_up","parameters":{"type":"object","properties":` +
	`{"what":{"type":"string"},"where":{"type":"string"},"when":{"type":"string"}},"required":["what","where","when"]}}}],"tool_choice":"required"`

var shapes = []shape{{"text, streamed", true, ""}, {"text, whole", false, ""}, {"tool call, streamed", true, tool}}

func (s *shape) body(model string) []byte {
	return fmt.Appendf(nil, `{"model":%q,"stream":%t,"messages":[{"role":"user","content":"What is the harbour like in winter?"}]%s}`, model, s.stream, s.more)
}

// Run rehearses. The error is config.Problems where the configuration is not right.
func Run(ctx context.Context, o Options) (*Report, error) {
	cache, err := os.MkdirTemp("", "chaperone-chaos-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(cache)
	asked, err := o.possible(ctx, cache)
	if err != nil {
		return nil, err
	}
	report := &Report{Model: o.Model, Speed: o.Speed, Results: []Result{}}
	for _, f := range Faults {
		if len(o.Faults) > 0 && !slices.Contains(o.Faults, f.Name) {
			continue
		}
		for _, s := range asked {
			report.Results = append(report.Results, Result{Fault: f.Name, About: f.About, Request: s.name})
		}
	}
	if err := o.all(ctx, cache, report.Results); err != nil {
		return nil, err
	}
	for _, r := range report.Results {
		switch {
		case r.Saw == SawAnswer:
			report.Answered++
		case r.Saw == SawRefusal:
			report.Refused++
		default:
			report.Lost++
		}
		if r.Needless {
			report.Needless++
		}
	}
	return report, nil
}

// atOnce is how many requests run beside each other.
const atOnce = 12

// all carries every request out, those that wait for a time limit first, side by side. Engines are opened before the requests
// of a round begin: that takes the processor, and what is measured is time.
func (o *Options) all(ctx context.Context, cache string, results []Result) error {
	var order []*Result
	for _, waits := range []bool{true, false} {
		for i := range results {
			if faultOf(&results[i]).waits == waits {
				order = append(order, &results[i])
			}
		}
	}
	for round := range slices.Chunk(order, atOnce) {
		scenes := make([]*scene, len(round))
		err := each(round, runtime.NumCPU(), func(i int) (err error) {
			scenes[i], err = o.newScene(ctx, cache, round[i])
			return err
		})
		if err == nil {
			err = each(round, atOnce, func(i int) error { return o.rehearse(ctx, scenes[i]) })
		}
		for _, s := range scenes {
			if s != nil {
				s.close(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls f for every index, so many at a time.
func each(of []*Result, atOnce int, f func(int) error) error {
	errs := make([]error, len(of))
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range of {
		slots <- struct{}{}
		all.Go(func() {
			errs[i] = f(i)
			<-slots
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (o *Options) open(ctx context.Context, cache string, way func(http.RoundTripper) http.RoundTripper) (*engine.Engine, error) {
	addresses, err := o.addresses()
	if err != nil {
		return nil, err
	}
	return engine.Open(ctx, engine.Options{
		ConfigPath: o.ConfigPath, CacheDir: cache, Log: o.Log, Way: way,
		Adjust: func(s *engine.Settings) { rehearse(s, o.Speed) },
		Env: func(name string) (string, bool) { // no key is needed where nobody real is asked
			if value, ok := os.LookupEnv(name); ok && value != "" {
				return value, true
			}
			if addresses[name] {
				return "http://" + name + ".invalid/v1", true
			}
			return "sk-chaos-" + name, true
		},
	})
}

// addresses are the environment variables that hold all of a provider's address.
func (o *Options) addresses() (map[string]bool, error) {
	cat, err := engine.Catalog(o.ConfigPath, nil)
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, p := range cat.Providers {
		for _, name := range p.Missing {
			if p.BaseURL == "${"+name+"}" {
				all[name] = true
			}
		}
	}
	return all, nil
}

// possible are the shapes of requests that the model may be asked.
func (o *Options) possible(ctx context.Context, cache string) ([]shape, error) {
	e, err := o.open(ctx, cache, nil)
	if err != nil {
		return nil, err
	}
	defer e.Close(context.WithoutCancel(ctx))
	var asked []shape
	var refused error
	for _, s := range shapes {
		plan, err := e.Decide(ctx, engine.Call{As: o.Key, Body: s.body(o.Model)})
		switch {
		case err != nil:
			return nil, &NotAsked{err.Error()}
		case plan.Refusal == nil:
			asked = append(asked, s)
		case refused == nil:
			refused = &NotAsked{plan.Refusal.Message}
		}
	}
	if len(asked) == 0 {
		return nil, refused
	}
	return asked, nil
}

// NotAsked says why the model cannot be asked anything.
type NotAsked struct{ message string }

func (e *NotAsked) Error() string { return e.message }

// scene is one request with an engine of its own: what one fault has taught must not help or hinder with the next.
type scene struct {
	result *Result
	fault  Fault
	body   []byte
	stage  *stage
	engine *engine.Engine
}

func faultOf(r *Result) Fault {
	return Faults[slices.IndexFunc(Faults, func(f Fault) bool { return f.Name == r.Fault })]
}

func (o *Options) newScene(ctx context.Context, cache string, r *Result) (_ *scene, err error) {
	shape := shapes[slices.IndexFunc(shapes, func(s shape) bool { return s.name == r.Request })]
	s := &scene{result: r, fault: hurried(faultOf(r), o.Speed), body: shape.body(o.Model)}
	if s.stage, err = newStage(ctx, s.fault, o.Everyone); err != nil {
		return nil, err
	}
	if s.engine, err = o.open(ctx, cache, s.stage.way); err != nil {
		s.stage.close()
		return nil, err
	}
	return s, nil
}

func (s *scene) close(ctx context.Context) {
	s.engine.Close(context.WithoutCancel(ctx))
	s.stage.close()
}

// rehearse sends the request of a scene and fills its result in.
func (o *Options) rehearse(ctx context.Context, s *scene) error {
	r := s.result
	plan, refused := s.engine.Decide(ctx, engine.Call{As: o.Key, Body: slices.Clone(s.body)})
	if refused != nil {
		return refused
	}
	began := time.Now()
	got, id, err := ask(ctx, s.engine, engine.Call{As: o.Key, Body: s.body})
	if err != nil {
		return err
	}
	r.Seconds = time.Since(began).Seconds() * float64(o.Speed)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	record := s.engine.Record(id)
	if record == nil {
		return fmt.Errorf("%s, %s: the request has no record", r.Fault, r.Request)
	}
	r.Rescued, r.Attempts = record.Outcome.Rescued, []Attempt{}
	for _, a := range record.Attempts {
		r.Attempts = append(r.Attempts, Attempt{a.ProviderID, a.Outcome})
	}
	right, err := s.stage.right()
	if err != nil {
		return err
	}
	r.Status, r.Message = got.status, got.failure
	r.Saw = got.against(right, s.fault)
	if r.Saw != SawAnswer && r.Saw != SawRefusal {
		r.Why, r.Needless = o.why(r, plan, record)
	}
	return nil
}

// ask sends a request and reads all that comes.
func ask(ctx context.Context, e *engine.Engine, c engine.Call) (got seen, id string, err error) {
	var response *dispatch.Response
	response, err = e.Do(ctx, c)
	var refused *wire.Error
	switch {
	case errors.As(err, &refused):
		return seen{status: refused.Status, failure: refused.Message}, refused.DecisionID, nil
	case err != nil:
		return got, "", err
	case response.Stream == nil:
		got.status = response.Status
		err = got.readWhole(response.Body)
	default:
		got.status = response.Status
		var text []byte
		if text, err = io.ReadAll(response.Stream); err == nil {
			err = got.readStream(text)
		}
	}
	return got, response.Plan.ID, err
}

// why says why a request was lost, and whether it need not have been.
func (o *Options) why(r *Result, plan *route.Plan, record *journal.Record) (string, bool) {
	model := record.Candidates[0].Model
	if n := len(record.Attempts); n > 0 {
		model = record.Attempts[n-1].Model
	}
	others := 0
	for _, p := range plan.Permits {
		row := p.Row()
		asked := slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return a.Provider == row.Provider.ID })
		if !asked && (r.Saw == SawError || row.Model.ID == model) && p.Obligations().MaxProcessors != 1 {
			others++
		}
	}
	switch not := record.Outcome.NotRescued; {
	case r.Saw == SawTruncated:
		return "it passes for a whole answer", true
	case o.Everyone:
		return "every provider misbehaves", false
	case others == 0:
		return "no other provider may serve it", false
	case not == "not configured":
		return "dispatch.rescue is empty: an answer that breaks off is not brought to its end elsewhere", true
	case strings.HasPrefix(not, "the answer has more than text"), strings.HasPrefix(not, "an obligation"):
		return "not taken up elsewhere: " + not, false
	case not != "":
		return "not taken up elsewhere: " + not, true
	}
	return fmt.Sprintf("%d other providers may serve it", others), true
}

// seen is what a client got.
type seen struct {
	status    int
	text      string
	arguments string
	finish    string
	done      bool
	failure   string
}

type part struct {
	Content   string
	ToolCalls []struct {
		Function struct{ Arguments string }
	} `json:"tool_calls"`
}

func (s *seen) readWhole(body []byte) error {
	s.done = true
	return s.add(body)
}

func (s *seen) readStream(text []byte) error {
	for line := range strings.Lines(string(text)) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		switch {
		case !ok:
		case data == "[DONE]":
			s.done = true
		default:
			if err := s.add([]byte(data)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *seen) add(data []byte) error {
	var x struct {
		Choices []struct {
			Delta, Message part
			FinishReason   string `json:"finish_reason"`
		}
		Error *struct{ Message string }
	}
	if err := json.Unmarshal(data, &x); err != nil {
		return fmt.Errorf("%s: %w", data, err)
	}
	if x.Error != nil {
		s.failure = x.Error.Message
	}
	for _, c := range x.Choices {
		for _, p := range []part{c.Delta, c.Message} {
			s.text += p.Content
			for _, call := range p.ToolCalls {
				s.arguments += call.Function.Arguments
			}
		}
		if c.FinishReason != "" {
			s.finish = c.FinishReason
		}
	}
	return nil
}
