package dispatch_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// fixture is a router in front of simulated providers, which are tried in the order in which they are given.
type fixture struct {
	engine *engine.Engine
	sims   []*sim.Provider
	order  []string

	endpoint string            // more lines for every endpoint
	policy   string            // rules that bind everyone
	price    string            // of every endpoint; "": 1 and 2 USD a million
	keys     map[string]string // that the router holds; nil: those that the providers accept

	dir string // of the configuration
	env func(string) (string, bool)
}

const secret = "sk-upstream-secret"

func open(t *testing.T, settings string, profiles ...sim.Profile) *fixture {
	t.Helper()
	f := &fixture{}
	return f.open(t, settings, profiles...)
}

func (f *fixture) open(t *testing.T, settings string, profiles ...sim.Profile) *fixture {
	t.Helper()
	if f.price == "" {
		f.price = "{ prompt = 1, completion = 2 }"
	}
	keys := map[string]string{}
	f.dir, f.env = t.TempDir(), func(name string) (string, bool) { return keys[name], true }
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n", settings, sha256.Sum256([]byte("sk-acme")))
	b.WriteString("[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000\n")
	for i, profile := range profiles {
		id := fmt.Sprintf("p%d", i)
		profile.Name, profile.KeepRequests = id, true
		if profile.Credentials == nil {
			profile.Credentials = []sim.Credential{{Name: "good", Key: fmt.Sprint(secret, i)}}
		}
		p, err := sim.Start(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		f.sims, f.order = append(f.sims, p), append(f.order, id)
		var names []string
		for _, c := range profile.Credentials {
			name := strings.ToUpper(id + "_" + c.Name)
			names = append(names, fmt.Sprintf("{ key_env = %q }", name))
			keys[name] = c.Key
			if key, ok := f.keys[name]; ok {
				keys[name] = key
			}
		}
		fmt.Fprintf(&b, `[providers.%s]
name = "%s"
dialect = "openai"
base_url = %q
[providers.%s.credentials.own]
keys = [%s]
[[endpoints]]
model = "m/one"
provider = %q
upstream_model = "upstream-one"
price = %s
%s
`, id, strings.ToUpper(id), p.URL(), id, strings.Join(names, ", "), id, f.price, f.endpoint)
	}
	if f.policy != "" {
		f.write(t, "own.rego", "package own\n\n"+f.policy+"\n")
		b.WriteString("[[policy.sources]]\nname = \"own\"\npath = \".\"\n[[policy.bindings]]\npackage = \"own\"\nfor = \"everyone\"\n")
	}
	f.write(t, "chaperone.toml", b.String())
	f.engine = f.router(t, "chaperone.toml")
	return f
}

func (f *fixture) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// router opens a router with one of the configurations that are there.
func (f *fixture) router(t *testing.T, config string) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(f.dir, config), Env: f.env, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	return e
}

// close ends what a test that opens many would otherwise keep until its end.
func (f *fixture) close() {
	f.engine.Close(context.Background())
	for _, p := range f.sims {
		p.Close()
	}
}

// answer is what the client got.
type answer struct {
	id     string
	err    *wire.Error
	text   string // the content, however it came
	body   []byte // as it came
	broken string // the message of an in-band error event
	done   bool   // the end mark came
	record *journal.Record
}

func (f *fixture) ask(t *testing.T, stream bool) answer {
	t.Helper()
	order, _ := json.Marshal(f.order)
	body := fmt.Appendf(nil, `{"model":"m/one","stream":%t,"max_tokens":24,"provider":{"order":%s},"messages":[{"role":"user","content":"tell me"}]}`, stream, order)
	resp, err := f.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: body})
	var a answer
	if err != nil {
		if !errors.As(err, &a.err) {
			t.Fatalf("the error is no *wire.Error: %v", err)
		}
		a.id = a.err.DecisionID
	} else {
		a.id = resp.Plan.ID
		if resp.Stream != nil {
			a.body, err = io.ReadAll(resp.Stream)
			if err != nil {
				t.Fatal(err)
			}
			a.read(t)
		} else {
			a.body = resp.Body
			var whole struct {
				Choices []struct{ Message struct{ Content string } }
			}
			if err := json.Unmarshal(resp.Body, &whole); err != nil {
				t.Fatal(err)
			}
			a.text, a.done = whole.Choices[0].Message.Content, true
		}
	}
	a.record = f.engine.Record(a.id)
	if a.record == nil {
		t.Fatalf("decision %q has no record", a.id)
	}
	return a
}

func (a *answer) read(t *testing.T) {
	lines := bufio.NewScanner(bytes.NewReader(a.body))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			a.done = true
			continue
		}
		var chunk struct {
			Error   *struct{ Message string }
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		if chunk.Error != nil {
			a.broken = chunk.Error.Message
		}
		if len(chunk.Choices) > 0 {
			a.text += chunk.Choices[0].Delta.Content
		}
	}
}

func outcomes(r *journal.Record) string {
	var out []string
	for _, a := range r.Attempts {
		out = append(out, a.ProviderID+":"+a.Outcome)
	}
	return strings.Join(out, " ")
}

// faults is every way in which a provider can fail before the commit point, with what it means.
var faults = []struct {
	name    string
	fault   sim.Fault
	stream  string // outcome in the record; "" where the fault does not exist in this form
	whole   string
	status  int  // that a client gets where nothing else is left
	request bool // the fault is the request's own: no other provider is asked
}{
	{"reset", sim.Fault{Kind: sim.Reset}, "connect", "connect", 502, false},
	{"close", sim.Fault{Kind: sim.Close}, "connect", "connect", 502, false},
	{"500", sim.Fault{Kind: sim.Status, Status: 500}, "server_error", "server_error", 502, false},
	{"502", sim.Fault{Kind: sim.Status, Status: 502}, "server_error", "server_error", 502, false},
	{"503", sim.Fault{Kind: sim.Status, Status: 503}, "overloaded", "overloaded", 503, false},
	{"529", sim.Fault{Kind: sim.Status, Status: 529}, "overloaded", "overloaded", 503, false},
	{"408", sim.Fault{Kind: sim.Status, Status: 408}, "timeout", "timeout", 504, false},
	{"429", sim.Fault{Kind: sim.Status, Status: 429, RetryAfter: 20 * time.Minute}, "rate_limited", "rate_limited", 429, false},
	{"401", sim.Fault{Kind: sim.Status, Status: 401}, "credential", "credential", 502, false},
	{"402", sim.Fault{Kind: sim.Status, Status: 402}, "credential", "credential", 502, false},
	{"404", sim.Fault{Kind: sim.Status, Status: 404}, "unknown_model", "unknown_model", 502, false},
	{"context length", sim.Fault{Kind: sim.ContextLength}, "context_length", "context_length", 400, false},
	{"unsupported parameter", sim.Fault{Kind: sim.UnsupportedParameter}, "unsupported", "unsupported", 502, false},
	{"content policy", sim.Fault{Kind: sim.ContentPolicy}, "content_policy", "content_policy", 400, true},
	{"silent", sim.Fault{Kind: sim.Silent}, "slow", "timeout", 504, false},
	{"slow", sim.Fault{Kind: sim.Slow, Delay: time.Minute}, "slow", "timeout", 504, false},
	{"error event first", sim.Fault{Kind: sim.ErrorEvent}, "server_error", "server_error", 502, false},
	{"error body", sim.Fault{Kind: sim.ErrorBody}, "server_error", "server_error", 502, false},
	{"empty", sim.Fault{Kind: sim.Empty}, "empty_answer", "empty_answer", 502, false},
	{"content type", sim.Fault{Kind: sim.ContentType}, "bad_answer", "bad_answer", 502, false},
	{"html", sim.Fault{Kind: sim.HTML}, "server_error", "server_error", 502, false},
	{"redirect", sim.Fault{Kind: sim.Redirect}, "redirect", "redirect", 502, false},
	{"cut before content", sim.Fault{Kind: sim.Cut}, "cut", "cut", 502, false},
	{"truncated before content", sim.Fault{Kind: sim.Truncate}, "cut", "empty_answer", 502, false},
	{"stalled before content", sim.Fault{Kind: sim.Stall}, "slow", "timeout", 504, false},
	{"malformed body", sim.Fault{Kind: sim.Malformed}, "", "bad_answer", 502, false},
	{"cut body", sim.Fault{Kind: sim.Cut, AfterTokens: 5}, "", "cut", 502, false},
}

// calm has limits that no machine is too slow for, quick such that a test can wait for them.
const (
	calm  = "[dispatch]\nbackoff = \"10ms\"\n"
	quick = "[timeouts]\nfirst_byte = \"2500ms\"\nttft = \"2s\"\nanswer = \"2s\"\nidle = \"2s\"\ntotal = \"8s\"\n" + calm
)

// waited is how a router is set up in front of a provider that fails like that: quick where it takes a limit to notice.
func waited(f sim.Fault) string {
	switch f.Kind {
	case sim.Silent, sim.Slow, sim.Stall:
		return quick
	}
	return calm
}

// again are the kinds that the same endpoint is tried once more after.
var again = map[string]bool{"server_error": true, "bad_answer": true, "empty_answer": true, "redirect": true}

func TestFaultsBeforeTheCommitPointFallBack(t *testing.T) {
	for _, c := range faults {
		for _, stream := range []bool{true, false} {
			kind := c.whole
			if stream {
				kind = c.stream
			}
			if kind == "" {
				continue
			}
			t.Run(fmt.Sprintf("%s/stream=%t", c.name, stream), func(t *testing.T) {
				t.Parallel()
				bad := sim.Profile{Faults: []sim.Fault{c.fault}}
				bad.Faults[0].Share = 1

				beside := open(t, waited(c.fault), bad, sim.Profile{})
				a := beside.ask(t, stream)
				if c.request {
					if a.err == nil || a.err.Status != c.status || outcomes(a.record) != "p0:"+kind {
						t.Errorf("got %+v after %q; want status %d from the one provider asked", a.err, outcomes(a.record), c.status)
					}
				} else {
					if a.err != nil || !a.done || a.text != whole(t, beside.sims[1]) {
						t.Errorf("the fallback did not serve: %+v, %s", a.err, a.body)
					}
					want := "p0:" + kind + " p1:ok"
					if again[kind] {
						want = "p0:" + kind + " " + want
					}
					if outcomes(a.record) != want {
						t.Errorf("attempts were %q, want %q", outcomes(a.record), want)
					}
					if !bytes.Contains(a.body, []byte(`"provider":"P1"`)) || !bytes.Contains(a.body, []byte(`"model":"m/one"`)) {
						t.Errorf("the answer does not say who served: %s", a.body)
					}
				}

				alone := open(t, waited(c.fault), bad)
				a = alone.ask(t, stream)
				if a.err == nil || a.err.Status != c.status {
					t.Fatalf("alone: got %+v, want status %d", a.err, c.status)
				}
				if c.fault.RetryAfter > 0 && a.err.RetryAfter != c.fault.RetryAfter {
					t.Errorf("Retry-After is %v, the provider announced %v", a.err.RetryAfter, c.fault.RetryAfter)
				}
				if got := a.record.Outcome.Status; got != c.status {
					t.Errorf("the record says status %d, the client got %d", got, c.status)
				}
			})
		}
	}
}

// whole is what a provider's answer to the last request that it got should have been.
func whole(t *testing.T, p *sim.Provider) string {
	t.Helper()
	log := p.Log()
	if len(log) == 0 {
		t.Fatal("the provider was never asked")
	}
	c, err := sim.Answer(p.Profile(), log[len(log)-1].Body)
	if err != nil {
		t.Fatal(err)
	}
	return c.Choices[0].Text
}

func TestFaultsAfterTheCommitPointEndInTheErrorEvent(t *testing.T) {
	for _, c := range []struct {
		name, outcome string
		fault         sim.Fault
	}{
		{"cut", "cut", sim.Fault{Kind: sim.Cut, AfterTokens: 5}},
		{"truncated", "cut", sim.Fault{Kind: sim.Truncate, AfterTokens: 5}},
		{"stalled", "idle", sim.Fault{Kind: sim.Stall, AfterTokens: 5}},
		{"error event", "server_error", sim.Fault{Kind: sim.ErrorEvent, AfterTokens: 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.fault.Share = 1
			f := open(t, waited(c.fault)+"rescue = []\n", sim.Profile{Faults: []sim.Fault{c.fault}}, sim.Profile{})
			a := f.ask(t, true)
			if a.err != nil || a.done || a.broken == "" {
				t.Errorf("want an in-band error and no end mark, got err %v, done %t, event %q", a.err, a.done, a.broken)
			}
			if a.text == "" || !strings.HasPrefix(whole(t, f.sims[0]), a.text) {
				t.Errorf("the client got %q, which is not how the answer began", a.text)
			}
			if outcomes(a.record) != "p0:"+c.outcome {
				t.Errorf("attempts were %q: after content nothing may be repeated", outcomes(a.record))
			}
			if n := f.sims[1].Counts().Requests; n != 0 {
				t.Errorf("another provider was asked %d times", n)
			}
		})
	}
}

func TestAStreamWithoutEndMarkButWithFinishReasonIsWhole(t *testing.T) {
	f := open(t, calm, sim.Profile{Faults: []sim.Fault{{Kind: sim.NoDone, Share: 1}}})
	if a := f.ask(t, true); a.err != nil || !a.done || a.broken != "" || a.text != whole(t, f.sims[0]) {
		t.Errorf("got %+v %s", a.err, a.body)
	}
}

func TestAMalformedEventIsSkipped(t *testing.T) {
	f := open(t, calm, sim.Profile{Faults: []sim.Fault{{Kind: sim.Malformed, AfterTokens: 4, Share: 1}}})
	if a := f.ask(t, true); a.err != nil || !a.done || a.text != whole(t, f.sims[0]) {
		t.Errorf("got %+v %s", a.err, a.body)
	}
}

func TestSecretsOfProvidersReachNobody(t *testing.T) {
	f := (&fixture{keys: map[string]string{"P0_OTHER": secret}}).open(t, calm, sim.Profile{Credentials: []sim.Credential{{Name: "other", Key: "sk-other"}}})
	a := f.ask(t, false)
	if a.err == nil {
		t.Fatal("the provider accepted a credential that is not its own")
	}
	text, _ := json.Marshal(a.record)
	for where, s := range map[string]string{"error": string(wire.Chat.AppendError(nil, a.err)), "record": string(text)} {
		if strings.Contains(s, secret) {
			t.Errorf("the provider's key is in the %s: %s", where, s)
		}
	}
}

func TestUsageAndCostAreReported(t *testing.T) {
	for _, stream := range []bool{true, false} {
		f := open(t, calm, sim.Profile{})
		a := f.ask(t, stream)
		o := a.record.Outcome
		if !o.Usage.Known || o.Usage.CompletionTokens == 0 {
			t.Fatalf("stream %t: no usage in the record: %+v", stream, o)
		}
		want := o.Usage.PromptTokens*1_000_000 + o.Usage.CompletionTokens*2_000_000 // 1 and 2 USD a million, in 10⁻¹² USD
		if int64(o.Cost) != want {
			t.Errorf("stream %t: cost %d picodollars, want %d", stream, o.Cost, want)
		}
		if !bytes.Contains(a.body, []byte(`"cost":`+o.Cost.String())) {
			t.Errorf("stream %t: the client does not see the cost %s: %s", stream, o.Cost, a.body)
		}
		if stream && o.TTFTMs <= 0 {
			t.Error("a stream has no TTFT")
		}
	}
}

func TestAProviderGetsTheBodyWithNamedEditsOnly(t *testing.T) {
	f := open(t, calm, sim.Profile{})
	f.ask(t, true)
	got := string(f.sims[0].Log()[0].Body)
	want := `{"stream_options":{"include_usage":true},"model":"upstream-one","stream":true,"max_tokens":24,"messages":[{"role":"user","content":"tell me"}]}`
	if got != want {
		t.Errorf("the provider got\n%s\nwant\n%s", got, want)
	}
}

func TestAClientThatGoesAwayCancelsTheProvider(t *testing.T) {
	for _, stream := range []bool{true, false} {
		t.Run(fmt.Sprintf("stream=%t", stream), func(t *testing.T) {
			f := open(t, "", sim.Profile{TTFT: sim.Distribution{P50: 10}, TPS: sim.Distribution{P50: 4}, OutputTokens: sim.Distribution{P50: 400}})
			asked := make(chan struct{}, 1)
			ended := make(chan sim.Record, 1)
			f.sims[0].OnRequest(func(sim.Record) { asked <- struct{}{} })
			f.sims[0].OnEnd(func(r sim.Record) { ended <- r })
			ctx, leave := context.WithCancel(t.Context())
			id := ""
			body := fmt.Appendf(nil, `{"model":"m/one","stream":%t,"messages":[{"role":"user","content":"a long story"}]}`, stream)
			if stream {
				resp, err := f.engine.Do(ctx, engine.Call{Key: "sk-acme", Body: body})
				if err != nil {
					t.Fatal(err)
				}
				id = resp.Plan.ID
				resp.Stream.Close()
			} else {
				go func() { <-asked; leave() }()
				_, err := f.engine.Do(ctx, engine.Call{Key: "sk-acme", Body: body})
				var e *wire.Error
				if !errors.As(err, &e) {
					t.Fatalf("a cancelled request ended with %v", err)
				}
				id = e.DecisionID
			}
			leave()
			select {
			case r := <-ended:
				if !r.Cancelled {
					t.Errorf("the provider finished: %+v", r)
				}
			case <-time.After(time.Minute):
				t.Error("the provider never noticed")
			}
			// It was at work, and charges for that.
			eventually(t, "the record", func() bool { return f.engine.Record(id) != nil })
			rec := f.engine.Record(id)
			if least := catalog.Picodollars(rec.Request.PromptTokens * 1_000_000); outcomes(rec) != "p0:cancelled" || rec.Outcome.Cost < least || rec.Outcome.Cost != rec.Attempts[0].Cost {
				t.Errorf("%s cost %v, the prompt alone %v", outcomes(rec), rec.Outcome.Cost, least)
			}
		})
	}
}
