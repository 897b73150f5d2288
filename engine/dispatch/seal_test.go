package dispatch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"chaperone/engine"
	"chaperone/engine/wire"
)

// sealer is a provider that seals its reasoning for the account that asked.
type sealer struct {
	made, misdirected atomic.Int64
	mu                sync.Mutex
	asked             []string // the accounts, in order
}

var seal = regexp.MustCompile(`seal-([ab])-\d+`)

func (s *sealer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	account := strings.TrimPrefix(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+r.Header.Get("X-Api-Key"), "key-of-account-")
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked, account)
	s.mu.Unlock()
	for _, sent := range seal.FindAllSubmatch(body, -1) {
		if string(sent[1]) != account {
			s.misdirected.Add(1)
		}
	}
	sealed := fmt.Sprintf("seal-%s-%d", account, s.made.Add(1))
	anthropic := strings.HasSuffix(r.URL.Path, "/messages")
	if !bytes.Contains(body, []byte(`"stream":true`)) {
		w.Header().Set("Content-Type", "application/json")
		if anthropic {
			fmt.Fprintf(w, `{"id":"x","type":"message","role":"assistant","model":"u","content":[{"type":"thinking","thinking":"hm","signature":%q},{"type":"text","text":"yes"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}`, sealed)
			return
		}
		fmt.Fprintf(w, `{"id":"x","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"yes","reasoning_details":[{"type":"reasoning.encrypted","data":%q,"format":"m-v1","index":0}]}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`, sealed)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if !anthropic {
		fmt.Fprintf(w, `data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_details":[{"type":"reasoning.encrypted","data":%q,"format":"m-v1","index":0}]}}]}`+"\n\n", sealed)
		io.WriteString(w, `data: {"id":"x","choices":[{"index":0,"delta":{"content":"yes"},"finish_reason":"stop"}]}`+"\n\n"+`data: {"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}`+"\n\ndata: [DONE]\n\n")
		return
	}
	for _, data := range []string{
		`{"type":"message_start","message":{"id":"x","type":"message","role":"assistant","content":[],"model":"u","usage":{"input_tokens":3,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"` + sealed + `"}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"yes"}}`,
		`{"type":"content_block_stop","index":1}`,
		`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}`,
		`{"type":"message_stop"}`,
	} {
		var ev struct{ Type string }
		json.Unmarshal([]byte(data), &ev)
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", ev.Type, data)
	}
}

// accounts is a router in front of one provider with two accounts, a and b. The limit of a request's answer says what policy
// makes of it: 2001 is for a alone, 2003 for anybody but a.
func accounts(t *testing.T, dialect, url string) *engine.Engine {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	for _, org := range []string{"acme", "other"} {
		fmt.Fprintf(&b, "[organisations.%s]\n[[keys]]\norganisation = %q\nsha256 = \"%x\"\n", org, org, sha256.Sum256([]byte("sk-"+org)))
	}
	fmt.Fprintf(&b, `[models."m/one"]
name = "One"
context_length = 200000
[providers.p]
name = "P"
dialect = %q
base_url = %q
[providers.p.credentials.a]
key_env = "KEY_a"
[providers.p.credentials.b]
key_env = "KEY_b"
[[endpoints]]
model = "m/one"
provider = "p"
upstream_model = "u"
price = { prompt = 1, completion = 2 }
supported_parameters = ["max_tokens", "reasoning"]
[[policy.sources]]
name = "own"
path = "."
[[policy.bindings]]
package = "own"
for = "everyone"
`, dialect, url)
	for name, text := range map[string]string{"chaperone.toml": b.String(), "own.rego": `package own

deny contains "a alone" if {
	input.request.max_output_tokens == 2001
	input.endpoint.credentials != "a"
}

deny contains "anybody but a" if {
	input.request.max_output_tokens == 2003
	input.endpoint.credentials == "a"
}
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(dir, "chaperone.toml"), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Env: func(name string) (string, bool) { return "key-of-account-" + strings.TrimPrefix(name, "KEY_"), true }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	return e
}

// turns are the first and the second turn of a conversation in each front. The second sends the reasoning of the first back,
// in place of %s; %d is the limit of the answer.
var turns = map[wire.Shape]struct{ first, second string }{
	wire.Chat: {`{"model":"m/one","messages":[{"role":"user","content":"x"}],"stream":%t,"max_tokens":%d}`,
		`{"model":"m/one","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"yes","reasoning_details":[%s]},{"role":"user","content":"y"}],"max_tokens":%d}`},
	wire.Messages: {`{"model":"m/one","messages":[{"role":"user","content":"x"}],"stream":%t,"max_tokens":%d}`,
		`{"model":"m/one","messages":[{"role":"user","content":"x"},{"role":"assistant","content":[%s,{"type":"text","text":"yes"}]},{"role":"user","content":"y"}],"max_tokens":%d}`},
	wire.Responses: {`{"model":"m/one","input":"x","stream":%t,"max_output_tokens":%d}`,
		`{"model":"m/one","input":[{"role":"user","content":"x"},%s,{"role":"assistant","content":"yes"},{"role":"user","content":"y"}],"max_output_tokens":%d}`},
}

// thought finds the piece of sealed reasoning in an answer, as its front writes it for a request.
func thought(t *testing.T, front wire.Shape, streamed bool, answer []byte) string {
	t.Helper()
	h := &heard{}
	if streamed {
		h.stream(t, front, answer)
	} else {
		h.whole(t, front, answer)
	}
	if len(h.signatures) != 1 {
		t.Fatalf("%d signatures in %s", len(h.signatures), answer)
	}
	sealed := h.signatures[0]
	signed := h.reasoning != "" // Anthropic's
	switch {
	case front == wire.Chat && signed:
		return fmt.Sprintf(`{"type":"reasoning.text","format":"anthropic-claude-v1","index":0,"text":"hm","signature":%q}`, sealed)
	case front == wire.Chat:
		return fmt.Sprintf(`{"type":"reasoning.encrypted","format":"m-v1","index":0,"data":%q}`, sealed)
	case front == wire.Messages && signed:
		return fmt.Sprintf(`{"type":"thinking","thinking":"hm","signature":%q}`, sealed)
	case front == wire.Messages:
		return fmt.Sprintf(`{"type":"redacted_thinking","data":%q}`, sealed)
	case signed:
		return fmt.Sprintf(`{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"signature":%q,"format":"anthropic-claude-v1"}`, sealed)
	}
	return fmt.Sprintf(`{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":%q,"format":"m-v1"}`, sealed)
}

// asked is the whole answer to a body, streamed or not.
func asked(t *testing.T, e *engine.Engine, front wire.Shape, key, body string) ([]byte, *wire.Error) {
	t.Helper()
	resp, err := e.Do(t.Context(), engine.Call{Key: key, Shape: front, Body: []byte(body)})
	if e := (*wire.Error)(nil); errors.As(err, &e) {
		return nil, e
	}
	if resp.Stream == nil {
		return resp.Body, nil
	}
	text, err := io.ReadAll(resp.Stream)
	if err != nil {
		t.Fatal(err)
	}
	return text, nil
}

// A conversation with reasoning of two accounts goes to neither, since each would be shown what it cannot read: the refusal says
// of each which it is, and that the request would be served without.
func TestReasoningOfTwoAccountsGoesToNeither(t *testing.T) {
	for front, turn := range turns {
		for _, dialect := range []string{"openai", "anthropic"} {
			t.Run(fmt.Sprintf("%s over %s", front, dialect), func(t *testing.T) {
				t.Parallel()
				provider := &sealer{}
				server := httptest.NewServer(provider)
				defer server.Close()
				e := accounts(t, dialect, server.URL)
				var thoughts []string
				for _, limit := range []int{2001, 2003} { // a, and then b
					answer, refused := asked(t, e, front, "sk-acme", fmt.Sprintf(turn.first, false, limit))
					if refused != nil {
						t.Fatal(refused)
					}
					thoughts = append(thoughts, thought(t, front, false, answer))
				}
				if got := strings.Join(provider.asked, ""); got != "ab" {
					t.Fatalf("the thoughts are of %s", got)
				}
				_, refused := asked(t, e, front, "sk-acme", fmt.Sprintf(turn.second, strings.Join(thoughts, ","), 2000))
				if refused == nil || refused.Status != http.StatusNotFound || len(provider.asked) != 2 || provider.misdirected.Load() > 0 {
					t.Fatalf("%v; asked were %v", refused, provider.asked)
				}
				text := string(front.AppendError(nil, refused))
				for _, want := range []string{"the account p#a has signed or encrypted", "the account p#b has signed or encrypted", "without signed or encrypted reasoning"} {
					if !strings.Contains(text, want) {
						t.Errorf("the refusal does not say %q: %s", want, text)
					}
				}
				for i, maker := range []string{"a", "b"} {
					if _, refused := asked(t, e, front, "sk-acme", fmt.Sprintf(turn.second, thoughts[i], 2000)); refused != nil || provider.asked[len(provider.asked)-1] != maker {
						t.Errorf("with the thoughts of %s alone: %v, %v", maker, refused, provider.asked)
					}
				}
			})
		}
	}
}

// Sealed reasoning goes back to the account that made it and to no other, whichever API it went out in; where policy has shut
// that account out meanwhile, nobody gets it. What another organisation was given says nothing.
func TestSealedReasoningGoesBackToWhoMadeIt(t *testing.T) {
	for front, turn := range turns {
		for _, dialect := range []string{"openai", "anthropic"} {
			for _, stream := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s over %s/stream=%t", front, dialect, stream), func(t *testing.T) {
					t.Parallel()
					provider := &sealer{}
					server := httptest.NewServer(provider)
					defer server.Close()
					e := accounts(t, dialect, server.URL)
					ask := func(key, body string) ([]byte, *wire.Error) { return asked(t, e, front, key, body) }
					answer, refused := ask("sk-acme", fmt.Sprintf(turn.first, stream, 2001))
					if refused != nil {
						t.Fatal(refused)
					}
					sealed := thought(t, front, stream, answer)
					for range 8 {
						if _, refused := ask("sk-acme", fmt.Sprintf(turn.second, sealed, 2000)); refused != nil {
							t.Fatal(refused)
						}
					}
					if n := provider.misdirected.Load(); n > 0 {
						t.Errorf("%d requests with reasoning of a have reached %v", n, provider.asked)
					}
					before := len(provider.asked)
					_, refused = ask("sk-acme", fmt.Sprintf(turn.second, sealed, 2003))
					if refused == nil || len(provider.asked) != before {
						t.Fatalf("served by %v, though policy shuts a out", provider.asked)
					}
					if text := string(front.AppendError(nil, refused)); !strings.Contains(text, "cannot read reasoning that the account p#a has signed or encrypted") || !strings.Contains(text, "anybody but a") {
						t.Errorf("the refusal does not say why: %s", text)
					}
					if rec := e.Record(refused.DecisionID); rec == nil || len(rec.Made) != 1 || rec.Made[0] != "p#a" {
						t.Errorf("the record does not say who made the reasoning: %+v", rec)
					}
					if _, refused = ask("sk-other", fmt.Sprintf(turn.second, sealed, 2003)); refused != nil || provider.asked[len(provider.asked)-1] != "b" {
						t.Errorf("where nobody knows who made it: %v, %v", refused, provider.asked)
					}
				})
			}
		}
	}
}
