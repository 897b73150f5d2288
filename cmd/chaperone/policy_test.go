package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// policyWorld is an organisation with a team, three providers of one model, and a folder for policies.
const policyWorld = `
[organisations.acme]
[organisations.acme.teams.fraud]

[providers.alpha]
dialect = "openai"
base_url = "https://alpha.example/v1"
credentials.paid = { key_env = "ALPHA_KEY" }
data_policy = { training = "no" }
[providers.beta]
dialect = "openai"
base_url = "https://beta.example/v1"
credentials.paid = { key_env = "BETA_KEY" }
data_policy = { training = "no" }
[providers.gamma]
dialect = "openai"
base_url = "https://gamma.example/v1"
credentials.paid = { key_env = "GAMMA_KEY" }

[models."acme/large"]
context_length = 32768

[[endpoints]]
model = "acme/large"
provider = "alpha"
processing_regions = ["eu"]
price = { prompt = 1.0, completion = 2.0 }
[[endpoints]]
model = "acme/large"
provider = "beta"
processing_regions = ["us"]
price = { prompt = 1.0, completion = 2.0 }
[[endpoints]]
model = "acme/large"
provider = "gamma"
price = { prompt = 1.0, completion = 2.0 }

[[policy.bindings]]
package = "library.training"
for = "org:acme"
[[policy.bindings]]
package = "library.residency"
for = "team:acme/fraud"
params = { regions = ["eu"] }
`

// inPolicyWorld works in a folder with chaperone.toml.
func inPolicyWorld(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	put(t, "chaperone.toml", policyWorld)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// says runs a command line and holds its exit code and output (both streams) against what is wanted.
func says(t *testing.T, code int, line string, wants ...string) string {
	t.Helper()
	got, stdout, stderr := chaperone(t, strings.Fields(line)...)
	if got != code {
		t.Errorf("%q exited with %d, should with %d\n%s%s", line, got, code, stdout, stderr)
	}
	for _, want := range wants {
		if !strings.Contains(stdout+stderr, want) {
			t.Errorf("%q said\n%s%s\nand should have %q", line, stdout, stderr, want)
		}
	}
	return stdout
}

// decoded runs a command line with --json.
func decoded[T any](t *testing.T, code int, line string) (v T) {
	t.Helper()
	stdout := says(t, code, line+" --json")
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		t.Fatalf("%q: %v: %s", line, err, stdout)
	}
	return v
}

func TestANewPolicyIsRightAsItIs(t *testing.T) {
	inPolicyWorld(t)
	says(t, 0, "policy new acme.vision", "wrote "+filepath.Join("rego", "acme", "vision.rego"), `package = "acme.vision"`, `path = "rego"`)
	says(t, 2, "policy new acme.vision", "exists already")
	says(t, 2, "policy new acme.Vision", `found "acme.Vision"`)
	says(t, 0, "policy check rego", "the policies of rego are right")
	says(t, 0, "policy test rego --threshold 100", "2 passed, 0 failed", "coverage 100.0 %")
	says(t, 0, "policy fmt --check rego")
	says(t, 0, "policy list rego", "acme.vision", "providers", "array of string: ids of the providers that may serve")
}

func TestPolicyCheckReportsEverythingAtOnce(t *testing.T) {
	inPolicyWorld(t)
	says(t, 0, "policy check", "the policies of chaperone.toml are right")
	put(t, "rego/near.rego", "package acme.near\n\nviolation contains \"no\" if input.endpoint.free\n")
	put(t, "chaperone.toml", policyWorld+`
[[policy.sources]]
name = "own"
path = "rego"
[[policy.bindings]]
package = "library.retention"
for = "org:acne"
[[policy.bindings]]
package = "library.price"
for = "everyone"
params = { promt = 1 }
`)
	says(t, 2, "policy check", "rego/near.rego:1: package acme.near has none of the rules", `unknown organisation "acne"`, `"promt"; did you mean "prompt"?`)
	v := decoded[struct {
		OK       bool
		Problems []struct {
			File string
			Line int
		}
	}](t, 2, "policy check")
	if v.OK || len(v.Problems) != 3 {
		t.Errorf("%+v; should be three problems", v)
	}
	put(t, "rego/near.rego", "package acme.near\n\ndeny contains \"no\" if input.endpoint.provider == \"trianer\"\n")
	put(t, "chaperone.toml", policyWorld+"[[policy.sources]]\nname = \"own\"\npath = \"rego\"\n[[policy.bindings]]\npackage = \"acme.near\"\nfor = \"everyone\"\n")
	for _, command := range []string{"check", "policy check"} {
		says(t, 0, command, `warning: rego/near.rego:3: there is no provider "trianer" in the catalog`)
		warned := decoded[struct {
			OK       bool
			Warnings []struct {
				File string
				Line int
			}
		}](t, 0, command)
		if !warned.OK || len(warned.Warnings) != 1 || warned.Warnings[0].Line != 3 {
			t.Errorf("%s: %+v; should be right, with one warning", command, warned)
		}
	}
	says(t, 2, "policy check absent", "no such file")
	says(t, 2, "policy check rego --config chaperone.toml", "not both")
	says(t, 2, "policy chek", `unknown command "chek"`)
}

func TestPolicyTestTellsWhatFailedFromWhatIsWrong(t *testing.T) {
	inPolicyWorld(t)
	says(t, 2, "policy test", "no tests; expected *_test.rego or *_test.toml")
	put(t, "rego/a.rego", "package acme.a\n\ndeny contains \"no\" if input.endpoint.free\n\ndeny contains \"never\" if {\n\tinput.endpoint.provider == \"x\"\n\tinput.endpoint.model == \"y\"\n}\n")
	put(t, "rego/a_test.rego", "package acme.a_test\n\nimport data.acme.a\n\ntest_free if \"no\" in a.deny with input as {\"endpoint\": {\"free\": true}}\n")
	says(t, 0, "policy test rego", "1 passed, 0 failed", "not reached: rego/a.rego:")
	says(t, 3, "policy test rego --threshold 100", "less than --threshold 100")
	put(t, "cases_test.toml", "[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\npermitted = [\"alpha\"]\ndenied = [\"gamma\"]\nbecause = \"training\"\n")
	says(t, 0, "policy test . -v", "PASS  rego/a_test.rego:5  acme.a_test.test_free", "PASS  cases_test.toml:1  acme acme/large", "2 passed")
	says(t, 3, "policy test cases_test.toml --threshold 1", "no Rego test ran")
	put(t, "cases_test.toml", "[[case]]\norg = \"acme\"\nteam = \"fraud\"\nmodel = \"acme/large\"\npermitted = [\"beta\"]\n")
	says(t, 3, "policy test .", "FAIL  cases_test.toml:1  acme fraud acme/large", "- permitted: beta", "+ denied:    acme/large@beta#paid: it may process in us", "library/residency.rego:")
	v := decoded[testReport](t, 3, "policy test .")
	if v.Passed != 1 || v.Failed != 1 || v.Coverage == nil || len(v.Cases) != 1 || v.Cases[0].OK {
		t.Errorf("%+v", v)
	}
	put(t, "cases_test.toml", "[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\nallowed = [\"beta\"]\n")
	says(t, 2, "policy test .", "cases_test.toml:4: case[0].allowed: unknown key")
	says(t, 2, "policy test cases_test.toml --config absent.toml", "absent.toml: there is no such file")
	put(t, "rego/a_test.rego", "package acme.a_test\n\nimport data.acme.a\n\ntest_free if {\n\tcount(a.deny) == 2 with input as {\"endpoint\": {\"free\": true}}\n}\n")
	says(t, 3, "policy test rego", "FAIL  rego/a_test.rego:5  acme.a_test.test_free", "not true at line 6: count(a.deny) == 2")
	says(t, 2, "policy test absent", "no such file")
}

const seat = `package acme.seat

deny contains "it is not SEAT" if input.endpoint.provider != "SEAT"
`

func TestPolicyTryShowsWhatAPolicyWouldLeave(t *testing.T) {
	inPolicyWorld(t)
	put(t, "rego/seat.rego", strings.ReplaceAll(seat, "SEAT", "beta"))
	says(t, 0, "policy try rego/seat.rego --org acme --model acme/large", "acme.seat leaves 1 of 3 rows of acme/large",
		"acme/large@alpha#paid  denied     it is not beta (rego/seat.rego:3)", "acme/large@beta#paid   permitted",
		"it is not beta (rego/seat.rego:3); the terms say unknown to training")
	v := decoded[struct{ Rows []triedRow }](t, 0, "policy try rego/seat.rego --org acme --team fraud --model acme/large")
	if len(v.Rows) != 3 || v.Rows[1].Permitted || v.Rows[1].Denials[0].Package != "library.residency" {
		t.Errorf("%+v; the team's residency should deny beta", v.Rows)
	}
	says(t, 2, "policy try rego/seat.rego --org acme --model acme/larg", `unknown model "acme/larg"; did you mean "acme/large"?`)
	says(t, 2, "policy try rego/seat.rego --org acne --model acme/large", `unknown organisation "acne"`)
	says(t, 2, "policy try rego/absent.rego --org acme --model acme/large", "no such file")
	says(t, 2, "policy try rego/seat.rego --model acme/large", "at least one of the flags in the group [org key]")
	says(t, 2, "policy try rego/seat.rego --org acme --model acme/large --at noon", `--at: found "noon"`)
	put(t, "rego/seat.rego", "package acme.seat\n\ndeny contains \"x\" if input.endpoint.provider == \"bta\"\n")
	says(t, 0, "policy try rego/seat.rego --org acme --model acme/large", `warning: rego/seat.rego:3: there is no provider "bta" in the catalog, so this never matches; did you mean "beta"?`)
	put(t, "rego/seat.rego", "package acme.seat\n\ndeny contains \"x\" if input.endpoint.provder == \"x\"\n")
	says(t, 2, "policy try rego/seat.rego --org acme --model acme/large", "rego/seat.rego:3: ")
}

func TestPolicyTryDrawsAgainOnSaveAndMarksWhatFlipped(t *testing.T) {
	inPolicyWorld(t)
	put(t, "rego/seat.rego", strings.ReplaceAll(seat, "SEAT", "beta"))
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	reader, writer := io.Pipe()
	ended := make(chan int)
	go func() {
		code := run(ctx, strings.Fields("policy try --watch rego/seat.rego --org acme --model acme/large"), writer, io.Discard)
		writer.Close()
		ended <- code
	}()
	out := bufio.NewScanner(reader)
	until := func(wants ...string) {
		t.Helper()
		for _, want := range wants {
			for {
				if !out.Scan() {
					t.Fatalf("the output ended before %q", want)
				}
				if strings.Contains(out.Text(), want) {
					break
				}
			}
		}
	}
	until("leaves 1 of 3", "  acme/large@alpha#paid  denied", "  acme/large@beta#paid   permitted", "acme/large@gamma#paid")
	put(t, "rego/seat.rego", strings.ReplaceAll(seat, "SEAT", "alpha"))
	until("*  acme/large@alpha#paid  permitted, was denied", "*  acme/large@beta#paid   denied, was permitted", "   acme/large@gamma#paid  denied")
	put(t, "rego/seat.rego", "package acme.seat\n\ndeny contains")
	until("rego/seat.rego:3: rego_parse_error")
	put(t, "rego/seat.rego", strings.ReplaceAll(seat, "SEAT", "beta"))
	until("*  acme/large@alpha#paid  denied, was permitted", "acme/large@gamma#paid")
	put(t, "chaperone.toml", strings.Replace(policyWorld, `for = "org:acme"`, `for = "team:acme/fraud"`, 1)+"# saved\n")
	until("   acme/large@beta#paid   permitted", "acme/large@gamma#paid  denied     it is not beta (rego/seat.rego:3)")
	interrupt()
	go io.Copy(io.Discard, reader)
	if code := <-ended; code != exitDone {
		t.Errorf("exited with %d after an interrupt", code)
	}
}

func TestPolicyFmt(t *testing.T) {
	inPolicyWorld(t)
	const crooked, straight = "package a\ndeny contains   \"x\" if { input.endpoint.free }\n", "package a\n\ndeny contains \"x\" if input.endpoint.free\n"
	put(t, "rego/a.rego", crooked)
	put(t, "rego/b.rego", straight)
	if out := says(t, 0, "policy fmt rego/a.rego"); out != straight {
		t.Errorf("printed %q", out)
	}
	if out := says(t, 2, "policy fmt --check rego"); out != "rego/a.rego\n" {
		t.Errorf("printed %q", out)
	}
	says(t, 0, "policy fmt --list rego", "rego/a.rego")
	if err := os.Chmod("rego/a.rego", 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, 0, "policy fmt --write rego", "rego/a.rego")
	text, err := os.ReadFile("rego/a.rego")
	info, err2 := os.Stat("rego/a.rego")
	if err != nil || err2 != nil || string(text) != straight || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: wrote %q with %v", err, err2, text, info.Mode())
	}
	if v := decoded[struct{ Changed []string }](t, 0, "policy fmt --check rego"); len(v.Changed) != 0 {
		t.Errorf("%+v would change again", v)
	}
	put(t, "rego/a.rego", "package")
	says(t, 2, "policy fmt rego", "rego/a.rego:1: rego_parse_error")
	says(t, 2, "policy fmt absent", "no such file")
}

func TestPolicyMatrixFailsWhereSomebodyFallsShort(t *testing.T) {
	inPolicyWorld(t)
	says(t, 0, "policy matrix", "org:acme", "library.training for org:acme (library/training.rego:")
	says(t, 3, "policy matrix --min-providers 2", "team:acme/fraud", "short", "1 of 2 fall short of 2")
	says(t, 3, "policy matrix --without alpha", "short")
	says(t, 0, "policy matrix --without alpha --min-providers 0")
	v := decoded[struct {
		Short int
		Cells []struct {
			Who       string
			Providers int
			Short     bool
		}
	}](t, 3, "policy matrix --without alpha,beta")
	if v.Short != 1 || len(v.Cells) != 1 || v.Cells[0].Providers != 0 || !v.Cells[0].Short {
		t.Errorf("%+v", v)
	}
	says(t, 2, "policy matrix --without delta", `unknown provider "delta"`)
}

func TestPolicyWhyNot(t *testing.T) {
	inPolicyWorld(t)
	says(t, 0, "policy why-not acme acme/large alpha", "acme/large@alpha#paid may serve")
	says(t, 3, "policy why-not acme acme/large gamma", "library/training.rego:", "by library.training for org:acme", "endpoint.data_policy.training  unknown → no")
	says(t, 3, "policy why-not acme acme/large gamma --team fraud", "these together would", "endpoint.processing_regions", "at the provider, if it is true")
	says(t, 2, "policy why-not acme acme/large gama", `unknown endpoint of acme/large "gama"; did you mean "gamma"?`)
	says(t, 2, "policy why-not acme acme/large", "accepts 3 arg(s), received 2")
	put(t, "request.json", `{"tools": 3}`)
	says(t, 2, "policy why-not acme acme/large alpha --body request.json", "--body: the request cannot be read")
	v := decoded[struct {
		Rows []struct {
			Permitted bool
			Alone     []struct{ Kind, Field, From, To string }
		}
	}](t, 3, "policy why-not acme acme/large gamma")
	if len(v.Rows) != 1 || v.Rows[0].Permitted || len(v.Rows[0].Alone) != 1 || v.Rows[0].Alone[0].Kind != "terms" {
		t.Errorf("%+v", v)
	}
}

func TestPolicyListShowsTheLibraryWithItsParameters(t *testing.T) {
	says(t, 0, "policy list", "library.retention", "max_days", "integer: days for which", "array of string, may be left out: ids of the only providers")
	v := decoded[struct {
		Policies []struct{ Package, Title string }
	}](t, 0, "policy list")
	if len(v.Policies) < 15 || v.Policies[0].Title == "" {
		t.Errorf("%+v", v)
	}
	says(t, 2, "policy list absent", "absent is no folder")
}

func TestPolicyCostNamesTheLineThatMakesItWorse(t *testing.T) {
	inPolicyWorld(t)
	put(t, "rego/user.rego", "package acme.user\n\ndeny contains \"no\" if {\n\tinput.endpoint.free\n\tinput.claims.user == \"x\"\n}\n")
	put(t, "chaperone.toml", policyWorld+"[[policy.sources]]\nname = \"own\"\npath = \"rego\"\n[[policy.bindings]]\npackage = \"acme.user\"\nfor = \"everyone\"\n")
	says(t, 0, "policy check", "are right", "warning: rego/user.rego:5: acme.user for everyone is evaluated again for nearly every request")
	says(t, 0, "policy cost", "library.training for org:acme", "acme.user for everyone", "unbounded", "input.claims.user (rego/user.rego:5)")
	says(t, 0, "policy cost --fields", "input.endpoint.data_policy.training (library/training.rego:")
	v := decoded[struct {
		Bindings []struct {
			Binding    string
			Enumerable bool
		}
		Warnings []struct{ File string }
	}](t, 0, "policy cost")
	if len(v.Bindings) != 3 || !slices.ContainsFunc(v.Warnings, func(w struct{ File string }) bool { return w.File == "rego/user.rego" }) {
		t.Errorf("%+v", v)
	}
}

func TestPolicyDiffShowsWhatChangesForWhom(t *testing.T) {
	inPolicyWorld(t)
	says(t, 0, "policy diff chaperone.toml chaperone.toml", "no difference", "all that there can be")
	put(t, "new.toml", strings.Replace(policyWorld, `params = { regions = ["eu"] }`, `params = { regions = ["us"] }`, 1))
	says(t, 3, "policy diff chaperone.toml new.toml", "acme/fraud, acme/large@alpha#paid\n- permitted\n+ denied: it may process in eu; the policy allows us", "2 kinds of difference")
	v := decoded[struct {
		Exhaustive  bool
		Differences []struct {
			Team string
			Rows []string
		}
	}](t, 3, "policy diff chaperone.toml new.toml")
	if !v.Exhaustive || len(v.Differences) != 2 || v.Differences[0].Team != "fraud" {
		t.Errorf("%+v", v)
	}
	says(t, 2, "policy diff chaperone.toml absent.toml", "absent.toml: there is no such file")
}
