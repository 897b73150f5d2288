package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/scorer"
	"chaperone/engine/sim/demo"
)

// playgroundFile is the configuration of a playground, with more at its end.
func playgroundFile(t *testing.T, more string) string {
	t.Helper()
	dir, _ := initialised(t, nil, "--simulated")
	config := filepath.Join(dir, "chaperone.toml")
	if err := os.WriteFile(config, []byte(content(t, config)+more), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// narrow holds a table to the width of a terminal.
func narrow(t *testing.T, table string) {
	t.Helper()
	for line := range strings.Lines(table) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 120 {
			t.Errorf("a line has %d columns; should be at most 120: %s", n, line)
		}
	}
}

func TestExplainShowsEveryCandidate(t *testing.T) {
	config := playgroundFile(t, "")
	code, table, stderr := chaperone(t, "explain", "--config", config, "--org", "strict", "--model", demo.LargeModel)
	if code != exitDone || stderr != "" {
		t.Fatalf("exited with %d: %s", code, stderr)
	}
	narrow(t, table)
	for _, want := range []string{
		`^demo/chat-large for strict, about 1000 prompt tokens$`,
		`^1      flaky#paid +permitted  \$0\.001150  \$0\.000559  \$0\.\d{6}  0\.\d{3} +100\.0%  1\.000  0\.839$`,
		`^6      \S+#paid +permitted  `,
		`^-      overseas#paid +denied$`,
		`^       residency: it may process in us; the policy allows eu$`,
		`^       library/residency\.rego:\d+, library\.residency for org:strict$`,
		`^       .*policies/own\.rego:8, own for everyone$`,
	} {
		if !regexp.MustCompile("(?m)" + want).MatchString(table) {
			t.Errorf("the table lacks %s:\n%s", want, table)
		}
	}
	if strings.Index(table, "steady-paris#paid") > strings.Index(table, "overseas#paid") {
		t.Errorf("those that are denied should come last:\n%s", table)
	}

	code, text, _ := chaperone(t, "explain", "--config", config, "--org", "strict", "--model", demo.LargeModel,
		"--prompt-tokens", "250", "--max-tokens", "64", "--stream", "--json")
	var rec journal.Record
	if err := json.Unmarshal([]byte(text), &rec); err != nil || code != exitDone {
		t.Fatalf("exited with %d, %q (%v)", code, text, err)
	}
	if rec.Organisation != "strict" || len(rec.Candidates) != 11 || rec.Request.PromptTokens != 250 || rec.Request.MaxOutputTokens != 64 || !rec.Request.Stream {
		t.Errorf("the record is %+v", rec)
	}
}

func TestExplainSaysWhereNothingMayServe(t *testing.T) {
	config := playgroundFile(t, "")
	body := write(t, "request.json", `{"model":"demo/chat-small","messages":[{"role":"user","content":"Hello"}],
		"provider":{"only":["overseas","steady-paris"],"quantizations":["fp8"]}}`)
	code, table, stderr := chaperone(t, "explain", "--config", config, "--org", "strict", "--body", body)
	if code != exitRefused || stderr != "" {
		t.Errorf("exited with %d, %q; should be 3", code, stderr)
	}
	narrow(t, table)
	for _, want := range []string{"-      steady-paris#paid      left out\n       preference: has quantization unknown",
		"-      flaky#paid             left out\n       preference: is not in provider.only", "\nnothing may serve this request; it is answered with 404 not_found\n"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	if code, text, _ := chaperone(t, "explain", "--config", config, "--org", "strict", "--body", body, "--json"); code != exitRefused || !json.Valid([]byte(text)) {
		t.Errorf("exited with %d, %q", code, text)
	}

	rego := filepath.Join(filepath.Dir(config), "policies", "own.rego")
	if err := os.WriteFile(rego, []byte("package own\n\nreject contains \"small models only\" if not \"demo/chat-small\" in input.request.models\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, table, stderr = chaperone(t, "explain", "--config", config, "--org", "open", "--model", demo.LargeModel)
	if code != exitRefused || !strings.Contains(table, "the request is refused:\n       small models only\n") || !strings.Contains(table, "own.rego:3, own for everyone") {
		t.Errorf("exited with %d, %q\n%s", code, stderr, table)
	}
}

func TestExplainShowsWhatARuleWouldDeny(t *testing.T) {
	config := playgroundFile(t, `
[[policy.bindings]]
package     = "library.residency"
for         = "org:open"
params      = { regions = ["eu"] }
enforcement = "dryrun"
until       = 2999-01-01
`)
	_, table, _ := chaperone(t, "explain", "--config", config, "--org", "open", "--model", demo.LargeModel)
	if !regexp.MustCompile(`(?m)^\d      overseas#paid +permitted .*\n       residency: it may process in us; the policy allows eu \(dryrun: not excluded for it\)\n`).MatchString(table) {
		t.Errorf("the table does not say that overseas would be denied:\n%s", table)
	}
}

func TestExplainSaysWhatWouldBeRight(t *testing.T) {
	config := playgroundFile(t, "[organisations.empty]\n\n[organisations.new.teams.one]\n")
	revoked := playgroundFile(t, "")
	if code, _, stderr := chaperone(t, "key", "revoke", "--config", revoked, "key_27eaa549e047"); code != exitDone {
		t.Fatal(stderr)
	}
	bad := write(t, "request.json", `{"model":"demo/chat-small","messages":"Hello"`)
	t.Setenv("CHAPERONE_KEY", "")
	t.Setenv("A_KEY", "sk-demo-open")
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--model", "m"}, exitInput, "who asks? Name one with --org: " + config + " has empty, new, open, strict"},
		{[]string{"--org", "open"}, exitInput, "no request: name a model with --model"},
		{[]string{"--org", "opne", "--model", "m"}, exitInput, `unknown organisation "opne"; did you mean "open"?`},
		{[]string{"--org", "empty", "--model", "m"}, exitInput, "empty has no key in force; chaperone key new --org empty makes one"},
		{[]string{"--org", "new", "--team", "one", "--model", "m"}, exitInput, "chaperone key new --org new --team one makes one"},
		{[]string{"--org", "open", "--model", "m", "--config", revoked}, exitInput, "open has no key in force"},
		{[]string{"--key", "key_27eaa549e047", "--model", "m", "--config", revoked}, exitInput, "key_27eaa549e047 is revoked; expected a key in force"},
		{[]string{"--key", "key_27eaa549e048", "--model", "m"}, exitInput, `unknown key "key_27eaa549e048"; did you mean "key_27eaa549e047"?`},
		{[]string{"--key", "key_27eaa549e047", "--org", "open", "--model", "m"}, exitInput, "[key org] were all set"},
		{[]string{"--org", "open", "--model", "demo/chat-lage"}, exitInput, "the nearest that this key may use: demo/chat-large"},
		{[]string{"--org", "open", "--body", bad}, exitInput, "messages"},
		{[]string{"--org", "open", "--body", bad + ".absent"}, exitInput, "--body: open " + bad + ".absent: no such file"},
		{[]string{"--org", "open", "--body", bad, "--stream"}, exitInput, "[body stream] were all set"},
		{[]string{"--org", "open", "--model", "m", "--prompt-tokens", "0"}, exitInput, "--prompt-tokens: found 0; expected 1 to"},
		{[]string{"--org", "open", "--model", "m", "--max-tokens", "-1"}, exitInput, "--max-tokens: found -1; expected 1 or more"},
		{[]string{"gen-1"}, exitInput, "gen-1: a decision is kept by the router that made it; name that with --url"},
		{[]string{"gen-1", "--url", "http://127.0.0.1:1"}, exitInput, "the environment variable CHAPERONE_KEY is empty"},
		{[]string{"gen-1", "--url", "127.0.0.1:1", "--key-env", "A_KEY"}, exitInput, `--url: found "127.0.0.1:1"; expected the address of a router`},
		{[]string{"gen-1", "--url", "http://127.0.0.1:1", "--key-env", "A_KEY"}, exitFailed, "connection refused; chaperone serve starts one"},
		{[]string{"gen-1", "gen-2"}, exitInput, "accepts at most 1 arg(s), received 2"},
	} {
		args := append([]string{"explain"}, test.args...)
		if joined := strings.Join(args, " "); !strings.Contains(joined, "--config") && !strings.Contains(joined, "--url") {
			args = append(args, "--config", config)
		}
		code, stdout, stderr := chaperone(t, args...)
		if code != test.code || stdout != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("%q exited with %d, %q, %q; should be %d and %q", args, code, stdout, stderr, test.code, test.says)
		}
	}
}

func TestExplainAsksARunningRouter(t *testing.T) {
	world, err := demo.Start(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	for _, p := range world.Providers {
		for _, c := range p.Profile().Credentials {
			t.Setenv(strings.ToUpper(strings.ReplaceAll("demo_"+p.Name()+"_"+c.Name+"_key", "-", "_")), c.Key)
		}
	}
	config, err := world.Write(t.TempDir(), demo.Settings{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	replaceIn(t, config, "[organisations.strict]\n", "[organisations.strict]\nerror_detail = \"none\"\n")
	url := startServe(t, config)
	t.Setenv("OPEN_KEY", demo.OpenKey)
	t.Setenv("STRICT_KEY", demo.StrictKey)

	code, table, stderr := chaperone(t, "explain", "--url", url+"/v1/", "--key-env", "OPEN_KEY", "--model", demo.SmallModel)
	if code != exitDone || strings.Count(table, " permitted ") != 11 {
		t.Errorf("exited with %d, %q:\n%s", code, stderr, table)
	}
	code, table, _ = chaperone(t, "explain", "--url", url, "--key-env", "STRICT_KEY", "--model", demo.SmallModel)
	if code != exitDone || !strings.Contains(table, "error_detail") || strings.Contains(table, "PLACE") {
		t.Errorf("exited with %d:\n%s", code, table)
	}

	request, err := http.NewRequest("POST", url+"/v1/chat/completions", strings.NewReader(`{"model":"demo/chat-small","messages":[{"role":"user","content":"Hello"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+demo.OpenKey)
	request.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	id := resp.Header.Get("X-Generation-Id")
	if resp.StatusCode != http.StatusOK || id == "" {
		t.Fatalf("answered with %d: %s", resp.StatusCode, answer)
	}
	code, table, stderr = chaperone(t, "explain", id, "--url", url, "--key-env", "OPEN_KEY")
	if code != exitDone || !strings.Contains(table, "decision "+id) || !regexp.MustCompile(`(?m)^1        \S+  ok +200 `).MatchString(table) && !regexp.MustCompile(`(?m)^2        \S+  ok +200 `).MatchString(table) {
		t.Errorf("exited with %d, %q:\n%s", code, stderr, table)
	}
	narrow(t, table)
	code, text, _ := chaperone(t, "explain", id, "--url", url, "--key-env", "OPEN_KEY", "--json")
	var rec journal.Record
	if err := json.Unmarshal([]byte(text), &rec); err != nil || code != exitDone || rec.ID != id || !rec.Dispatched || len(rec.Attempts) == 0 {
		t.Errorf("exited with %d, %q (%v)", code, text, err)
	}
	if code, _, stderr := chaperone(t, "explain", id, "--url", url, "--key-env", "STRICT_KEY"); code != exitInput || !strings.Contains(stderr, "no decision") {
		t.Errorf("another organisation's key: exited with %d, %q", code, stderr)
	}
	t.Setenv("OPEN_KEY", "sk-unknown")
	if code, _, stderr := chaperone(t, "explain", id, "--url", url, "--key-env", "OPEN_KEY"); code != exitInput || !strings.Contains(stderr, "the API key is unknown") {
		t.Errorf("an unknown key: exited with %d, %q", code, stderr)
	}
	if code, _, stderr := chaperone(t, "explain", id, "--url", world.Providers[0].URL(), "--key-env", "STRICT_KEY"); code == exitDone {
		t.Errorf("a provider in the place of a router: exited with %d, %q", code, stderr)
	}
}

func TestExplainReadsARequestFromStandardInput(t *testing.T) {
	config := playgroundFile(t, "")
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = in
	defer func() { os.Stdin = stdin }()
	if _, err := io.WriteString(out, `{"model":"demo/chat-small","models":["demo/chat-large"],"messages":[{"role":"user","content":"Hello"}]}`); err != nil {
		t.Fatal(err)
	}
	out.Close()
	code, table, stderr := chaperone(t, "explain", "--config", config, "--org", "open", "--body", "-")
	if code != exitDone || !strings.Contains(table, "1      demo/chat-small@flaky#paid") || !strings.Contains(table, "demo/chat-large@") {
		t.Errorf("exited with %d, %q:\n%s", code, stderr, table)
	}
	narrow(t, table)
}

func TestADecisionIsReadableWhateverIsInIt(t *testing.T) {
	half := 0.5
	var out bytes.Buffer
	writeDecision(&out, &journal.Record{
		ID: "gen-1", Organisation: "acme", Team: "fraud", Scorers: []string{"value"}, Shadows: []string{"dark", "own"}, Abstained: map[string]string{"own": "trap"},
		Candidates: []journal.Candidate{
			{Tag: "late", Group: "paid", Excluded: &route.Exclusion{Stage: route.StagePolicy, Code: "policy",
				Denials: []policy.Reason{{Message: strings.Repeat("much to say ", 30), Binding: "own for everyone", File: "own.rego", Line: 7}}}},
			{Tag: "short", Group: "paid", Excluded: &route.Exclusion{Stage: route.StageCapability, Code: "tools"}},
			{Tag: "second", Group: "paid", Place: 2, Resting: true, Utility: &half, Shadows: journal.Shadows{{Scorer: "dark", Place: 1, Share: 0.75, Utility: &half}, {Scorer: "own", Place: 2}}},
			{Tag: "first", Group: "paid", Place: 1, Utility: &half, Share: &half, Terms: []scorer.Term{{Name: "price", USD: 0.5}}, Shadows: journal.Shadows{{Scorer: "dark", Place: 2, Share: 0.25}, {Scorer: "own", Place: 1}}},
		},
		Attempts: []journal.Attempt{{Tag: "first", Credential: "KEY", Outcome: "ok", Status: 200, TTFTMs: 120, DurationMs: 300}},
	})
	table := out.String()
	narrow(t, table)
	for _, want := range []string{
		" for acme/fraud, about 0 prompt tokens\n",
		"PLACE  ENDPOINT     VERDICT    PRICE      UTILITY  SHARE  value  (dark)  (own)\n1      first#paid   permitted  $0.500000  0.500    50.0%  -      -       -\n2      second#paid  resting               0.500    -      -      0.500   -\n",
		"-      late#paid    denied\n       much to say much", "\n       own.rego:7, own for everyone\n",
		"-      short#paid   left out\n       capability: tools\n",
		"\nscorer own gave no opinion: trap\n",
		"\nshadow dark would have put second#paid first, with 75.0%; the choice made has 25.0% under it\n",
		"1        first#KEY  ok       200     -        120 ms       300 ms  0+0     $0.000000\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("lacks %q:\n%s", want, table)
		}
	}
}

func TestExplainDecidesRequestsOfEveryAPI(t *testing.T) {
	config := playgroundFile(t, "")
	for api, body := range map[string]string{
		"messages":    `{"model":"demo/chat-small","max_tokens":20,"messages":[{"role":"user","content":"Hello"}]}`,
		"responses":   `{"model":"demo/chat-small","input":"Hello"}`,
		"completions": `{"model":"demo/chat-small","prompt":"Hello"}`,
	} {
		code, table, stderr := chaperone(t, "explain", "--config", config, "--org", "open", "--api", api, "--body", write(t, "request.json", body))
		if code != exitDone || !strings.Contains(table, "steady-paris#paid") || !strings.Contains(table, "permitted") {
			t.Errorf("%s: exited with %d, %s\n%s", api, code, stderr, table)
		}
	}
	body := write(t, "request.json", `{"model":"demo/chat-small","input":"Hello"}`)
	if code, _, stderr := chaperone(t, "explain", "--config", config, "--org", "open", "--body", body); code != exitInput || !strings.Contains(stderr, "messages") {
		t.Errorf("a response taken for a chat: exited with %d, %s", code, stderr)
	}
	if code, _, stderr := chaperone(t, "explain", "--config", config, "--org", "open", "--api", "response", "--body", body); code != exitInput || !strings.Contains(stderr, `did you mean "responses"?`) {
		t.Errorf("an unknown API: exited with %d, %s", code, stderr)
	}
}
