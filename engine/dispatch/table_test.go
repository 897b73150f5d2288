package dispatch_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/server"
	"chaperone/engine/sim"
)

// The table of attempts, row by row, at the wire: a client, a server, an engine and providers that misbehave, each with a
// listener of its own. Every row is tried streaming and not, with text, reasoning and a tool call, alone and with a fallback.

// outcomeOf is what a way to misbehave comes to: the word of the record for an answer in one piece and for a stream, "" where the
// provider is the one that answers.
type outcomeOf struct{ whole, stream string }

func both(outcome string) outcomeOf { return outcomeOf{outcome, outcome} }

// tableRow is a way to misbehave.
type tableRow struct {
	row     string // of the table
	name    string
	profile sim.Profile
	outcome outcomeOf
	mid     bool          // a stream goes wrong after its first content
	status  int           // that a client gets from it alone; 0: as the outcome says
	onSlow  string        // the setting; "switch" where empty
	late    string        // the outcome where there is another endpoint to go to; "" where that makes no difference
	wait    time.Duration // that is announced to the client
	refused bool          // nobody listens at the base URL
	tls     bool          // the base URL says https
	keys    int           // credentials of its provider; 1 where 0
	limits  string        // settings of the time limit that it is about; in all other cases the limits are longer than any machine is slow
}

func failing(f sim.Fault) sim.Profile { return always(f) }

func status(code int) sim.Profile { return always(sim.Fault{Kind: sim.Status, Status: code}) }

// long is more than the time for a request: nobody waits for it. slack is how slow a machine may be.
const (
	long  = 5 * time.Minute
	slack = 20 * time.Second
)

var table = []tableRow{
	{row: "connection", name: "refused", refused: true, outcome: both("connect")},
	{row: "connection", name: "reset", profile: failing(sim.Fault{Kind: sim.Reset}), outcome: both("connect")},
	{row: "connection", name: "closed", profile: failing(sim.Fault{Kind: sim.Close}), outcome: both("connect")},
	{row: "connection", name: "no TLS", tls: true, outcome: both("tls")},
	{row: "5xx", name: "500", profile: status(500), outcome: both("server_error")},
	{row: "5xx", name: "502", profile: status(502), outcome: both("server_error")},
	{row: "5xx", name: "520", profile: status(520), outcome: both("server_error")},
	{row: "5xx", name: "523", profile: status(523), outcome: both("server_error")},
	{row: "5xx", name: "525", profile: status(525), outcome: both("server_error")},
	{row: "5xx", name: "528", profile: status(528), outcome: both("server_error")},
	{row: "5xx", name: "599", profile: status(599), outcome: both("server_error")},
	{row: "5xx", name: "HTML", profile: failing(sim.Fault{Kind: sim.HTML}), outcome: both("server_error")},
	{row: "overloaded", name: "503", profile: status(503), outcome: both("overloaded")},
	{row: "overloaded", name: "529", profile: status(529), outcome: both("overloaded")},
	{row: "overloaded", name: "498", profile: status(498), outcome: both("overloaded")},
	{row: "overloaded", name: "503 announced", profile: failing(sim.Fault{Kind: sim.Status, Status: 503, RetryAfter: long}), outcome: both("overloaded"), wait: long},
	{row: "429", name: "two keys", keys: 2, profile: failing(sim.Fault{Kind: sim.Status, Status: 429, RetryAfter: long}), outcome: both("rate_limited"), wait: long},
	{row: "429", name: "seconds", profile: limitedBy("seconds"), outcome: both("rate_limited"), wait: long},
	{row: "429", name: "milliseconds", profile: limitedBy("ms"), outcome: both("rate_limited"), wait: long},
	{row: "429", name: "a date", profile: limitedBy("date"), outcome: both("rate_limited"), wait: long},
	{row: "429", name: "Azure's header", profile: limitedBy("azure"), outcome: both("rate_limited"), wait: long},
	{row: "429", name: "OpenAI's headroom", profile: limitedBy("openai"), outcome: both("rate_limited"), wait: long},
	{row: "429", name: "Anthropic's headroom", profile: limitedBy("anthropic"), outcome: both("rate_limited"), wait: long},
	{row: "429", name: "OpenRouter's headroom", profile: limitedBy("openrouter"), outcome: both("rate_limited"), wait: long},
	{row: "429", name: "Google's body", profile: limitedBy("google"), outcome: both("rate_limited"), wait: long},
	{row: "silence", name: "408", profile: status(408), outcome: both("timeout")},
	{row: "silence", name: "504", profile: status(504), outcome: both("timeout")},
	{row: "silence", name: "524", profile: status(524), outcome: both("timeout")},
	{row: "silence", name: "silent", profile: failing(sim.Fault{Kind: sim.Silent}), outcome: both("timeout"), limits: "first_byte = \"2s\"\nanswer = \"2s\""},
	{row: "silence", name: "never ends", profile: failing(sim.Fault{Kind: sim.Endless}), outcome: both("bad_answer")},
	{row: "slow", name: "switch", profile: takes(1200 * time.Millisecond), onSlow: "switch", late: "slow", limits: "ttft = \"400ms\""},
	{row: "slow", name: "hedge", profile: takes(1200 * time.Millisecond), onSlow: "hedge", late: "outpaced", limits: "ttft = \"400ms\""},
	{row: "slow", name: "wait", profile: takes(1200 * time.Millisecond), onSlow: "wait", limits: "ttft = \"400ms\""},
	{row: "credential", name: "401", profile: status(401), outcome: both("credential")},
	{row: "credential", name: "402", profile: status(402), outcome: both("credential")},
	{row: "credential", name: "403", profile: status(403), outcome: both("credential")},
	{row: "credential", name: "two keys", keys: 2, profile: status(401), outcome: both("credential")},
	{row: "unknown", name: "404", profile: status(404), outcome: both("unknown_model")},
	{row: "unknown", name: "parameter", profile: failing(sim.Fault{Kind: sim.UnsupportedParameter}), outcome: both("unsupported")},
	{row: "context length", name: "400", profile: failing(sim.Fault{Kind: sim.ContextLength}), outcome: both("context_length")},
	{row: "content policy", name: "400", profile: failing(sim.Fault{Kind: sim.ContentPolicy}), outcome: both("content_policy"), status: 400},
	{row: "redirect", name: "307", profile: failing(sim.Fault{Kind: sim.Redirect}), outcome: both("redirect")},
	{row: "redirect", name: "302", profile: failing(sim.Fault{Kind: sim.Redirect, Status: 302, Location: "http://127.0.0.1:1/"}), outcome: both("redirect")},
	{row: "other 4xx", name: "409", profile: status(409), outcome: both("invalid_request"), status: 409},
	{row: "other 4xx", name: "418", profile: status(418), outcome: both("invalid_request"), status: 418},
	{row: "other 4xx", name: "422", profile: status(422), outcome: both("invalid_request"), status: 422},
	{row: "no answer", name: "error body", profile: failing(sim.Fault{Kind: sim.ErrorBody}), outcome: both("server_error")},
	{row: "no answer", name: "error body, vLLM", profile: failing(sim.Fault{Kind: sim.ErrorBody, Form: "bare"}), outcome: both("server_error")},
	{row: "no answer", name: "error body, text", profile: failing(sim.Fault{Kind: sim.ErrorBody, Form: "text"}), outcome: both("server_error")},
	{row: "no answer", name: "error body, FastAPI", profile: failing(sim.Fault{Kind: sim.ErrorBody, Form: "detail"}), outcome: both("server_error")},
	{row: "no answer", name: "error body, Google", profile: failing(sim.Fault{Kind: sim.ErrorBody, Form: "array"}), outcome: both("server_error")},
	{row: "no answer", name: "error body, 429", profile: failing(sim.Fault{Kind: sim.ErrorBody, Form: "bare", Status: 429}), outcome: both("rate_limited")},
	{row: "no answer", name: "error body, 401", profile: failing(sim.Fault{Kind: sim.ErrorBody, Form: "bare", Status: 401}), outcome: both("credential")},
	{row: "no answer", name: "empty", profile: failing(sim.Fault{Kind: sim.Empty}), outcome: both("empty_answer")},
	{row: "no answer", name: "content type", profile: failing(sim.Fault{Kind: sim.ContentType}), outcome: both("bad_answer")},
	{row: "no answer", name: "HTML with 200", profile: failing(sim.Fault{Kind: sim.HTML, Status: 200}), outcome: both("bad_answer")},
	{row: "no answer", name: "malformed", profile: failing(sim.Fault{Kind: sim.Malformed, Events: 4}), outcome: both("bad_answer")},
	{row: "no answer", name: "cut", profile: failing(sim.Fault{Kind: sim.Cut}), outcome: both("cut")},
	{row: "no answer", name: "truncated", profile: failing(sim.Fault{Kind: sim.Truncate}), outcome: outcomeOf{"empty_answer", "cut"}},
	{row: "no answer", name: "an end mark alone", profile: failing(sim.Fault{Kind: sim.EarlyDone}), outcome: both("empty_answer")},
	{row: "no answer", name: "an error for finish reason", profile: failing(sim.Fault{Kind: sim.ErrorFinish}), outcome: both("server_error")},
	{row: "error event first", name: "500", profile: failing(sim.Fault{Kind: sim.ErrorEvent}), outcome: both("server_error")},
	{row: "error event first", name: "401", profile: failing(sim.Fault{Kind: sim.ErrorEvent, Status: 401}), outcome: both("credential")},
	{row: "error event first", name: "429", profile: failing(sim.Fault{Kind: sim.ErrorEvent, Status: 429}), outcome: both("rate_limited")},
	{row: "error event first", name: "503", profile: failing(sim.Fault{Kind: sim.ErrorEvent, Status: 503}), outcome: both("overloaded")},
	{row: "malformed event", name: "one before content", profile: failing(sim.Fault{Kind: sim.Malformed}), outcome: outcomeOf{"bad_answer", ""}},
	{row: "malformed event", name: "three in the text", profile: failing(sim.Fault{Kind: sim.Malformed, AfterTokens: 3, Events: 3}), outcome: outcomeOf{"bad_answer", ""}},
	{row: "malformed event", name: "four in the text", profile: failing(sim.Fault{Kind: sim.Malformed, AfterTokens: 3, Events: 4}), outcome: both("bad_answer"), mid: true},
	{row: "no end mark", name: "a finish reason and a clean end", profile: failing(sim.Fault{Kind: sim.NoDone})},
	{row: "broken stream", name: "cut", profile: failing(sim.Fault{Kind: sim.Cut, AfterTokens: 3}), outcome: both("cut"), mid: true},
	{row: "broken stream", name: "clean end", profile: failing(sim.Fault{Kind: sim.Truncate, AfterTokens: 3}), outcome: outcomeOf{"bad_answer", "cut"}, mid: true},
	{row: "broken stream", name: "clean end but for the finish reason", profile: failing(sim.Fault{Kind: sim.Truncate, AfterTokens: 99}), outcome: outcomeOf{"bad_answer", "cut"}, mid: true},
	{row: "broken stream", name: "end mark", profile: failing(sim.Fault{Kind: sim.EarlyDone, AfterTokens: 3}), outcome: both("cut"), mid: true},
	{row: "broken stream", name: "an error for finish reason", profile: failing(sim.Fault{Kind: sim.ErrorFinish, AfterTokens: 3}), outcome: both("server_error"), mid: true},
	{row: "broken stream", name: "error event", profile: failing(sim.Fault{Kind: sim.ErrorEvent, AfterTokens: 3}), outcome: both("server_error"), mid: true},
	{row: "broken stream", name: "error event, overloaded", profile: failing(sim.Fault{Kind: sim.ErrorEvent, AfterTokens: 3, Status: 529}), outcome: both("overloaded"), mid: true},
	{row: "broken stream", name: "silent", profile: failing(sim.Fault{Kind: sim.Stall, AfterTokens: 3}), outcome: outcomeOf{"timeout", "idle"}, mid: true, limits: "idle = \"2s\"\nanswer = \"2s\""},
	{row: "broken stream", name: "pings", profile: failing(sim.Fault{Kind: sim.Pings, AfterTokens: 3}), outcome: outcomeOf{"timeout", "idle"}, mid: true, limits: "answer = \"2s\""}, // signs of life for as long as a whole answer may take
	{row: "broken stream", name: "an event without end", profile: failing(sim.Fault{Kind: sim.Endless, AfterTokens: 3}), outcome: both("bad_answer"), mid: true},
	{row: "well", name: "usage with the finish reason", profile: sim.Profile{UsageIn: "finish"}},
	{row: "well", name: "usage in every chunk", profile: sim.Profile{UsageIn: "every"}},
	{row: "well", name: "usage in the choice", profile: sim.Profile{UsageIn: "choice"}},
	{row: "well", name: "usage in Groq's object", profile: sim.Profile{UsageIn: "groq"}},
	{row: "well", name: "no usage", profile: sim.Profile{UsageIn: "none"}},
	{row: "well", name: "reasoning under another name", profile: sim.Profile{ReasoningIn: "reasoning_details"}},
}

func limitedBy(announce string) sim.Profile {
	return always(sim.Fault{Kind: sim.Status, Status: 429, RetryAfter: long, Announce: announce})
}

const tableSettings = `[server]
listen = "127.0.0.1:0"
private_listen = ""
drain_delay = "0s"
[timeouts]
connect = "2s"
tls = "2s"
first_byte = "1m"
ttft = "1m"
answer = "1m"
idle = "1m"
total = "3m"
early_headers = "3m"
[routing]
max_answer_bytes = 8000
attempts = 4
[dispatch]
backoff = "20ms"
retry_budget = 100
hedge_budget = 100
rescue = ["splice"]
[dispatch.breaker]
failures = %d
cool_down = "1m"
[organisations.acme]
[[keys]]
organisation = "acme"
sha256 = "%x"
[providers.a]
name = "A"
dialect = "openai"
base_url = "http://127.0.0.1:1"
[providers.a.credentials.k1]
key_env = "K1"
[providers.a.credentials.k2]
keys = [{ key_env = "K2" }, { key_env = "K3" }]
[providers.b]
name = "B"
dialect = "openai"
base_url = "http://127.0.0.1:1"
[providers.b.credentials.k1]
key_env = "K4"
`

// tableCase is one request.
type tableCase struct {
	*tableRow
	stream bool
	kind   string // text, reasoning or tool call
	beside bool   // there is a fallback
	model  string
	good   *sim.Provider // the fallback
	bad    *sim.Provider
}

func (c *tableCase) String() string {
	return fmt.Sprintf("%s: %s/%s/stream=%t/fallback=%t", c.row, c.name, c.kind, c.stream, c.beside)
}

// want is what the record of c should say: its attempts, and whether the client has a whole answer.
func (c *tableCase) want() (attempts string, answered bool) {
	outcome := c.outcome.whole
	if c.stream {
		outcome = c.outcome.stream
		if c.beside && c.late != "" {
			outcome = c.late
		}
	}
	tries := []string{"a:" + outcome}
	switch {
	case outcome == "":
		return "a:ok", true
	case c.stream && c.mid: // text alone can be taken up by another
	case again[outcome]:
		tries = append(tries, tries[0])
	case outcome == "rate_limited" && c.wait == 0 && !c.beside:
		tries = []string{tries[0], tries[0], tries[0], tries[0]} // as many as there may be, each after a wait of our own
	case outcome == "rate_limited" || outcome == "credential":
		for range c.keys - 1 {
			tries = append(tries, tries[0])
		}
	}
	answered = c.beside && !c.ofRequest() && outcome != "deadline" && (!c.stream || !c.mid || c.kind == "text")
	if answered {
		tries = append(tries, "b:ok")
	}
	return strings.Join(tries, " "), answered
}

// ofRequest says whether no other provider is asked after it.
func (c *tableCase) ofRequest() bool {
	return c.outcome.whole == "content_policy" || c.outcome.whole == "invalid_request"
}

// breaks is how many failures open the breakers of c's router: as many as it counts in c, so that one that does not count shows.
func (c *tableCase) breaks() int {
	attempts, _ := c.want()
	outcome := strings.TrimPrefix(strings.Fields(attempts)[0], "a:")
	if n := strings.Count(attempts, "a:"+outcome); again[outcome] && n > 1 {
		return n
	}
	return 1
}

// rests is how the first endpoint rests afterwards.
func (c *tableCase) rests() string {
	attempts, _ := c.want()
	switch outcome := strings.TrimPrefix(strings.Fields(attempts)[0], "a:"); {
	case outcome == "rate_limited" && c.wait > 0:
		return "rate_limited"
	case outcome == "overloaded" && c.wait > 0:
		return "announced_wait"
	case outcome == "ok", outcome == "outpaced", outcome == "deadline", outcome == "rate_limited", outcome == "unknown_model", outcome == "unsupported", outcome == "context_length", c.ofRequest():
		return ""
	}
	return "breaker_open"
}

var clientStatus = map[string]int{"connect": 502, "tls": 502, "server_error": 502, "overloaded": 503, "rate_limited": 429, "timeout": 504, "slow": 504,
	"credential": 502, "unknown_model": 502, "unsupported": 502, "context_length": 400, "redirect": 502, "bad_answer": 502, "empty_answer": 502, "cut": 502, "idle": 504, "deadline": 504}

const lookTool = `"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":` +
	`{"what":{"type":"string"},"where":{"type":"string"}},"required":["what","where"]}}}],"tool_choice":"required",`

func (c *tableCase) body() []byte {
	tools := ""
	if c.kind == "tool call" {
		tools = lookTool
	}
	return fmt.Appendf(nil, `{"model":%q,"stream":%t,%s"provider":{"order":["a","b"]},"messages":[{"role":"user","content":"tell me"}]}`, c.model, c.stream, tools)
}

// start starts the providers of c and appends what the catalog says of them.
func (c *tableCase) start(t *testing.T, ctx context.Context, toml *strings.Builder) {
	fmt.Fprintf(toml, "[models.%q]\nname = \"M\"\ncontext_length = 32000\n", c.model)
	names := []string{"a"}
	if c.beside {
		names = append(names, "b")
	}
	for _, name := range names {
		p := sim.Profile{}
		if name == "a" {
			p = c.profile
			p.Faults = slices.Clone(p.Faults)
			if c.stream && c.beside && c.late != "" {
				p = takes(20 * time.Second) // it is not waited for
			}
		}
		p.Name, p.KeepRequests, p.OutputTokens = name, true, sim.Distribution{P50: 12}
		if c.kind == "reasoning" {
			p.ReasoningTokens = 6
		}
		provider, err := sim.Start(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		url, keys := provider.URL(), 1
		if name == "a" {
			c.bad, keys = provider, max(c.keys, 1)
			if c.refused {
				url = "http://127.0.0.1:1/v1"
			}
			if c.tls {
				url = strings.Replace(url, "http:", "https:", 1)
			}
		} else {
			c.good = provider
		}
		fmt.Fprintf(toml, "[[endpoints]]\nmodel = %q\nprovider = %q\nupstream_model = \"u\"\nbase_url = %q\ncredentials = [\"k%d\"]\nprice = { prompt = 1, completion = 2 }\nsupported_parameters = [\"tools\", \"tool_choice\"]\n",
			c.model, name, url, keys)
	}
	if c.limits != "" {
		fmt.Fprintf(toml, "[[dispatch.overrides]]\nmodel = %q\non_slow = %q\n%s\n", c.model, cmp.Or(c.onSlow, "switch"), c.limits)
	}
}

// received is what a client has made of an answer.
type received struct {
	status    int
	header    http.Header
	text      string
	reasoning string
	arguments string
	finish    string
	done      bool // it came to its end
	provider  string
	cost      json.Number
	rescued   string
	failure   *struct {
		Code     json.Number
		Message  string
		Metadata struct {
			Attempts []struct{ Outcome string }
		}
	}
}

func (r *received) add(t *testing.T, data []byte) {
	type part struct {
		Content   string
		Reasoning string `json:"reasoning_content"`
		Other     string `json:"reasoning"`
		ToolCalls []struct {
			Function struct{ Arguments string }
			Custom   struct{ Input string }
		} `json:"tool_calls"`
	}
	var x struct {
		Provider string
		Choices  []struct {
			Delta, Message part
			FinishReason   string `json:"finish_reason"`
		}
		Usage *struct {
			Cost    json.Number
			Rescued string
		}
	}
	if err := json.Unmarshal(data, &struct{ Error any }{&r.failure}); err != nil {
		t.Errorf("%v in %s", err, data)
		return
	}
	if err := json.Unmarshal(data, &x); err != nil {
		t.Errorf("%v in %s", err, data)
		return
	}
	r.provider = x.Provider
	for _, c := range x.Choices {
		for _, p := range []part{c.Delta, c.Message} {
			r.text += p.Content
			r.reasoning += p.Reasoning + p.Other
			for _, call := range p.ToolCalls {
				r.arguments += call.Function.Arguments + call.Custom.Input
			}
		}
		if c.FinishReason != "" {
			r.finish = c.FinishReason
		}
	}
	if x.Usage != nil {
		r.cost, r.rescued = x.Usage.Cost, x.Usage.Rescued
	}
}

// send asks a router as any client would.
func (router *router) send(t *testing.T, key string, body []byte, stream bool) (r received) {
	request, err := http.NewRequestWithContext(t.Context(), "POST", router.url, bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return r
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	resp, err := router.client.Do(request)
	if err != nil {
		t.Error(err)
		return r
	}
	defer resp.Body.Close()
	r.status, r.header = resp.StatusCode, resp.Header
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	if !stream || r.status != http.StatusOK {
		r.add(t, text)
		r.done = r.failure == nil
		return r
	}
	for line := range bytes.Lines(text) {
		data, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data: "))
		switch {
		case !ok:
		case string(data) == "[DONE]":
			r.done = true
		case r.done:
			t.Errorf("%s comes after the end mark", data)
		default:
			r.add(t, data)
		}
	}
	return r
}

func TestEveryRowOfTheTable(t *testing.T) {
	routers := map[int][]*tableCase{}
	ran := map[string]int{}
	for i := range table {
		for _, kind := range []string{"text", "reasoning", "tool call"} {
			for _, stream := range []bool{true, false} {
				for _, beside := range []bool{true, false} {
					c := &tableCase{tableRow: &table[i], kind: kind, stream: stream, beside: beside}
					c.model = fmt.Sprintf("m/%d", len(ran))
					if testing.Short() && kind != "text" && table[i].row != "broken stream" {
						continue
					}
					ran[c.String()]++
					routers[c.breaks()] = append(routers[c.breaks()], c)
				}
			}
		}
	}
	opened := map[int]*router{}
	for breaks, cases := range routers {
		opened[breaks] = openTable(t, breaks, cases)
	}
	// What is about a time limit comes last: other requests are not to use up the time that a good provider needs.
	for _, timed := range []bool{false, true} {
		atOnce := 48
		if timed {
			atOnce = 12
		}
		slots := make(chan struct{}, atOnce)
		var all sync.WaitGroup
		for breaks, cases := range routers {
			for _, c := range cases {
				if (c.limits != "") != timed {
					continue
				}
				slots <- struct{}{}
				all.Go(func() {
					defer func() { <-slots }()
					opened[breaks].try(t, c)
				})
			}
		}
		all.Wait()
	}
	counts := map[string]int{}
	for _, cases := range routers {
		for _, c := range cases {
			form := "whole"
			if c.stream {
				form = "streamed"
			}
			beside := "alone"
			if c.beside {
				beside = "with a fallback"
			}
			for _, kind := range []string{"row " + c.row, "of " + c.kind, form, beside, "in all"} {
				counts[kind]++
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%4d cases %s", counts[kind], kind)
	}
}

// router is a server in front of an engine.
type router struct {
	engine *engine.Engine
	client *http.Client
	url    string
}

func openTable(t *testing.T, breaks int, cases []*tableCase) *router {
	var toml strings.Builder
	fmt.Fprintf(&toml, tableSettings, breaks, sha256.Sum256([]byte("sk-acme")))
	for _, c := range cases {
		c.start(t, t.Context(), &toml)
	}
	t.Cleanup(func() {
		for _, c := range cases {
			c.bad.Close()
			if c.good != nil {
				c.good.Close()
			}
		}
	})
	return serve(t, toml.String(), "")
}

// serve starts a router with that configuration, and a policy beside it where there is one.
func serve(t *testing.T, toml, rego string) *router {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"chaperone.toml": toml, "own.rego": rego} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(dir, "chaperone.toml"), Log: quiet,
		Env: func(name string) (string, bool) { return "sk-" + name + "-0123456789", true }})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(e, e.Settings().Server, e.Metrics(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		s.Shutdown(context.Background())
		e.Close(context.Background())
	})
	return &router{e, client, "http://" + s.Addr().String() + "/v1/chat/completions"}
}

// try sends the request of c and holds what came of it against the table.
func (r *router) try(t *testing.T, c *tableCase) {
	wrong := func(format string, args ...any) { t.Errorf("%s: %s", c, fmt.Sprintf(format, args...)) }
	want, answered := c.want()
	got := r.send(t, "sk-acme", c.body(), c.stream)
	id := got.header.Get("X-Generation-Id")
	rec := r.engine.Record(id)
	if rec == nil {
		wrong("decision %q has no record; status %d, %+v", id, got.status, got.failure)
		return
	}
	if outcomes(rec) != want {
		wrong("attempts %s, want %s", outcomes(rec), want)
		return
	}
	c.checkAnswer(wrong, got, rec, answered)
	c.checkPace(wrong, rec)
	c.checkBill(wrong, got, rec, answered)
	c.checkProviders(wrong, rec)

	view, err := r.engine.Endpoints(t.Context(), "sk-acme", c.model)
	if err != nil {
		wrong("%v", err)
		return
	}
	var said struct {
		Data struct {
			Endpoints []struct {
				ID, Resting string
				Doubt       string `json:"catalog_doubt"`
			}
		}
	}
	if err := json.Unmarshal(view, &said); err != nil {
		wrong("%v", err)
	}
	for _, e := range said.Data.Endpoints {
		rests, doubt := "", ""
		if strings.Contains(e.ID, "@a") {
			rests = c.rests()
			if c.row == "unknown" || c.row == "context length" { // the request is so short that it fits
				doubt = c.outcome.whole
			}
		}
		if e.Doubt != doubt {
			wrong("of the catalog's entry for %s it is said %q, want %q", e.ID, e.Doubt, doubt)
		}
		if e.Resting == "rate_limited" && c.outcome.whole == "rate_limited" && c.wait == 0 {
			continue // for a few milliseconds, which may be over
		}
		if e.Resting != rests {
			wrong("%s rests for %q, want %q", e.ID, e.Resting, rests)
		}
	}
}

// checkAnswer is about what the client got.
func (c *tableCase) checkAnswer(wrong func(string, ...any), got received, rec *journal.Record, answered bool) {
	p := c.bad
	if rec.Outcome.Provider == "B" {
		p = c.good
	}
	completion, err := sim.Answer(p.Profile(), c.body())
	if err != nil {
		wrong("%v", err)
	}
	right, arguments := completion.Choices[0], ""
	if right.Call != nil {
		arguments = right.Call.Arguments
	}
	last := rec.Attempts[len(rec.Attempts)-1]
	started := c.stream && c.mid // the client has content
	switch {
	case answered:
		if got.status != 200 || !got.done || got.failure != nil || got.text != right.Text || got.reasoning != right.Reasoning || got.arguments != arguments || got.finish != right.FinishReason {
			wrong("the client got %+v, want %+v %s", got, right, arguments)
		}
		if !strings.EqualFold(got.provider, last.ProviderID) && last.Outcome == "ok" && !strings.Contains(outcomes(rec), "outpaced") {
			wrong("the answer says that %q served", got.provider)
		}
		if rescued := got.rescued == journal.ForSplice; rescued != (started && c.beside) || rescued != (rec.Outcome.Rescued != "") {
			wrong("rescued: the client is told %q, the record says %q", got.rescued, rec.Outcome.Rescued)
		}
		return
	case got.failure == nil || got.done:
		wrong("the client got %+v; want an error and no end", got)
		return
	case started:
		if got.status != 200 || got.text+got.reasoning+got.arguments == "" || !strings.HasPrefix(right.Text, got.text) || !strings.HasPrefix(right.Reasoning, got.reasoning) || !strings.HasPrefix(arguments, got.arguments) {
			wrong("the client got %+v, which is not how the answer begins", got)
		}
	case got.text+got.reasoning+got.arguments != "":
		wrong("the client got %+v; want an error alone", got)
	default:
		status := c.status
		if status == 0 {
			status = clientStatus[last.Outcome]
		}
		if got.status != status {
			wrong("the client got status %d, want %d", got.status, status)
		}
	}
	var told []string
	for _, a := range got.failure.Metadata.Attempts {
		told = append(told, a.Outcome)
	}
	var recorded []string
	for _, a := range rec.Attempts {
		recorded = append(recorded, a.Outcome)
	}
	if !slices.Equal(told, recorded) {
		wrong("the error tells of the attempts %v, the record of %v", told, recorded)
	}
	if c.wait > 0 {
		after, err := strconv.Atoi(got.header.Get("Retry-After"))
		if said := time.Duration(after) * time.Second; err != nil || said > c.wait+time.Second || said < c.wait-slack {
			wrong("Retry-After is %q, the provider announced %v", got.header.Get("Retry-After"), c.wait)
		}
	}
}

// checkPace is about when attempts were made.
func (c *tableCase) checkPace(wrong func(string, ...any), rec *journal.Record) {
	for i, a := range rec.Attempts[1:] {
		before := rec.Attempts[i]
		pause := a.StartedMs - before.StartedMs - before.DurationMs
		if before.Outcome == "outpaced" { // it was under way
			if a.StartedMs < before.StartedMs+400 || a.Purpose != journal.ForHedge {
				wrong("attempt %d began %v ms after the one that was slow, as %s", i+2, a.StartedMs-before.StartedMs, a.Purpose)
			}
			continue
		}
		if pause < -1 || pause > float64(slack.Milliseconds()) {
			wrong("attempt %d began %.1f ms after the end of the one before", i+2, pause)
		}
		purpose := journal.ForFallback
		switch {
		case a.ProviderID == "b" && c.stream && c.mid:
			purpose = journal.ForSplice
		case a.Credential != before.Credential:
		case a.ProviderID == before.ProviderID:
			purpose = journal.ForRetry
		}
		if a.Purpose != purpose {
			wrong("attempt %d was made as %s, want %s", i+2, a.Purpose, purpose)
		}
	}
}

// checkBill is about what was paid: for every answer what it costs, for the beginning of one about that, for none the prompt where
// the provider was at work on it until it was given up, and else nothing.
func (c *tableCase) checkBill(wrong func(string, ...any), got received, rec *journal.Record, answered bool) {
	var sum, told catalog.Picodollars
	for _, a := range rec.Attempts {
		sum += a.Cost
		p := c.bad
		if a.ProviderID == "b" {
			p = c.good
		}
		completion, _ := sim.Answer(p.Profile(), c.body())
		whole := catalog.Picodollars(completion.PromptTokens*1_000_000 + completion.CompletionTokens*2_000_000)
		begun := c.stream && c.mid && a.ProviderID == "a"
		if begun || a.Outcome == "ok" {
			told += a.Cost
		}
		counted := len(c.profile.Faults) > 0 && !c.stream && (c.profile.Faults[0].Kind == sim.EarlyDone || c.profile.Faults[0].Kind == sim.ErrorFinish)
		givenUp := a.Outcome == "slow" || a.Outcome == "outpaced" || a.Outcome == "timeout" && (a.Status == 0 || a.Status == http.StatusOK)
		switch {
		case givenUp:
			if prompt := catalog.Picodollars(rec.Request.PromptTokens * 1_000_000); a.Cost != prompt {
				wrong("%s cost %v, the prompt %v", a.ProviderID, a.Cost, prompt)
			}
		case a.Outcome == "ok" && c.profile.UsageIn == "none" && a.ProviderID == "a", begun:
			if a.Cost <= 0 || a.Cost > 3*whole {
				wrong("%s cost %v, the whole answer costs %v", a.ProviderID, a.Cost, whole)
			}
		case a.Outcome == "ok", counted: // for what is no answer the provider charges all the same
			if a.Cost != whole {
				wrong("%s cost %v, want %v", a.ProviderID, a.Cost, whole)
			}
		case a.Cost != 0:
			wrong("%s cost %v though it gave nothing", a.ProviderID, a.Cost)
		}
	}
	if rec.Outcome.Cost != sum {
		wrong("the record says %v, the attempts cost %v", rec.Outcome.Cost, sum)
	}
	if answered && c.profile.UsageIn != "none" && got.cost.String() != told.String() {
		wrong("the client is told a cost of %s, it was %v", got.cost, told)
	}
}

// checkProviders is about what the providers saw.
func (c *tableCase) checkProviders(wrong func(string, ...any), rec *journal.Record) {
	want := map[string]int{}
	for _, a := range rec.Attempts {
		reached := a.ProviderID == "b" || !c.tls && !c.refused
		if reached {
			want[a.ProviderID]++
		}
		if sent := a.BodySent; a.Outcome == "ok" && sent != "all" || !reached && sent != "none" {
			wrong("%s is recorded to have been sent %s of the body", a.ProviderID, sent)
		}
	}
	for name, p := range map[string]*sim.Provider{"a": c.bad, "b": c.good} {
		if p == nil {
			continue
		}
		if n := len(p.Log()); n != want[name] {
			wrong("%s was asked %d times, want %d", name, n, want[name])
		}
	}
}
