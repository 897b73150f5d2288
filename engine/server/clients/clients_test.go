// Package clients holds official client libraries against a running router.
package clients

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/shared"

	"chaperone/engine"
	"chaperone/engine/server"
	"chaperone/engine/sim"
)

// router is a running server with one simulated provider a model: m/one answers well behind a provider that fails first,
// m/dying breaks off in the middle, m/slow takes its time, m/limited is rate limited, m/secret is denied by policy.
type router struct {
	url  string
	sims map[string]*sim.Provider
}

func start(t *testing.T) *router {
	t.Helper()
	dir := t.TempDir()
	r := &router{sims: map[string]*sim.Provider{}}
	var b strings.Builder
	fmt.Fprintf(&b, `[server]
listen = "127.0.0.1:0"
private_listen = ""
drain_delay = "0s"
[timeouts]
total = "5s" # less than a rate limit announces: such a wait is not waited out
[routing]
temperature = 0
exploration = 0
[organisations.acme]
[[keys]]
organisation = "acme"
sha256 = "%x"
[[policy.sources]]
name = "own"
path = "rego"
[[policy.bindings]]
package = "own"
for = "org:acme"
`, sha256.Sum256([]byte("sk-acme")))
	if err := os.Mkdir(filepath.Join(dir, "rego"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rego", "own.rego"),
		[]byte("package own\n\ndeny contains \"nobody may use this\" if input.endpoint.model == \"m/secret\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	add := func(model, id string, price int, profile sim.Profile) {
		profile.Name = id
		p, err := sim.Start(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		r.sims[id] = p
		if !strings.Contains(b.String(), fmt.Sprintf("[models.%q]", model)) {
			fmt.Fprintf(&b, "[models.%q]\nname = %q\ncontext_length = 32000\n", model, model)
		}
		fmt.Fprintf(&b, `[providers.%s]
name = %q
dialect = "openai"
base_url = %q
[providers.%s.credentials.own]
auth = "none"
[[endpoints]]
model = %q
provider = %q
upstream_model = "upstream"
supported_parameters = ["max_tokens", "tools", "tool_choice"]
price = { prompt = %d, completion = %d }
`, id, strings.ToUpper(id), p.URL(), id, model, id, price, price)
	}
	add("m/one", "failing", 1, sim.Profile{Faults: []sim.Fault{{Kind: sim.Status, Status: 500, Share: 1}}})
	add("m/one", "good", 9, sim.Profile{KeepRequests: true})
	add("m/dying", "dying", 1, sim.Profile{Faults: []sim.Fault{{Kind: sim.Cut, AfterTokens: 5, Share: 1}}})
	add("m/slow", "slow", 1, sim.Profile{TPS: sim.Distribution{P50: 20}, OutputTokens: sim.Distribution{P50: 2000}})
	add("m/limited", "limited", 1, sim.Profile{Faults: []sim.Fault{{Kind: sim.Status, Status: 429, RetryAfter: 7 * time.Second, Share: 1}}})
	add("m/secret", "secret", 1, sim.Profile{})
	path := filepath.Join(dir, "chaperone.toml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(e, e.Settings().Server, e.Metrics(), log)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), e.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	r.url = "http://" + s.Addr().String() + "/v1"
	return r
}

// ended is the next request of a provider that ends.
func (r *router) ended(id string) <-chan sim.Record {
	ch := make(chan sim.Record, 16)
	r.sims[id].OnEnd(func(rec sim.Record) { ch <- rec })
	return ch
}

func question(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:     model,
		Messages:  []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Tell me about rivers.")},
		MaxTokens: openai.Int(24),
	}
}

// right is the whole text that the good provider should have answered to its last request.
func (r *router) right(t *testing.T) string {
	t.Helper()
	p := r.sims["good"]
	log := p.Log()
	if len(log) == 0 {
		t.Fatal("the good provider was never asked")
	}
	c, err := sim.Answer(p.Profile(), log[len(log)-1].Body)
	if err != nil {
		t.Fatal(err)
	}
	return c.Choices[0].Text
}

func TestOpenAIGo(t *testing.T) {
	r := start(t)
	client := openai.NewClient(option.WithBaseURL(r.url), option.WithAPIKey("sk-acme"), option.WithMaxRetries(0))

	t.Run("whole answer after a fallback", func(t *testing.T) {
		var raw *http.Response
		answer, err := client.Chat.Completions.New(t.Context(), question("m/one"), option.WithResponseInto(&raw))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := answer.Choices[0].Message.Content, r.right(t); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if answer.Model != "m/one" || answer.Usage.CompletionTokens == 0 || answer.Choices[0].FinishReason == "" {
			t.Errorf("model %q, usage %+v, finish %q", answer.Model, answer.Usage, answer.Choices[0].FinishReason)
		}
		if id := raw.Header.Get("X-Generation-Id"); id == "" || id != answer.ID {
			t.Errorf("X-Generation-Id is %q, the answer's id %q", id, answer.ID)
		}
		if n := r.sims["failing"].Counts().Requests; n == 0 {
			t.Error("the failing provider was never tried: this shows no fallback")
		}
	})
	t.Run("stream with usage", func(t *testing.T) {
		params := question("m/one")
		params.StreamOptions.IncludeUsage = openai.Bool(true)
		text, usage, err := read(client.Chat.Completions.NewStreaming(t.Context(), params))
		if want := r.right(t); err != nil || text != want || usage == 0 {
			t.Errorf("got %q with %d tokens, %v; want %q", text, usage, err, want)
		}
	})
	t.Run("tool call", func(t *testing.T) {
		params := question("m/one")
		params.MaxTokens = param.Opt[int64]{}
		params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "look_up",
			Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"q": map[string]any{"type": "string"}}}})}
		params.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("required")}
		answer, err := client.Chat.Completions.New(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		calls := answer.Choices[0].Message.ToolCalls
		if len(calls) != 1 || calls[0].Function.Name != "look_up" || !json.Valid([]byte(calls[0].Function.Arguments)) {
			t.Errorf("got %+v", calls)
		}
	})
	t.Run("models", func(t *testing.T) {
		var ids []string
		pages := client.Models.ListAutoPaging(t.Context())
		for pages.Next() {
			ids = append(ids, pages.Current().ID)
		}
		if pages.Err() != nil || !slices.Equal(ids, []string{"m/dying", "m/limited", "m/one", "m/slow"}) {
			t.Errorf("got %v, %v: want every model but the one that policy denies", ids, pages.Err())
		}
	})
	for _, c := range []struct {
		name, key, model string
		status           int
		message          string
	}{
		{"unknown key", "sk-nobody", "m/one", 401, "key"},
		{"unknown model", "sk-acme", "m/oen", 400, "m/one"},
		{"policy leaves none", "sk-acme", "m/secret", 404, "nobody may use this"},
		{"rate limit", "sk-acme", "m/limited", 429, "rate limited"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := client.Chat.Completions.New(t.Context(), question(c.model), option.WithAPIKey(c.key))
			var failed *openai.Error
			if !errors.As(err, &failed) {
				t.Fatalf("got %v", err)
			}
			if failed.StatusCode != c.status || !strings.Contains(failed.Message, c.message) {
				t.Errorf("got %d %q; want %d with %q", failed.StatusCode, failed.Message, c.status, c.message)
			}
			if c.status == 429 && failed.Response.Header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After is %q, the provider announced 7", failed.Response.Header.Get("Retry-After"))
			}
		})
	}
	t.Run("stream that breaks off", func(t *testing.T) {
		text, _, err := read(client.Chat.Completions.NewStreaming(t.Context(), question("m/dying")))
		if err == nil || text == "" || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("got %q and %v: a truncated answer must not look whole", text, err)
		}
	})
	t.Run("cancellation in the middle of a stream", func(t *testing.T) {
		ended := r.ended("slow")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		params := question("m/slow")
		params.MaxTokens = openai.Int(2000)
		stream := client.Chat.Completions.NewStreaming(ctx, params)
		for n := 0; n < 3 && stream.Next(); n++ {
		}
		left := time.Now()
		cancel()
		cancelled(t, ended, left)
	})
	t.Run("cancellation before a whole answer", func(t *testing.T) {
		ended := r.ended("slow")
		asked := make(chan struct{}, 1)
		r.sims["slow"].OnRequest(func(sim.Record) { asked <- struct{}{} })
		ctx, cancel := context.WithCancel(t.Context())
		params := question("m/slow")
		params.MaxTokens = openai.Int(2000)
		var left time.Time
		go func() { <-asked; left = time.Now(); cancel() }()
		if _, err := client.Chat.Completions.New(ctx, params); err == nil {
			t.Error("a cancelled request has an answer")
		}
		cancelled(t, ended, left)
	})
}

// cancelled wants the provider to have seen its client leave, long before it would have finished.
func cancelled(t *testing.T, ended <-chan sim.Record, left time.Time) {
	t.Helper()
	select {
	case rec := <-ended:
		if !rec.Cancelled || rec.Tokens > 1000 {
			t.Errorf("the provider went on: %+v", rec)
		}
		t.Logf("the provider noticed after %v", rec.Ended.Sub(left).Round(time.Millisecond))
	case <-time.After(10 * time.Second):
		t.Error("the provider never noticed that the client had gone")
	}
}

func read(stream *ssestream.Stream[openai.ChatCompletionChunk]) (text string, completionTokens int64, err error) {
	defer stream.Close()
	for stream.Next() {
		chunk := stream.Current()
		if len(chunk.Choices) > 0 {
			text += chunk.Choices[0].Delta.Content
		}
		if n := chunk.Usage.CompletionTokens; n > 0 {
			completionTokens = n
		}
	}
	return text, completionTokens, stream.Err()
}

// node runs one case of testdata/clients/node/chat.mjs.
func (r *router) node(t *testing.T, key, what string) map[string]any {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "chat.mjs", r.url, key, what)
	cmd.Dir = nodeDir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node chat.mjs %s: %v", what, err)
	}
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return got
}

const nodeDir = "../../../testdata/clients/node"

func TestOpenAINode(t *testing.T) {
	need := func(missing string) {
		if os.Getenv("CHAPERONE_TEST_REQUIRE") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	if _, err := exec.LookPath("node"); err != nil {
		need("node is not installed; install Node.js 20 or later")
	}
	if _, err := os.Stat(filepath.Join(nodeDir, "node_modules", "openai")); err != nil {
		need("OpenAI's SDK is not installed; run: npm ci --prefix testdata/clients/node")
	}
	r := start(t)
	check := func(what, key string, holds func(got map[string]any) bool) {
		t.Run(what, func(t *testing.T) {
			if got := r.node(t, key, what); !holds(got) {
				t.Errorf("got %v", got)
			}
		})
	}
	check("whole", "sk-acme", func(got map[string]any) bool {
		return got["text"] == r.right(t) && got["model"] == "m/one" && got["provider"] == "GOOD" && got["completion_tokens"].(float64) > 0
	})
	check("stream", "sk-acme", func(got map[string]any) bool {
		return got["text"] == r.right(t) && got["model"] == "m/one" && got["completion_tokens"].(float64) > 0 && got["finish"] != nil
	})
	check("tool", "sk-acme", func(got map[string]any) bool { return got["name"] == "look_up" && got["finish"] == "tool_calls" })
	check("models", "sk-acme", func(got map[string]any) bool { return len(got["ids"].([]any)) == 4 })
	check("whole", "sk-nobody", func(got map[string]any) bool {
		return got["thrown"] == "AuthenticationError" && got["status"] == 401.0
	})
	check("unknown_model", "sk-acme", func(got map[string]any) bool {
		return got["thrown"] == "BadRequestError" && strings.Contains(got["message"].(string), "m/one")
	})
	check("failing_stream", "sk-acme", func(got map[string]any) bool {
		return got["text"] != "" && got["thrown"] == "APIError" && strings.Contains(got["message"].(string), "broke off")
	})
	ended := r.ended("slow")
	left := time.Now()
	check("cancel", "sk-acme", func(got map[string]any) bool { return got["chunks"].(float64) >= 3 })
	cancelled(t, ended, left)
}
