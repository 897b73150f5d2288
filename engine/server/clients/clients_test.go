package clients

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// told is what a client library made of an answer, in one form for all of them.
type told struct {
	Text             string
	Finish           string
	Model            string
	Provider         string
	PromptTokens     int64  `json:"prompt_tokens"`
	CompletionTokens int64  `json:"completion_tokens"`
	Name             string // of the tool that is called
	Arguments        string // JSON, or the text for a custom tool
	IDs              []string
	ID               string
	Vector           []float64
	Chunks           int
	Thrown           bool
	Status           int
	Message          string
	RetryAfter       string // as the Go SDKs let it be seen
}

// sdk is one official client library. ask has it do one thing against the router.
type sdk struct {
	name     string
	language string            // of its script; "" where it runs in the test
	finish   map[string]string // its API's words for stop, length and tool_calls
	count    bool              // it can have tokens counted
	others   bool              // it has responses, completions and embeddings
	gets     []string          // the schemas of all that it is answered here
	ask      func(t *testing.T, r *router, key, model, what string) told
}

var (
	chatWords     = map[string]string{"stop": "stop", "length": "length", "tool_calls": "tool_calls"}
	messagesWords = map[string]string{"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}

	openAIGets     = []string{"ChatCompletion", "ChatChunk", "Response", "ResponseEvent", "Completion", "EmbeddingList", "AnyModelList", "AnyModel", "Error"}
	openRouterGets = []string{"ChatCompletion", "ChatChunk", "AnyModelList", "ModelWithin", "ModelCount", "ModelEndpoints", "ProviderList", "EndpointList", "Error"}
	anthropicGets  = []string{"Message", "MessagesEvent", "TokenCount", "AnyModelList", "AnyModel", "AnthropicError"}
)

var sdks = []sdk{
	{"OpenAI for Go", "", chatWords, false, true, openAIGets, askOpenAI},
	{"OpenAI for Node", "node", chatWords, false, true, openAIGets, script("node", "openai.mjs")},
	{"OpenAI for Python", "python", chatWords, false, true, openAIGets, script("python", "with_openai.py")},
	{"OpenRouter for Node", "node", chatWords, false, false, openRouterGets, script("node", "openrouter.mjs")},
	{"Anthropic for Go", "", messagesWords, true, false, anthropicGets, askAnthropic},
	{"Anthropic for Node", "node", messagesWords, true, false, anthropicGets, script("node", "anthropic.mjs")},
	{"Anthropic for Python", "python", messagesWords, true, false, anthropicGets, script("python", "with_anthropic.py")},
}

func TestOfficialClients(t *testing.T) {
	for _, s := range sdks {
		t.Run(s.name, func(t *testing.T) {
			if s.language != "" {
				installed(t, s.language)
			}
			r := start(t)
			for back := range backs {
				t.Run(back, func(t *testing.T) { s.hold(t, r, back) })
			}
			r.held(t, s.gets...)
		})
	}
}

// hold holds everything that a program does with a client library.
func (s *sdk) hold(t *testing.T, r *router, back string) {
	model := back + "/one"
	ask := func(t *testing.T, what string) told { return s.ask(t, r, key, model, what) }
	for _, what := range []string{"whole", "stream", "image"} {
		t.Run(what, func(t *testing.T) {
			got, want := ask(t, what), r.right(t, back)
			if got.Text != want.Text || got.Finish != s.finish[want.FinishReason] || got.Model != model || got.PromptTokens == 0 || got.CompletionTokens == 0 {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if what != "stream" && s.name != "OpenRouter for Node" && got.Provider != strings.ToUpper(back)+"-GOOD" {
				t.Errorf("the provider is %q", got.Provider)
			}
			if n := r.sims[back+"-failing"].Counts().Requests; n == 0 {
				t.Error("the failing provider was never tried: this shows no fallback")
			}
		})
	}
	for _, what := range []string{"tool", "stream_tool"} {
		t.Run(what, func(t *testing.T) {
			got, want := ask(t, what), r.right(t, back)
			if want.Call == nil || got.Name != "look_up" || got.Finish != s.finish["tool_calls"] || !sameJSON(got.Arguments, want.Call.Arguments) {
				t.Errorf("got %+v, want %+v", got, want.Call)
			}
		})
	}
	t.Run("structured", func(t *testing.T) {
		got := ask(t, "structured")
		var river struct {
			Name string
			KM   *int
		}
		if err := json.Unmarshal([]byte(got.Text), &river); err != nil || river.KM == nil {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("models", func(t *testing.T) {
		got := ask(t, "models")
		if !slices.Contains(got.IDs, model) || slices.Contains(got.IDs, "m/secret") || len(got.IDs) != 4*len(backs) {
			t.Errorf("got %v: want every model but the one that policy denies", got.IDs)
		}
		if got := ask(t, "retrieve"); got.ID != model {
			t.Errorf("retrieved %+v", got)
		}
	})
	if s.name == "OpenRouter for Node" {
		t.Run("listings", func(t *testing.T) {
			got := ask(t, "listings")
			if got.Chunks != 4*len(backs) || !slices.Contains(got.IDs, strings.ToUpper(back)+"-GOOD") || !slices.Contains(got.IDs, back+"-good") {
				t.Errorf("got %+v", got)
			}
		})
	}
	if s.count {
		t.Run("count", func(t *testing.T) {
			if got := ask(t, "count"); got.PromptTokens == 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
	if s.others {
		s.holdOthers(t, r, back)
	}
	for _, c := range []struct {
		name, key, model string
		status           int
		message          string
	}{
		{"unknown key", "sk-nobody", model, 401, "key"},
		{"unknown model", key, back + "/oen", 400, model},
		{"policy leaves none", key, "m/secret", 404, "nobody may use this"},
		{"rate limit", key, back + "/limited", 429, "rate limited"},
	} {
		for _, what := range []string{"whole", "stream"} {
			t.Run(c.name+" "+what, func(t *testing.T) {
				got := s.ask(t, r, c.key, c.model, what)
				if !got.Thrown || got.Status != c.status || !strings.Contains(got.Message, c.message) {
					t.Errorf("got %+v; want %d with %q", got, c.status, c.message)
				}
				if c.status == 429 && strings.HasSuffix(s.name, "for Go") && got.RetryAfter == "" {
					t.Errorf("a rate limit says nothing of when to come again: %+v", got)
				}
			})
		}
	}
	t.Run("stream that breaks off", func(t *testing.T) {
		got := s.ask(t, r, key, back+"/dying", "stream")
		if !got.Thrown || !strings.Contains(got.Message, "broke off") {
			t.Errorf("got %+v: a truncated answer must not look whole", got)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		noticed, left := r.ended(back+"-slow"), time.Now()
		if got := s.ask(t, r, key, back+"/slow", "cancel"); got.Chunks < 3 {
			t.Errorf("got %+v", got)
		}
		cancelled(t, noticed, left)
	})
}

// holdOthers holds the APIs that are only a front, and embeddings.
func (s *sdk) holdOthers(t *testing.T, r *router, back string) {
	model := back + "/one"
	words := map[string]string{"stop": "completed", "length": "max_output_tokens", "tool_calls": "completed"}
	for _, what := range []string{"response", "response_stream", "completion"} {
		t.Run(what, func(t *testing.T) {
			got, want := s.ask(t, r, key, model, what), r.right(t, back)
			finish := words[want.FinishReason]
			if what == "completion" {
				finish = want.FinishReason
			}
			if got.Text != want.Text || got.Finish != finish || got.Model != model || got.CompletionTokens == 0 {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	for _, what := range []string{"response_tool", "response_stream_tool"} {
		t.Run(what, func(t *testing.T) {
			got, want := s.ask(t, r, key, model, what), r.right(t, back)
			if want.Call == nil || got.Name != "look_up" || got.Finish != "completed" || !sameJSON(got.Arguments, want.Call.Arguments) {
				t.Errorf("got %+v, want %+v", got, want.Call)
			}
		})
	}
	for _, what := range []string{"custom", "stream_custom", "response_custom", "response_stream_custom"} {
		t.Run(what, func(t *testing.T) {
			got := s.ask(t, r, key, model, what)
			if backs[back] == "anthropic" {
				if !got.Thrown || got.Status != 404 || !strings.Contains(got.Message, "is a custom tool") {
					t.Errorf("got %+v; want it refused for what Anthropic's API cannot say", got)
				}
				return
			}
			want := r.right(t, back)
			if want.Call == nil || !want.Call.Custom || got.Name != "look_up" || got.Arguments != want.Call.Arguments {
				t.Errorf("got %+v, want %+v", got, want.Call)
			}
		})
	}
	t.Run("response that breaks off", func(t *testing.T) {
		got := s.ask(t, r, key, back+"/dying", "response_stream")
		if !got.Thrown || !strings.Contains(got.Message, "broke off") {
			t.Errorf("got %+v: a truncated answer must not look whole", got)
		}
	})
	t.Run("embedding", func(t *testing.T) {
		got := s.ask(t, r, key, model, "embedding")
		if want := sim.Vector(0, []byte(`"`+question+`"`)); !slices.Equal(got.Vector, want) || got.Model != "m/embed" || got.PromptTokens == 0 {
			t.Errorf("got %+v, want %v", got, want)
		}
		if r.sims["embed-failing"].Counts().Requests == 0 {
			t.Error("the failing provider was never tried: this shows no fallback")
		}
	})
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	one, _ := json.Marshal(x)
	two, _ := json.Marshal(y)
	return bytes.Equal(one, two)
}

const scripts = "../../../testdata/clients"

// programs are how scripts are run, and what has to be installed first.
var programs = map[string]struct{ run, needs, how string }{
	"node":   {"node", "node_modules/openai", "Node.js 20 or later, and: npm ci --prefix testdata/clients/node"},
	"python": {".venv/bin/python", ".venv/bin/python", "Python 3.9 or later, and: testdata/clients/python/install"},
}

// need skips a test for want of a file that is installed with others, or fails it where nothing may be wanting.
func need(t *testing.T, file, how string) {
	t.Helper()
	if _, err := os.Stat(file); err == nil {
		return
	}
	if os.Getenv("CHAPERONE_TEST_REQUIRE") != "" {
		t.Fatal("this needs " + how)
	}
	t.Skip("this needs " + how)
}

// installed is what runs the scripts of a language, and the folder that they stand in.
func installed(t *testing.T, language string) (program, dir string) {
	t.Helper()
	p := programs[language]
	dir, err := filepath.Abs(filepath.Join(scripts, language))
	if err != nil {
		t.Fatal(err)
	}
	program = p.run
	if strings.Contains(program, "/") {
		program = filepath.Join(dir, program)
	}
	file := filepath.Join(dir, p.needs)
	if _, err := exec.LookPath(program); err != nil {
		file = program
	}
	need(t, file, p.how)
	return program, dir
}

// script has a program of testdata/clients answer, one for each router.
func script(language, file string) func(t *testing.T, r *router, key, model, what string) told {
	var running *conversation
	return func(t *testing.T, r *router, key, model, what string) (got told) {
		t.Helper()
		if running == nil || running.with != r {
			program, dir := installed(t, language)
			running = converse(t, dir, program, file, r.url)
			running.with = r
		}
		if _, err := fmt.Fprintln(running.in, key, model, what); err != nil {
			t.Fatal(err)
		}
		if !running.out.Scan() {
			t.Fatalf("%s has ended at %s %s: %v", file, model, what, running.out.Err())
		}
		if err := json.Unmarshal(running.out.Bytes(), &got); err != nil {
			t.Fatalf("%v in %s", err, running.out.Bytes())
		}
		return got
	}
}

// conversation is a program that answers a line with a line.
type conversation struct {
	with *router
	in   io.WriteCloser
	out  *bufio.Scanner
}

func converse(t *testing.T, dir, program string, args ...string) *conversation {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = append(ended, func() error { return errors.Join(in.Close(), cmd.Wait()) })
	return &conversation{in: in, out: bufio.NewScanner(out)}
}

// ended are what ends the programs that were started.
var ended []func() error

func TestMain(m *testing.M) {
	code := m.Run()
	for _, end := range ended {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func unquoted(raw string) (s string) {
	if json.Unmarshal([]byte(raw), &s) != nil {
		return raw
	}
	return s
}
