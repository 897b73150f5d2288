package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// dying is every way in which a stream can die after its first content.
var dying = []struct {
	outcome string
	fault   sim.Fault
}{
	{"cut", sim.Fault{Kind: sim.Cut, AfterTokens: 5}},
	{"cut", sim.Fault{Kind: sim.Truncate, AfterTokens: 5}},
	{"idle", sim.Fault{Kind: sim.Stall, AfterTokens: 5}},
	{"server_error", sim.Fault{Kind: sim.ErrorEvent, AfterTokens: 5}},
	{"overloaded", sim.Fault{Kind: sim.ErrorEvent, AfterTokens: 5, Status: 503}},
}

// usage is that of the chunk that has one.
func (a *answer) usage(t *testing.T) (u struct {
	Prompt     int64       `json:"prompt_tokens"`
	Completion int64       `json:"completion_tokens"`
	Total      int64       `json:"total_tokens"`
	Cost       json.Number `json:"cost"`
	Rescued    string      `json:"rescued"`
}) {
	t.Helper()
	for line := range bytes.Lines(a.body) {
		i := bytes.Index(line, []byte(`"usage":{`))
		if i < 0 {
			continue
		}
		if err := json.NewDecoder(bytes.NewReader(line[i+len(`"usage":`):])).Decode(&u); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
	}
	return u
}

func TestAStreamThatDiesIsSpliced(t *testing.T) {
	for _, c := range dying {
		t.Run(c.outcome+"/"+string(c.fault.Kind), func(t *testing.T) {
			t.Parallel()
			f := open(t, waited(c.fault), always(c.fault), sim.Profile{OutputTokens: sim.Distribution{P50: 20}})
			a := f.ask(t, true)
			if a.err != nil || !a.done || a.broken != "" || a.text != whole(t, f.sims[1]) {
				t.Fatalf("not saved: %+v %s\ngot  %q\nwant %q", a.err, a.broken, a.text, whole(t, f.sims[1]))
			}
			if got := outcomes(a.record); got != "p0:"+c.outcome+" p1:ok" || a.record.Attempts[1].Purpose != "splice" || a.record.Outcome.Rescued != "splice" {
				t.Errorf("%s, %+v", got, a.record.Outcome)
			}
			if u := a.usage(t); u.Rescued != "splice" || u.Completion != 20 || u.Total != u.Prompt+20 {
				t.Errorf("usage %+v; the client has 20 tokens", u)
			} else if billed := a.record.Attempts[0].Cost + a.record.Attempts[1].Cost; a.record.Attempts[0].Cost == 0 || a.record.Outcome.Cost != billed || u.Cost.String() != billed.String() {
				t.Errorf("cost %v in the record, %v told; the attempts cost %v", a.record.Outcome.Cost, u.Cost, billed)
			}
			if !bytes.Contains(a.body, []byte(`"provider":"P1"`)) || a.record.Outcome.Provider != "P1" {
				t.Error("the end is not said to be P1's")
			}
			if !strings.Contains(f.metrics(), `chaperone_rescues_total{method="splice"} 1`) {
				t.Error("no metric says so")
			}
		})
	}
}

func TestARescuedStreamThatDiesAgainIsRescuedAgain(t *testing.T) {
	f := open(t, calm, always(sim.Fault{Kind: sim.Cut, AfterTokens: 5}), always(sim.Fault{Kind: sim.Cut, AfterTokens: 12}),
		always(sim.Fault{Kind: sim.Cut, AfterTokens: 3}), sim.Profile{})
	a := f.ask(t, true)
	if a.err != nil || !a.done || a.text != whole(t, f.sims[3]) || outcomes(a.record) != "p0:cut p1:cut p2:cut p3:ok" {
		t.Errorf("%s: %q, %s", outcomes(a.record), a.text, a.broken)
	}
	// P2 died before it had said what the client has: its part was no part of the answer.
	attempts := a.record.Attempts
	if want := attempts[0].Cost + attempts[1].Cost + attempts[3].Cost; a.usage(t).Cost.String() != want.String() {
		t.Errorf("told %v; the attempts that made the answer cost %v", a.usage(t).Cost, want)
	}
}

// Another text must never be stitched to what the client has.
func TestATextThatDiffersIsNotSpliced(t *testing.T) {
	for name, other := range map[string]sim.Profile{
		"another text":     {OwnAnswers: true},
		"shorter":          {OutputTokens: sim.Distribution{P50: 3}},
		"with reasoning":   {ReasoningTokens: 3},
		"dies before that": always(sim.Fault{Kind: sim.Cut, AfterTokens: 2}),
		"refuses":          always(sim.Fault{Kind: sim.ContentPolicy}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t, calm, always(sim.Fault{Kind: sim.Cut, AfterTokens: 5}), other)
			a := f.ask(t, true)
			if a.done || !strings.HasPrefix(whole(t, f.sims[0]), a.text) || !strings.HasPrefix(a.broken, "P0 broke off in the middle of its answer") {
				t.Errorf("text %q, done %t, error %q; want the first error and no end mark", a.text, a.done, a.broken)
			}
			if n := len(a.record.Attempts); n != 2 || a.record.Outcome.Rescued != "" || a.record.Outcome.Status != 502 {
				t.Errorf("%s, %+v", outcomes(a.record), a.record.Outcome)
			}
		})
	}
}

func TestASpliceThatEndsExactlyThere(t *testing.T) {
	f := open(t, calm, always(sim.Fault{Kind: sim.Cut, AfterTokens: 5}), sim.Profile{OutputTokens: sim.Distribution{P50: 5}})
	a := f.ask(t, true)
	if !a.done || a.text != whole(t, f.sims[1]) || a.record.Outcome.FinishReason != "stop" || !bytes.Contains(a.body, []byte(`"finish_reason":"stop"`)) {
		t.Errorf("%q, %+v", a.text, a.record.Outcome)
	}
}

func TestAStreamThatDiesIsContinuedWhereTheCatalogSaysHow(t *testing.T) {
	for _, mode := range []string{"prefill", "prefix", "continue_final_message"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			bad := always(sim.Fault{Kind: sim.Cut, AfterTokens: 5})
			bad.OutputTokens.P50 = 15
			f := (&fixture{endpoint: "continues = \"" + mode + "\""}).open(t, calm, bad, sim.Profile{Continues: mode, OutputTokens: sim.Distribution{P50: 15}})
			a := f.ask(t, true)
			if !a.done || a.text != whole(t, f.sims[0]) {
				t.Fatalf("%s: got %q, want %q; %s", outcomes(a.record), a.text, whole(t, f.sims[0]), a.broken)
			}
			if outcomes(a.record) != "p0:cut p1:ok" || a.record.Outcome.Rescued != "continue" || a.record.Attempts[1].Purpose != "continue" {
				t.Errorf("%s, %+v", outcomes(a.record), a.record.Outcome)
			}
			if err := f.sims[1].Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := f.sims[1].Log()[0].Tokens; n != 10 {
				t.Errorf("the second provider made %d tokens; 10 were missing", n)
			}
			// What the first one made is estimated from its bytes.
			u := a.usage(t)
			if u.Rescued != "continue" || u.Completion <= 10 || u.Completion > 10+wire.EstimateTokens(len(a.text)) || u.Total != u.Prompt+u.Completion {
				t.Errorf("usage %+v", u)
			}
			if u.Completion != a.record.Outcome.Usage.CompletionTokens || u.Cost.String() != a.record.Outcome.Cost.String() {
				t.Errorf("told %+v, recorded %+v", u, a.record.Outcome)
			}
		})
	}
}

func TestNoPrefillGoesToAnEndpointThatIsNotSaidToTakeIt(t *testing.T) {
	f := open(t, calm+"rescue = [\"continue\"]\n", always(sim.Fault{Kind: sim.Cut, AfterTokens: 5}), sim.Profile{Continues: "prefill"})
	if a := f.ask(t, true); a.done || a.broken == "" || f.sims[1].Counts().Requests != 0 {
		t.Errorf("%s, done %t", outcomes(a.record), a.done)
	}
	// The catalog is wrong: the rejection is not what the client sees, and splicing is tried next at the same endpoint.
	for _, settings := range []string{"rescue = [\"continue\"]\n", ""} {
		f = (&fixture{endpoint: "continues = \"prefix\""}).open(t, calm+settings, always(sim.Fault{Kind: sim.Cut, AfterTokens: 5}), sim.Profile{})
		a := f.ask(t, true)
		if spliced := settings == ""; a.done != spliced || !spliced && !strings.HasPrefix(a.broken, "P0 broke off") {
			t.Errorf("%q: %s, done %t, %s", settings, outcomes(a.record), a.done, a.broken)
		}
	}
}

func TestWhatIsNotRescuedSaysWhy(t *testing.T) {
	tool := `"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":{"what":{"type":"string"}},"required":["what"]}}}],"tool_choice":"required"`
	for name, c := range map[string]struct {
		more, want string
		reasoning  int
	}{
		"tool call": {tool, "the answer has more than text: a tool call, reasoning, a refusal or media", 0},
		"custom tool call": {`"tools":[{"type":"custom","custom":{"name":"run"}}],"tool_choice":"required"`,
			"the answer has more than text: a tool call, reasoning, a refusal or media", 0},
		"reasoning": {`"seed":1`, "the answer has more than text: a tool call, reasoning, a refusal or media", 10},
		"choices":   {`"n":2`, "several choices were asked for", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := (&fixture{endpoint: `supported_parameters = ["tools", "tool_choice", "custom_tools", "seed", "logprobs", "max_tokens"]`}).open(t, calm,
				sim.Profile{ReasoningTokens: c.reasoning, Faults: []sim.Fault{{Kind: sim.Cut, AfterTokens: 2, Share: 1}}}, sim.Profile{ReasoningTokens: c.reasoning})
			body := fmt.Sprintf(`{"model":"m/one","stream":true,%s,"provider":{"order":["p0","p1"]},"messages":[{"role":"user","content":"x"}]}`, c.more)
			resp, err := f.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(body)})
			if err != nil {
				t.Fatal(err)
			}
			a := answer{id: resp.Plan.ID}
			if a.body, err = io.ReadAll(resp.Stream); err != nil {
				t.Fatal(err)
			}
			a.read(t)
			rec := f.engine.Record(a.id)
			if a.done || a.broken == "" || outcomes(rec) != "p0:cut" || rec.Outcome.NotRescued != c.want {
				t.Errorf("done %t, %s, %q; want %q", a.done, outcomes(rec), rec.Outcome.NotRescued, c.want)
			}
		})
	}
}

func TestStructuredOutputIsSplicedAndNeverContinued(t *testing.T) {
	f := (&fixture{endpoint: "continues = \"prefill\"\nsupported_parameters = [\"response_format\"]"}).open(t, calm,
		always(sim.Fault{Kind: sim.Cut, AfterTokens: 5}), sim.Profile{Continues: "prefill"})
	body := `{"model":"m/one","stream":true,"response_format":{"type":"json_object"},"provider":{"order":["p0","p1"]},"messages":[{"role":"user","content":"x"}]}`
	resp, err := f.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Stream); err != nil {
		t.Fatal(err)
	}
	if rec := f.engine.Record(resp.Plan.ID); rec.Outcome.Rescued != "splice" || outcomes(rec) != "p0:cut p1:ok" {
		t.Errorf("%s, %+v", outcomes(rec), rec.Outcome)
	}
}

// Of a text that comes before a tool call, the text can break off: the call is then the other endpoint's alone.
func TestATextBeforeAToolCallIsSpliced(t *testing.T) {
	for _, tools := range []string{lookTool, `"tools":[{"type":"custom","custom":{"name":"run"}}],"tool_choice":"required",`} {
		for after, saved := range map[int]bool{2: true, 6: true, 8: false} { // six tokens of text, then those of the call
			bad := always(sim.Fault{Kind: sim.Cut, AfterTokens: after})
			bad.PreambleTokens = 6
			f := (&fixture{endpoint: `supported_parameters = ["tools", "tool_choice", "custom_tools"]`}).open(t, calm, bad, sim.Profile{PreambleTokens: 6})
			body := fmt.Sprintf(`{"model":"m/one","stream":true,%s"provider":{"order":["p0","p1"]},"messages":[{"role":"user","content":"x"}]}`, tools)
			resp, err := f.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(body)})
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Stream)
			if err != nil {
				t.Fatal(err)
			}
			var got received
			for line := range bytes.Lines(text) {
				if data, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data: ")); ok && data[0] == '{' {
					got.add(t, data)
				}
			}
			got.done = bytes.HasSuffix(text, []byte("data: [DONE]\n\n"))
			right, _ := sim.Answer(f.sims[0].Profile(), []byte(body))
			want := right.Choices[0]
			if whole := got.done && got.text == want.Text && got.arguments == want.Call.Arguments && got.finish == "tool_calls"; whole != saved || (got.failure == nil) != saved {
				t.Errorf("broken off after %d tokens: %+v, want %+v %s, saved: %t; %s", after, got, want, want.Call.Arguments, saved, outcomes(f.engine.Record(resp.Plan.ID)))
			}
		}
	}
}

func TestAClientThatLeavesDuringARescueCancelsIt(t *testing.T) {
	f := open(t, calm, always(sim.Fault{Kind: sim.Cut, AfterTokens: 5}), sim.Profile{TTFT: sim.Distribution{P50: 20_000}})
	f.endpoint = ""
	asked := make(chan struct{})
	f.sims[1].OnRequest(func(sim.Record) { close(asked) })
	ended := make(chan sim.Record, 1)
	f.sims[1].OnEnd(func(r sim.Record) { ended <- r })
	body := `{"model":"m/one","stream":true,"provider":{"order":["p0","p1"]},"messages":[{"role":"user","content":"x"}]}`
	resp, err := f.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-asked
		resp.Stream.Close()
	}()
	if _, err := io.ReadAll(resp.Stream); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	select {
	case r := <-ended:
		if !r.Cancelled {
			t.Errorf("%+v", r)
		}
	case <-time.After(time.Minute):
		t.Fatal("the rescue runs on")
	}
}

// What has come into force since an answer began binds who is to go on with it.
func TestARescueKeepsToWhatHasComeIntoForce(t *testing.T) {
	f := (&fixture{policy: `deny contains "nobody" if input.request.n > 5`}).open(t, calm, always(sim.Fault{Kind: sim.Cut, AfterTokens: 5}), sim.Profile{})
	f.sims[0].OnRequest(func(sim.Record) {
		f.write(t, "own.rego", "package own\n\nrequire contains {\"rescue\": false}\n")
		if err := f.engine.Reload(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if a := f.ask(t, true); a.done || outcomes(a.record) != "p0:cut" || f.sims[1].Counts().Requests != 0 {
		t.Errorf("%s, done %t", outcomes(a.record), a.done)
	}
}

// The limit of an answer that is used up leaves nothing to be continued, but the whole of it can be said once more.
func TestWhatCannotBeContinuedIsSpliced(t *testing.T) {
	bad := always(sim.Fault{Kind: sim.Cut, AfterTokens: 22})
	bad.OutputTokens.P50 = 23
	f := (&fixture{endpoint: "continues = \"prefill\""}).open(t, calm, bad, sim.Profile{Continues: "prefill", OutputTokens: sim.Distribution{P50: 23}})
	a := f.ask(t, true)
	if !a.done || a.text != whole(t, f.sims[1]) || outcomes(a.record) != "p0:cut p1:ok" || a.record.Outcome.Rescued != "splice" {
		t.Errorf("%s: got %q, want %q; %s, %+v", outcomes(a.record), a.text, whole(t, f.sims[1]), a.broken, a.record.Outcome)
	}
}
