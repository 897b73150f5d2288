package sim_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
)

const (
	mustCall = `"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":` +
		`{"what":{"type":"string"},"where":{"type":"string"},"times":{"type":"integer"}},"required":["what","where","times"]}}}],"tool_choice":"required"`
	schema = `"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object",` +
		`"properties":{"title":{"type":"string"},"year":{"type":"integer"},"kind":{"enum":["a","b"]}},"required":["title","year","kind"]}}}`
)

// Whatever is asked for and however it comes, a client puts the same answer together that sim.Answer tells.
func TestStreamAndWholeSayTheSame(t *testing.T) {
	for name, more := range map[string]string{"text": `"n":1`, "tool call": mustCall, "object": `"response_format":{"type":"json_object"}`, "schema": schema,
		"schema, cut by its limit": schema + `,"max_tokens":9`, "tool call, cut by its limit": mustCall + `,"max_tokens":9`} {
		for _, profile := range []sim.Profile{{}, {ReasoningTokens: 3}, {PreambleTokens: 4, ReasoningTokens: 2}} {
			p := start(t, profile)
			right, err := sim.Answer(p.Profile(), []byte(body("x", more)))
			if err != nil {
				t.Fatal(err)
			}
			want, arguments := right.Choices[0], ""
			if want.Call != nil {
				arguments = want.Call.Arguments
			}
			_, text := post(t, p, "", body("x", more))
			var got struct {
				Choices []struct {
					Message struct {
						Content   string
						Reasoning string `json:"reasoning_content"`
						ToolCalls []struct {
							Function struct{ Name, Arguments string }
						} `json:"tool_calls"`
					}
					FinishReason string `json:"finish_reason"`
				}
			}
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("%s: %v in %s", name, err, text)
			}
			m := got.Choices[0].Message
			said := ""
			if len(m.ToolCalls) > 0 {
				said = m.ToolCalls[0].Function.Arguments
			}
			if m.Content != want.Text || m.Reasoning != want.Reasoning || said != arguments || got.Choices[0].FinishReason != want.FinishReason {
				t.Errorf("%s: whole: %s, want %+v", name, text, want)
			}
			resp, err := client.Do(request(t, p, "", body("x", more, `"stream":true`)))
			if err != nil {
				t.Fatal(err)
			}
			s, err := readStream(t, resp.Body)
			resp.Body.Close()
			if err != nil || s.texts[0] != want.Text || s.reasoning != want.Reasoning || s.arguments != arguments || s.finish[0] != want.FinishReason || !s.done {
				t.Errorf("%s: stream: %+v, want %+v", name, s, want)
			}
			if structured := strings.HasPrefix(more, `"response_format"`); want.FinishReason != "length" && structured && !json.Valid([]byte(want.Text[strings.Index(want.Text, "{"):])) {
				t.Errorf("%s: %q is no JSON", name, want.Text)
			}
			if want.FinishReason == "tool_calls" && (!json.Valid([]byte(arguments)) || profile.PreambleTokens > 0 && want.Text == "") {
				t.Errorf("%s: %+v", name, want)
			}
			if want.FinishReason == "length" && want.Tokens != 9 {
				t.Errorf("%s: %d tokens, the limit is 9", name, want.Tokens)
			}
		}
	}
}

func TestUsageAndReasoningStandWhereTheProfileSays(t *testing.T) {
	read := func(p *sim.Provider, more ...string) string {
		_, text := post(t, p, "", body("x", append(more, `"max_tokens":3`)...))
		return text
	}
	last := regexp.MustCompile(`"choices":\[\],"usage":\{"prompt_tokens"`)
	for in, want := range map[string]struct{ stream, whole string }{
		"":       {`"choices":\[\],"usage":\{"prompt_tokens"`, `\}\],"usage":\{"prompt_tokens"`},
		"finish": {`"finish_reason":"length"\}\],"usage":\{"prompt_tokens"`, `\}\],"usage":\{"prompt_tokens"`},
		"every":  {`"finish_reason":null\}\],"usage":\{"prompt_tokens":\d+,"completion_tokens":1,`, `\}\],"usage":\{"prompt_tokens"`},
		"choice": {`"finish_reason":"length","usage":\{"prompt_tokens"`, `"finish_reason":"length","usage":\{"prompt_tokens"`},
		"groq":   {`"x_groq":\{"usage":\{"prompt_tokens"`, `\}\],"usage":\{"prompt_tokens"`},
		"none":   {``, ``},
	} {
		p := start(t, sim.Profile{UsageIn: in})
		stream, whole := read(p, `"stream":true`, `"stream_options":{"include_usage":true}`), read(p)
		if !regexp.MustCompile(want.stream).MatchString(stream) || last.MatchString(stream) != (in == "" || in == "every") {
			t.Errorf("%q: %s", in, stream)
		}
		if !regexp.MustCompile(want.whole).MatchString(whole) {
			t.Errorf("%q: %s", in, whole)
		}
		if counts := strings.Contains(stream+whole, "prompt_tokens"); counts == (in == "none") {
			t.Errorf("%q: counts there: %t", in, counts)
		}
	}
	for in, want := range map[string]string{"": `"reasoning_content":"`, "reasoning": `"reasoning":"`, "reasoning_details": `"reasoning_details":[{"type":"reasoning.text","text":"`} {
		p := start(t, sim.Profile{ReasoningIn: in, ReasoningTokens: 2})
		for _, text := range []string{read(p), read(p, `"stream":true`)} {
			if !strings.Contains(text, want) || in != "" && strings.Contains(text, "reasoning_content") {
				t.Errorf("%q: %s", in, text)
			}
		}
	}
}

func TestEveryWayToAnnounceAWait(t *testing.T) {
	const wait = 1500 * time.Millisecond
	for announce, header := range map[string]string{"": "retry-after-ms", "both": "Retry-After", "seconds": "Retry-After", "ms": "retry-after-ms", "date": "Retry-After",
		"azure": "x-ms-retry-after-ms", "openai": "x-ratelimit-reset-requests", "anthropic": "anthropic-ratelimit-requests-reset", "openrouter": "X-RateLimit-Reset", "google": ""} {
		p := start(t, sim.Profile{Faults: []sim.Fault{{Kind: sim.Status, Status: 429, RetryAfter: wait, Announce: announce, Share: 1}}})
		before := time.Now()
		resp, text := post(t, p, "", body("x"))
		after := time.Now()
		said := resp.Header.Get(header)
		var until time.Time
		switch {
		case header == "":
			if !strings.Contains(text, `"retryDelay":"1.5s"`) {
				t.Errorf("%s: %s", announce, text)
			}
			continue
		case strings.HasSuffix(header, "-ms"):
			ms, _ := strconv.Atoi(said)
			until = before.Add(time.Duration(ms) * time.Millisecond)
		case announce == "date":
			until, _ = http.ParseTime(said)
		case announce == "openai":
			d, _ := time.ParseDuration(said)
			until = before.Add(d)
		case announce == "anthropic":
			until, _ = time.Parse(time.RFC3339, said)
		case announce == "openrouter":
			ms, _ := strconv.ParseInt(said, 10, 64)
			until = time.UnixMilli(ms)
		default:
			s, _ := strconv.Atoi(said)
			until = before.Add(time.Duration(s) * time.Second)
		}
		if in := until.Sub(before); in < wait || until.Sub(after) > wait+time.Second { // rounded up to seconds
			t.Errorf("%s: %q is in %v, announced are %v", announce, said, in, wait)
		}
	}
}

func TestWhatNeverEndsGoesOnUntilTheClientLeaves(t *testing.T) {
	for _, kind := range []sim.Kind{sim.Pings, sim.Endless} {
		for _, stream := range []string{"true", "false"} {
			p := start(t, sim.Profile{Faults: []sim.Fault{{Kind: kind, AfterTokens: 2, Share: 1}}})
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			resp, err := client.Do(request(t, p, "", body("x", `"stream":`+stream)).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.CopyN(io.Discard, resp.Body, 300); err != nil {
				t.Errorf("%s: ended with %v after %d bytes", kind, err, n)
			}
			leave()
			resp.Body.Close()
			if r := settled(t, p)[0]; !r.Cancelled || r.Fate != kind {
				t.Errorf("%s: %+v", kind, r)
			}
		}
	}
}

func TestADriftingProvider(t *testing.T) {
	p := start(t, sim.Profile{Seed: 3, TTFT: fixed(1), OutputTokens: fixed(1), Drift: sim.Drift{Requests: 400, TTFT: 5, Faults: 10},
		Faults: []sim.Fault{{Kind: sim.Status, Status: 500, Share: 0.05}}})
	var failed [2]int
	var took [2]time.Duration
	for i := range 500 {
		before := time.Now()
		if resp, _ := post(t, p, "", body("x")); resp.StatusCode != 200 {
			failed[i/450]++
		} else if i < 20 || i >= 480 {
			took[i/250] += time.Since(before)
		}
	}
	// From 0.05 to 0.5 of 450 on a logarithmic scale, then half of 50; the first token comes after 5 ms in place of 1.
	if failed[0] < 40 || failed[0] > 130 || failed[1] < 12 || failed[1] > 38 {
		t.Errorf("%v failed before and after", failed)
	}
	if took[1] < 20*2*time.Millisecond {
		t.Errorf("the last took %v, the first %v", took[1], took[0])
	}
}

func TestAFlappingProvider(t *testing.T) {
	p := start(t, sim.Profile{Flap: sim.Flap{Up: 80 * time.Millisecond, Down: 80 * time.Millisecond}})
	changes, last := 0, true
	for began := time.Now(); time.Since(began) < time.Minute && changes < 4; {
		resp, err := client.Do(request(t, p, "", body("x")))
		if err == nil {
			resp.Body.Close()
		}
		if up := err == nil; up != last {
			changes, last = changes+1, up
		}
	}
	if n := p.Counts().ByFate[sim.Outage]; changes < 4 || n == 0 {
		t.Errorf("%d changes, %d requests met an outage", changes, n)
	}
}
