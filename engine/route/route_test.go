package route_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaperone/engine"
	"chaperone/engine/route"
	"chaperone/engine/wire"
)

// The catalog of these tests: one model on five providers that differ in one respect each, a second one, and one that
// policy denies to everyone.
const catalogText = `
[models."meta/llama"]
name = "Llama"
context_length = 8000
[models."meta/vision"]
name = "Vision"
context_length = 8000
input_modalities = ["text", "image"]
[models."acme/secret"]
name = "Secret"
context_length = 8000
[models."other/llama-guard"]
name = "Guard"
context_length = 8000
[aliases]
"gpt-4o" = "meta/llama"

[providers.cheap]
name = "Cheap & Co"
dialect = "openai"
base_url = "http://127.0.0.1:1/v1"
[providers.cheap.credentials.free]
auth = "none"
[providers.cheap.credentials.free.data_policy]
training = "yes"
retains_prompts = "yes"

[providers.careful]
name = "Careful"
dialect = "openai"
base_url = "http://127.0.0.1:1/v1"
[providers.careful.data_policy]
training = "no"
retains_prompts = "no"
retention_days = 0
zdr = "yes"
[providers.careful.credentials.paid]
auth = "none"

[providers.keyless]
name = "Keyless"
dialect = "openai"
base_url = "http://127.0.0.1:1/v1"
[providers.keyless.credentials.paid]
key_env = "NOT_SET"

[providers.overdue]
name = "Overdue"
dialect = "openai"
base_url = "http://127.0.0.1:1/v1"
[providers.overdue.data_policy]
training = "no"
retains_prompts = "no"
retention_days = 0
zdr = "yes"
review_by = 2025-06-01
[providers.overdue.credentials.paid]
auth = "none"

[[endpoints]]
model = "meta/vision"
provider = "overdue"
upstream_model = "v"
price = { prompt = 9, completion = 9 }
[[endpoints]]
model = "meta/llama"
provider = "cheap"
upstream_model = "l"
quantization = "mxfp4"
price = { prompt = 1, completion = 1 }
expected = { ttft_ms = 60, tps = 800 }
[[endpoints]]
model = "meta/llama"
provider = "careful"
upstream_model = "l"
variant = "fast"
quantization = "bf16"
max_output_tokens = 100
supported_parameters = ["tools", "tool_choice", "max_tokens", "custom_tools", "response_format", "structured_outputs", "seed"]
price = { prompt = 5, completion = 5 }
expected = { ttft_ms = 50, tps = 900 }
[[endpoints]]
model = "meta/vision"
provider = "careful"
upstream_model = "v"
price = { prompt = 2, completion = 2 }
[[endpoints]]
model = "acme/secret"
provider = "careful"
upstream_model = "s"
price = { prompt = 2, completion = 2 }
[[endpoints]]
model = "other/llama-guard"
provider = "keyless"
upstream_model = "g"
price = { prompt = 1, completion = 1 }
`

func decide(t *testing.T, e *engine.Engine, key, body string) *route.Plan {
	t.Helper()
	p, err := e.Decide(t.Context(), engine.Call{Key: key, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t *testing.T) *engine.Engine {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"catalog.toml": catalogText, "own.rego/own.rego": `package own

deny contains {"code": "secret", "message": "nobody may use this"} if input.endpoint.model == "acme/secret"

prefer["throughput"] := 1 if input.claims.user == "hasty"

prefer["troughput"] := 1 if input.claims.user == "careless"

reject contains "two answers are one too many" if input.request.n > 1
`}
	conf := "catalog = [\"catalog.toml\"]\n[routing]\nexploration = 0\ntemperature = 0\n[[policy.sources]]\nname = \"own\"\npath = \"own.rego\"\n[[policy.bindings]]\npackage = \"own\"\nfor = \"everyone\"\n[[scorers]]\nname = \"value\"\n[[scorers]]\nname = \"throughput\"\nweight = 0\n"
	for _, detail := range []string{"full", "codes", "none"} {
		conf += fmt.Sprintf("[organisations.%s]\nerror_detail = %q\n[organisations.%s.aliases]\nours = \"meta/vision\"\n[[keys]]\norganisation = %q\nsha256 = \"%x\"\n",
			detail, detail, detail, detail, sha256.Sum256([]byte("sk-"+detail)))
	}
	files["chaperone.toml"] = conf
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(dir, "chaperone.toml"),
		Env: func(string) (string, bool) { return "", false }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	return e
}

// ask fills a request for a model with further fields.
// Weights of which one is of a scorer that does not rank would leave the others with none: the configured ones stand.
func TestAPreferenceForAScorerThatIsNotThereIsReported(t *testing.T) {
	p := decide(t, open(t), "sk-full", `{"model":"meta/llama","messages":[{"role":"user","content":"x"}],"user":"careless"}`)
	if err := p.Abstained["policy own"]; p.Weights != nil || err == nil || !strings.Contains(err.Error(), `did you mean "throughput"?; the configured weights stand`) {
		t.Errorf("weights %v, reported %v", p.Weights, p.Abstained)
	}
}

func ask(model, fields string) string {
	if fields != "" {
		fields = "," + fields
	}
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hi"}]%s}`, model, fields)
}

func planned(p *route.Plan) string {
	var rows []string
	for _, permit := range p.Permits {
		rows = append(rows, permit.Row().ID)
	}
	return strings.Join(rows, " ")
}

const (
	cheap   = "meta/llama@cheap#free"
	careful = "meta/llama@careful/fast#paid"
	vision  = "meta/vision@careful#paid"
	overdue = "meta/vision@overdue#paid"
)

func TestPlans(t *testing.T) {
	e := open(t)
	for _, c := range []struct {
		name, body, want string
		excluded         map[string]string // row → stage/code
	}{
		{"all rows, by generalised cost", ask("meta/llama", `"max_tokens":10`), cheap + " " + careful, nil},
		{"an alias of the catalog", ask("gpt-4o", ""), cheap + " " + careful, nil},
		{"an alias of the organisation", ask("ours", ""), vision + " " + overdue, nil},
		{"a name without its author", ask("llama", ""), cheap + " " + careful, nil},
		{"fallback models come after", ask("meta/vision", `"models":["meta/llama"],"provider":{"only":["careful"]}`), vision + " " + careful,
			map[string]string{cheap: "preference/allowed_providers"}},
		{"partition none makes one list", ask("meta/vision", `"models":["meta/llama"],"provider":{"sort":{"by":"price","partition":"none"}}`),
			cheap + " " + vision + " " + careful + " " + overdue, nil},
		{"the price suffix", ask("meta/llama:floor", ""), cheap + " " + careful, nil},
		{"the throughput suffix", ask("meta/llama:nitro", ""), careful + " " + cheap, nil},
		{"an explicit sort beats a suffix", ask("meta/llama:nitro", `"provider":{"sort":"price"}`), cheap + " " + careful, nil},
		{"the weights that a policy prefers", ask("meta/llama", `"user":"hasty"`), careful + " " + cheap, nil},
		{"sort by latency", ask("meta/llama", `"provider":{"sort":"latency"}`), careful + " " + cheap, nil},
		{"order by tag", ask("meta/llama", `"provider":{"order":["careful/fast"]}`), careful + " " + cheap, nil},
		{"order by shown name", ask("meta/llama", `"provider":{"order":["Careful"]}`), careful + " " + cheap, nil},
		{"order without fallbacks", ask("meta/llama", `"provider":{"order":["careful"],"allow_fallbacks":false}`), careful,
			map[string]string{cheap: "preference/allow_fallbacks"}},
		{"no fallbacks", ask("meta/llama", `"provider":{"allow_fallbacks":false}`), cheap,
			map[string]string{careful: "preference/allow_fallbacks"}},
		{"ignore", ask("meta/llama", `"provider":{"ignore":["cheap"]}`), careful, map[string]string{cheap: "preference/ignored_providers"}},
		{"quantization family", ask("meta/llama", `"provider":{"quantizations":["fp4"]}`), cheap, map[string]string{careful: "preference/quantization"}},
		{"data collection", ask("meta/llama", `"provider":{"data_collection":"deny"}`), careful, map[string]string{cheap: "preference/data_policy:training"}},
		{"zero retention", ask("meta/llama", `"provider":{"zdr":true}`), careful, map[string]string{cheap: "preference/data_policy:zdr"}},
		{"claims whose review is overdue count for nothing", ask("meta/vision", `"provider":{"data_collection":"deny"}`), vision,
			map[string]string{overdue: "preference/data_policy:training"}},
		{"nor does zero retention", ask("meta/vision", `"provider":{"zdr":true}`), vision, map[string]string{overdue: "preference/data_policy:zdr"}},
		{"a price ceiling is inclusive", ask("meta/llama", `"provider":{"max_price":{"prompt":1,"completion":"1"}}`), cheap, map[string]string{careful: "preference/max_price"}},
		{"require parameters", ask("meta/llama", `"seed":7,"provider":{"require_parameters":true}`), careful, map[string]string{cheap: "preference/require_parameters"}},
		{"soft cutoffs without data move nothing", ask("meta/llama", `"provider":{"preferred_min_throughput":5000}`), cheap + " " + careful, nil},
		{"tools", ask("meta/llama", `"tools":[{"type":"function","function":{"name":"f"}}]`), careful, map[string]string{cheap: "capability/tools"}},
		{"calls of custom tools", `{"model":"meta/llama","messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"id":"a","type":"custom","custom":{"name":"c","input":"x"}}]},` +
			`{"role":"tool","tool_call_id":"a","content":"y"}]}`, careful, map[string]string{cheap: "capability/custom_tools"}},
		{"structured output", ask("meta/llama", `"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}}`), careful,
			map[string]string{cheap: "capability/structured_outputs"}},
		{"output limit", ask("meta/llama", `"max_tokens":500`), cheap, map[string]string{careful: "capability/max_output_tokens"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := decide(t, e, "sk-full", c.body)
			if got := planned(p); got != c.want {
				t.Errorf("planned %q, want %q (%v)", got, c.want, p.Refusal)
			}
			for i := range p.Candidates {
				x := &p.Candidates[i]
				if (x.Excluded == nil) != (x.Place > 0) {
					t.Errorf("%s is both in the plan and out of it", x.Row.ID)
				}
				if want, ok := c.excluded[x.Row.ID]; ok && (x.Excluded == nil || string(x.Excluded.Stage)+"/"+x.Excluded.Code != want) {
					t.Errorf("%s: excluded %+v, want %s", x.Row.ID, x.Excluded, want)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	e := open(t)
	for _, c := range []struct {
		name, body string
		status     int
		errType    string
		message    string
	}{
		{"unknown model", ask("meta/lama", ""), 400, "not_found",
			`"meta/lama" is not a model of this router; the nearest that this key may use: meta/llama`},
		{"unknown model of a family that is known", ask("vision-3-preview-20260101", ""), 400, "not_found",
			`"vision-3-preview-20260101" is not a model of this router; the nearest that this key may use: meta/vision`},
		{"unknown model, nothing near", ask("zzzzzzzzzzzz", ""), 400, "not_found",
			`"zzzzzzzzzzzz" is not a model of this router; this key may use meta/llama, meta/vision (GET /v1/models lists all)`},
		{"a catalog suffix that does not exist", ask("meta/llama:batch", ""), 400, "not_found",
			`"meta/llama:batch" is not a model of this router; the nearest that this key may use: meta/llama`},
		{"nothing free", ask("meta/llama:free", ""), 404, "not_found",
			"no endpoint of the requested model is free (cheap, careful/fast: is not free, and :free is asked for); " +
				"the smallest change that would let one through: model meta/llama without :free (cheap)"},
		{"a web search by suffix", ask("meta/llama:online", ""), 400, "invalid_request", `"meta/llama:online" asks for a web search by the suffix :online`},
		{"rejected", ask("meta/llama", `"n":2`), 403, "permission_denied", "a policy refuses this request: two answers are one too many [own, "},
		{"policy leaves none", ask("acme/secret", ""), 404, "not_found",
			"policy leaves no endpoint for this request (careful: nobody may use this [own, "},
		{"nothing capable", `{"model":"meta/llama","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]}`, 404, "not_found",
			"no endpoint of the requested model is capable of this request (cheap, careful/fast: takes no image input)"},
		{"nothing preferred", ask("meta/llama", `"provider":{"only":["nobody"]}`), 404, "not_found",
			"no endpoint matches the provider preferences of this request (cheap, careful/fast: is not in provider.only)"},
		{"no key configured", ask("other/llama-guard", ""), 503, "provider_unavailable",
			"no provider key is configured for the endpoints that may serve this request (keyless: no key for the credential group paid of keyless: set NOT_SET)"},
		{"claimed data class", ask("meta/llama", `"metadata":{"data_class":"restrcted"}`), 400, "invalid_request",
			`metadata.data_class: found "restrcted"; did you mean "restricted"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := decide(t, e, "sk-full", c.body)
			if p.Refusal == nil || len(p.Permits) > 0 {
				t.Fatalf("planned %q", planned(p))
			}
			if p.Refusal.Status != c.status || p.Refusal.Type != c.errType || !strings.HasPrefix(p.Refusal.Message, c.message) {
				t.Errorf("got %d %s %q\nwant %d %s %q…", p.Refusal.Status, p.Refusal.Type, p.Refusal.Message, c.status, c.errType, c.message)
			}
			if p.Refusal.DecisionID != p.ID {
				t.Error("the refusal does not carry the id of its decision")
			}
		})
	}
}

func TestErrorDetailKeepsRulesFromCallers(t *testing.T) {
	e := open(t)
	for detail, want := range map[string]struct{ message, excludedBy bool }{"full": {true, true}, "codes": {false, true}, "none": {false, false}} {
		p := decide(t, e, "sk-"+detail, ask("acme/secret", ""))
		text := string(wire.Chat.AppendError(nil, p.Refusal))
		if got := strings.Contains(text, "nobody may use this"); got != want.message {
			t.Errorf("%s: the rule's words are told: %t; %s", detail, got, text)
		}
		if got := strings.Contains(text, `"excluded_by":["secret"]`); got != want.excludedBy {
			t.Errorf("%s: the rule's code is told: %t; %s", detail, got, text)
		}
	}
}

func TestAPlanIsAFunctionOfItsMoment(t *testing.T) {
	e := open(t)
	first := decide(t, e, "sk-full", ask("meta/llama", ""))
	for range 20 {
		p := decide(t, e, "sk-full", ask("meta/llama", ""))
		if p.ID == first.ID || p.Seed == first.Seed {
			t.Fatal("two decisions share an id or a seed")
		}
		if !slices.Equal(strings.Fields(planned(p)), strings.Fields(planned(first))) {
			t.Errorf("without spread the order is %q, then %q", planned(first), planned(p))
		}
	}
}
