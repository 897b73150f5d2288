package sim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
)

func start(t *testing.T, p sim.Profile) *sim.Provider {
	t.Helper()
	if p.Name == "" {
		p.Name = "simulated"
	}
	provider, err := sim.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	return provider
}

// settled is the log once nothing is in flight.
func settled(t *testing.T, p *sim.Provider) []sim.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	return p.Log()
}

func fixed(v float64) sim.Distribution { return sim.Distribution{P50: v} }

func body(text string, more ...string) string {
	fields := append([]string{`"model":"m"`, `"messages":[{"role":"user","content":` + jsonString(text) + `}]`}, more...)
	return "{" + strings.Join(fields, ",") + "}"
}

func jsonString(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// client makes a connection for each request, so that no retry of the transport's own hides a broken one.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func request(t *testing.T, p *sim.Provider, key, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", p.URL()+"/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return r
}

func post(t *testing.T, p *sim.Provider, key, body string) (*http.Response, string) {
	t.Helper()
	resp, err := client.Do(request(t, p, key, body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// streamed is what a client makes of a stream.
type streamed struct {
	texts      map[int]string
	reasoning  string
	arguments  string
	finish     []string
	usage      string
	errorEvent string
	malformed  int
	done       bool
}

func readStream(t *testing.T, r io.Reader) (s streamed, err error) {
	t.Helper()
	s.texts = map[int]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			s.done = true
			continue
		}
		var c struct {
			Choices []struct {
				Index int
				Delta struct {
					Content   string
					Reasoning string `json:"reasoning_content"`
					ToolCalls []struct {
						Function struct{ Name, Arguments string }
					} `json:"tool_calls"`
				}
				FinishReason string `json:"finish_reason"`
			}
			Usage json.RawMessage
			Error json.RawMessage
		}
		if json.Unmarshal([]byte(data), &c) != nil {
			s.malformed++
			continue
		}
		if c.Error != nil {
			s.errorEvent = string(c.Error)
		}
		if c.Usage != nil && string(c.Usage) != "null" {
			s.usage = string(c.Usage)
		}
		for _, choice := range c.Choices {
			s.texts[choice.Index] += choice.Delta.Content
			s.reasoning += choice.Delta.Reasoning
			for _, call := range choice.Delta.ToolCalls {
				s.arguments += call.Function.Arguments
			}
			if choice.FinishReason != "" {
				s.finish = append(s.finish, choice.FinishReason)
			}
		}
	}
	return s, lines.Err()
}

func stream(t *testing.T, p *sim.Provider, body string) (streamed, error) {
	t.Helper()
	resp, err := client.Do(request(t, p, "", body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return readStream(t, resp.Body)
}

func wholeAnswer(t *testing.T, p sim.Profile, body string) sim.Completion {
	t.Helper()
	c, err := sim.Answer(p, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnswersAreTheSameStreamedWholeAndForetold(t *testing.T) {
	profile := sim.Profile{Seed: 7, OutputTokens: sim.Distribution{P50: 40, P95: 90}, ReasoningTokens: 5}
	p := start(t, profile)
	request := body("How wide is the harbour?", `"n":3`)
	want := wholeAnswer(t, profile, request)
	if len(want.Choices) != 3 || want.Choices[0].Text == want.Choices[1].Text {
		t.Fatalf("three choices should have three texts, got %v", want.Choices)
	}

	var got struct {
		Choices []struct {
			Index   int
			Message struct {
				Content   string
				Reasoning string `json:"reasoning_content"`
			}
			FinishReason string `json:"finish_reason"`
		}
		Usage struct {
			PromptTokens     int64 `json:"prompt_tokens"`
			CompletionTokens int64 `json:"completion_tokens"`
			TotalTokens      int64 `json:"total_tokens"`
			Details          struct {
				Reasoning int64 `json:"reasoning_tokens"`
			} `json:"completion_tokens_details"`
		}
	}
	_, answer := post(t, p, "", request)
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	streamedAnswer, err := stream(t, p, body("How wide is the harbour?", `"n":3`, `"stream":true`, `"stream_options":{"include_usage":true}`))
	if err != nil {
		t.Fatal(err)
	}
	var reasoning string
	for i, c := range want.Choices {
		if got.Choices[i].Message.Content != c.Text || got.Choices[i].Message.Reasoning != c.Reasoning || got.Choices[i].FinishReason != c.FinishReason {
			t.Errorf("choice %d is %+v, should be %+v", i, got.Choices[i], c)
		}
		if streamedAnswer.texts[i] != c.Text {
			t.Errorf("choice %d streams %q, should be %q", i, streamedAnswer.texts[i], c.Text)
		}
		reasoning += c.Reasoning
	}
	if len(streamedAnswer.reasoning) != len(reasoning) || want.ReasoningTokens != 15 {
		t.Errorf("reasoning has %d bytes and %d tokens, should have %d and 15", len(streamedAnswer.reasoning), want.ReasoningTokens, len(reasoning))
	}
	u := got.Usage
	if u.CompletionTokens != want.CompletionTokens || u.PromptTokens != want.PromptTokens || u.TotalTokens != u.PromptTokens+u.CompletionTokens || u.Details.Reasoning != 15 {
		t.Errorf("usage is %+v, should be that of %d prompt and %d completion tokens", u, want.PromptTokens, want.CompletionTokens)
	}
	if !strings.Contains(streamedAnswer.usage, fmt.Sprintf(`"completion_tokens":%d,`, want.CompletionTokens)) {
		t.Errorf("streamed usage is %s, should have %d completion tokens", streamedAnswer.usage, want.CompletionTokens)
	}
	if !streamedAnswer.done || !slices.Equal(streamedAnswer.finish, []string{"stop", "stop", "stop"}) {
		t.Errorf("the stream should end in three stops and [DONE], got %v, %v", streamedAnswer.finish, streamedAnswer.done)
	}
	for _, r := range settled(t, p) {
		if int64(r.Tokens) != want.CompletionTokens || r.Fate != sim.Served || r.Status != 200 || r.Cancelled {
			t.Errorf("the log has %+v, should have %d tokens served", r, want.CompletionTokens)
		}
	}
}

func TestUsageIsStreamedOnlyWhenAskedFor(t *testing.T) {
	p := start(t, sim.Profile{})
	s, err := stream(t, p, body("hello", `"stream":true`))
	if err != nil || s.usage != "" || !s.done {
		t.Fatalf("got usage %q, done %v, error %v; should be none, true, none", s.usage, s.done, err)
	}
}

func TestTextDependsOnTheMessagesAndNotOnTheProvider(t *testing.T) {
	a := sim.Profile{Name: "a", Seed: 1, OutputTokens: fixed(30)}
	b := sim.Profile{Name: "b", Seed: 1, OutputTokens: fixed(20)}
	own := sim.Profile{Name: "own", Seed: 1, OutputTokens: fixed(30), OwnAnswers: true}
	request := body("hello")
	long := wholeAnswer(t, a, request).Choices[0].Text
	if other := wholeAnswer(t, a, `{ "stream" : true, "model":"a/b:free", "messages": [ {"role":"user", "content":"hello"} ], "user":"x/1" }`); other.Choices[0].Text != long {
		t.Error("model, stream, user and spacing should not change the text")
	}
	if short := wholeAnswer(t, b, request).Choices[0].Text; !strings.HasPrefix(long, short) || short == long {
		t.Errorf("a shorter answer should begin the longer one:\n%q\n%q", short, long)
	}
	if wholeAnswer(t, own, request).Choices[0].Text == long {
		t.Error("OwnAnswers should change the text")
	}
	if wholeAnswer(t, a, body("hallo")).Choices[0].Text == long {
		t.Error("other messages should change the text")
	}
	a.Seed = 2
	if wholeAnswer(t, a, request).Choices[0].Text == long {
		t.Error("another seed should change the text")
	}
}

func TestMaxTokensLimitsAnAnswer(t *testing.T) {
	for _, test := range []struct {
		profile   sim.Profile
		more      string
		text      int
		reasoning int
		finish    string
	}{
		{sim.Profile{}, `"seed":1`, 64, 0, "stop"},
		{sim.Profile{}, `"max_tokens":9`, 9, 0, "length"},
		{sim.Profile{OutputTokens: fixed(20)}, `"max_completion_tokens":9`, 9, 0, "length"},
		{sim.Profile{OutputTokens: fixed(20)}, `"max_tokens":90`, 20, 0, "stop"},
		{sim.Profile{OutputTokens: fixed(20), ReasoningTokens: 6}, `"max_tokens":9`, 3, 6, "length"},
		{sim.Profile{OutputTokens: fixed(20), ReasoningTokens: 16}, `"max_tokens":9`, 0, 9, "length"},
	} {
		c := wholeAnswer(t, test.profile, body("x", test.more))
		choice := c.Choices[0]
		if choice.Tokens != test.text+test.reasoning || c.ReasoningTokens != int64(test.reasoning) || choice.FinishReason != test.finish {
			t.Errorf("%s: %d tokens, %d of reasoning, %s; should be %d, %d, %s", test.more,
				choice.Tokens, c.ReasoningTokens, choice.FinishReason, test.text+test.reasoning, test.reasoning, test.finish)
		}
	}
}

func TestDemandedToolCallsHaveTheRequiredArguments(t *testing.T) {
	tools := `"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{
		"city":{"type":"string"},"days":{"type":"integer"},"unit":{"type":"string","enum":["c","f"]},"optional":{"type":"string"}},
		"required":["city","days","unit"]}}}]`
	for _, choice := range []string{`"tool_choice":"required"`, `"tool_choice":{"type":"function","function":{"name":"weather"}}`} {
		request := body("Will it rain?", tools, choice)
		c := wholeAnswer(t, sim.Profile{}, request).Choices[0]
		if c.Call == nil || c.Call.Name != "weather" || c.FinishReason != "tool_calls" || c.Text != "" {
			t.Fatalf("%s: got %+v, should call weather", choice, c)
		}
		var arguments struct {
			City     *string
			Days     *int
			Unit     string
			Optional *string
		}
		if err := json.Unmarshal([]byte(c.Call.Arguments), &arguments); err != nil {
			t.Fatalf("arguments %q: %v", c.Call.Arguments, err)
		}
		if arguments.City == nil || arguments.Days == nil || arguments.Optional != nil || !strings.Contains("cf", arguments.Unit) {
			t.Errorf("arguments are %s; should be city, days and unit", c.Call.Arguments)
		}
		s, err := stream(t, start(t, sim.Profile{}), body("Will it rain?", tools, choice, `"stream":true`))
		if err != nil || s.arguments != c.Call.Arguments || !slices.Equal(s.finish, []string{"tool_calls"}) {
			t.Errorf("streamed %q, finish %v, error %v; should be %q", s.arguments, s.finish, err, c.Call.Arguments)
		}
	}
	if c := wholeAnswer(t, sim.Profile{}, body("Will it rain?", tools, `"tool_choice":"auto"`)).Choices[0]; c.Call != nil {
		t.Errorf("tool_choice auto should be answered in text, got %+v", c.Call)
	}
}

func TestRefusals(t *testing.T) {
	p := start(t, sim.Profile{
		Models:      []string{"m"},
		Credentials: []sim.Credential{{Name: "paid", Key: "sk-paid"}},
	})
	for _, test := range []struct {
		name, key, body, code string
		status                int
		fate                  sim.Kind
	}{
		{"no key", "", body("x"), "invalid_api_key", 401, sim.Unauthorised},
		{"wrong key", "sk-other", body("x"), "invalid_api_key", 401, sim.Unauthorised},
		{"unknown model", "sk-paid", `{"model":"z","messages":[{}]}`, "model_not_found", 404, sim.UnknownModel},
		{"no JSON", "sk-paid", `{"model":`, "invalid_request", 400, sim.BadRequest},
		{"no model", "sk-paid", `{"messages":[{}]}`, "invalid_request", 400, sim.BadRequest},
		{"no messages", "sk-paid", `{"model":"m","messages":[]}`, "invalid_request", 400, sim.BadRequest},
		{"no tokens", "sk-paid", body("x", `"max_tokens":0`), "invalid_request", 400, sim.BadRequest},
		{"too many choices", "sk-paid", body("x", `"n":129`), "invalid_request", 400, sim.BadRequest},
		{"good", "sk-paid", body("x"), "", 200, sim.Served},
	} {
		resp, answer := post(t, p, test.key, test.body)
		if resp.StatusCode != test.status || !strings.Contains(answer, test.code) {
			t.Errorf("%s: %d %s; should be %d %s", test.name, resp.StatusCode, answer, test.status, test.code)
		}
		log := settled(t, p)
		if last := log[len(log)-1]; last.Fate != test.fate || last.Status != test.status || last.BodyBytes != int64(len(test.body)) {
			t.Errorf("%s: logged as %+v; should be %s, %d, %d bytes", test.name, last, test.fate, test.status, len(test.body))
		}
	}
	counts := p.Counts()
	if counts.Requests != 9 || counts.Open != 0 || counts.ByCredential["paid"] != 7 || counts.ByFate[sim.BadRequest] != 5 {
		t.Errorf("counts are %+v", counts)
	}
}

func TestModelsAreListedForAcceptedKeys(t *testing.T) {
	p := start(t, sim.Profile{Models: []string{"large", "small"}, Credentials: []sim.Credential{{Name: "paid", Key: "sk-paid"}}})
	for key, status := range map[string]int{"sk-paid": 200, "sk-other": 401} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", p.URL()+"/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var list struct{ Data []struct{ ID string } }
		json.NewDecoder(resp.Body).Decode(&list)
		resp.Body.Close()
		if resp.StatusCode != status || (status == 200) != (len(list.Data) == 2 && list.Data[1].ID == "small") {
			t.Errorf("%s: %d %+v", key, resp.StatusCode, list)
		}
	}
}

func TestDeniedRequestsAreCountedByOrganisationCredentialAndModel(t *testing.T) {
	p := start(t, sim.Profile{
		Credentials: []sim.Credential{{Name: "free", Key: "sk-free"}, {Name: "paid", Key: "sk-paid"}},
		Denied:      []sim.Denial{{User: "strict", Credential: "free"}, {User: "picky", Model: "m"}},
	})
	var want []bool
	for _, test := range []struct {
		user, key, model string
		denied           bool
	}{
		{"strict/1", "sk-free", "m", true},
		{"strict", "sk-free", "m", true},
		{"strict/2", "sk-paid", "m", false},
		{"stricter/1", "sk-free", "m", false},
		{"open/strict", "sk-free", "m", false},
		{"picky/1", "sk-paid", "m", true},
		{"picky/1", "sk-paid", "n", false},
	} {
		post(t, p, test.key, fmt.Sprintf(`{"model":%q,"messages":[{}],"user":%q}`, test.model, test.user))
		want = append(want, test.denied)
	}
	var got []bool
	for _, r := range settled(t, p) {
		got = append(got, r.Denied)
	}
	if !slices.Equal(got, want) || p.Denied() != 3 {
		t.Errorf("denied are %v, %d in all; should be %v, 3", got, p.Denied(), want)
	}
}

func TestRateLimitStatesItselfAndRefills(t *testing.T) {
	p := start(t, sim.Profile{
		Credentials: []sim.Credential{{Name: "a", Key: "sk-a"}, {Name: "b", Key: "sk-b"}},
		Limit:       sim.Limit{RequestsPerSecond: 0.05, Burst: 2},
	})
	var remaining []string
	for range 2 {
		resp, _ := post(t, p, "sk-a", body("x"))
		if resp.StatusCode != 200 || resp.Header.Get("x-ratelimit-limit-requests") != "2" {
			t.Fatalf("got %d, %v; should be within a limit of 2", resp.StatusCode, resp.Header)
		}
		remaining = append(remaining, resp.Header.Get("x-ratelimit-remaining-requests"))
	}
	if !slices.Equal(remaining, []string{"1", "0"}) {
		t.Errorf("remaining are %v, should be 1 and 0", remaining)
	}
	resp, answer := post(t, p, "sk-a", body("x"))
	if resp.StatusCode != 429 || !strings.Contains(answer, "rate_limit_exceeded") {
		t.Fatalf("got %d %s, should be 429", resp.StatusCode, answer)
	}
	reset, err := time.ParseDuration(resp.Header.Get("x-ratelimit-reset-requests"))
	if err != nil || reset < 30*time.Second || reset > 40*time.Second {
		t.Errorf("reset is %v (%v), should be nearly 40s", reset, err)
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || s <= 10 || s > 20 {
		t.Errorf("Retry-After is %q, should be nearly 20", resp.Header.Get("Retry-After"))
	}
	if resp, _ := post(t, p, "sk-b", body("x")); resp.StatusCode != 200 {
		t.Errorf("another credential got %d; it has its own limit", resp.StatusCode)
	}

	fast := start(t, sim.Profile{Limit: sim.Limit{RequestsPerSecond: 20}})
	for served, deadline := 0, time.Now().Add(time.Minute); served < 3; {
		if resp, _ := post(t, fast, "", body("x")); resp.StatusCode == 200 {
			served++
		}
		if time.Now().After(deadline) {
			t.Fatal("a limit of 20 requests a second should have let three through by now")
		}
	}
}

func TestPaceIsTheProfiles(t *testing.T) {
	p := start(t, sim.Profile{TTFT: fixed(120), TPS: fixed(100), OutputTokens: fixed(20)})
	began := time.Now()
	resp, err := client.Do(request(t, p, "", body("x", `"stream":true`)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if headers := time.Since(began); headers >= 120*time.Millisecond {
		t.Logf("headers came after %v; this machine is slow", headers)
	}
	var first time.Duration
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if first == 0 && strings.Contains(lines.Text(), `"content":`) && !strings.Contains(lines.Text(), `"content":""`) {
			first = time.Since(began)
		}
	}
	if all := time.Since(began); first < 120*time.Millisecond || all < 310*time.Millisecond {
		t.Errorf("first token after %v, all after %v; should be at least 120ms and 310ms", first, all)
	}
	began = time.Now()
	post(t, p, "", body("x"))
	if all := time.Since(began); all < 310*time.Millisecond {
		t.Errorf("a whole answer came after %v, should be at least 310ms", all)
	}
}

func TestDistributionsHaveTheirMedianAnd95thPercentile(t *testing.T) {
	profile := sim.Profile{Seed: 3, OutputTokens: sim.Distribution{P50: 100, P95: 300}}
	var lengths []int
	for i := range 4000 {
		lengths = append(lengths, wholeAnswer(t, profile, body(fmt.Sprint(i))).Choices[0].Tokens)
	}
	slices.Sort(lengths)
	if p50, p95 := lengths[2000], lengths[3800]; p50 < 93 || p50 > 107 || p95 < 270 || p95 > 335 {
		t.Errorf("p50 is %d, p95 is %d; should be about 100 and 300", p50, p95)
	}
}

func TestAnOutageRefusesConnectionsAndEnds(t *testing.T) {
	p := start(t, sim.Profile{TPS: fixed(1)})
	slow, err := client.Do(request(t, p, "", body("x", `"stream":true`)))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()

	down := p.Profile()
	down.Down = true
	if err := p.SetProfile(down); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(slow.Body); err == nil {
		t.Error("a stream in flight should break when the provider goes down")
	}
	if _, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(p.URL(), "http://"), "/v1")); err == nil {
		t.Error("a provider that is down should refuse connections")
	}
	if log := settled(t, p); log[0].Fate != sim.Outage || log[0].Cancelled {
		t.Errorf("logged as %+v; should be an outage and not cancelled", log[0])
	}

	if err := p.SetProfile(sim.Profile{Name: "simulated"}); err != nil {
		t.Fatal(err)
	}
	if resp, _ := post(t, p, "", body("x")); resp.StatusCode != 200 {
		t.Errorf("after the outage got %d", resp.StatusCode)
	}
	if err := p.SetProfile(sim.Profile{Name: "other"}); err == nil || !strings.Contains(err.Error(), "name and listen stay") {
		t.Errorf("another name gave %v", err)
	}
}

func TestTheEndOfTheContextClosesTheProvider(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := sim.Start(ctx, sim.Profile{Name: "brief", TPS: fixed(1)})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(request(t, p, "", body("x", `"stream":true`)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream should break")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.SetProfile(sim.Profile{Name: "brief"}); err == nil {
		t.Error("a closed provider should take no profile")
	}
}

func TestHooksSeeARequestBeforeAndAfterItsFate(t *testing.T) {
	p := start(t, sim.Profile{KeepRequests: true})
	var order []string
	p.OnRequest(func(r sim.Record) {
		order = append(order, fmt.Sprint("request ", r.Number, r.Fate, r.Status, r.User))
	})
	p.OnEnd(func(r sim.Record) {
		order = append(order, fmt.Sprint("end ", r.Number, r.Fate, r.Status, r.User))
	})
	sent := body("x", `"user":"acme/7"`)
	post(t, p, "sk-any", sent)
	log := settled(t, p)
	p.OnRequest(nil)
	p.OnEnd(nil)
	if want := []string{"request 1served0acme/7", "end 1served200acme/7"}; !slices.Equal(order, want) {
		t.Errorf("hooks saw %q, should be %q", order, want)
	}
	if !bytes.Equal(log[0].Body, []byte(sent)) || log[0].Header.Get("Content-Type") != "application/json" || log[0].Bearer != "sk-any" {
		t.Errorf("the log kept %q, %v", log[0].Body, log[0].Header)
	}
}

func TestTheLogKeepsTheLatest(t *testing.T) {
	p := start(t, sim.Profile{LogSize: 3})
	for range 10 {
		post(t, p, "", body("x", `"max_tokens":1`))
	}
	log := settled(t, p)
	if len(log) != 3 || log[0].Number != 8 || p.Counts().Requests != 10 {
		t.Errorf("%d records from %d, %d counted; should be 3 from 8, 10", len(log), log[0].Number, p.Counts().Requests)
	}
}
