package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// exampleWorld has the names that the examples of --help use.
const exampleWorld = `
[organisations.acme]
[organisations.acme.teams.fraud]

[providers.openai]
dialect = "openai"
base_url = "https://api.openai.example/v1"
credentials.paid = { key_env = "OPENAI_API_KEY" }
data_policy = { training = "no" }
[providers.deepinfra]
dialect = "openai"
base_url = "https://api.deepinfra.example/v1"
credentials.paid = { key_env = "DEEPINFRA_API_KEY" }

[models."openai/gpt-4o-mini"]
context_length = 128000

[[endpoints]]
model = "openai/gpt-4o-mini"
provider = "openai"
price = { prompt = 0.15, completion = 0.6 }
[[endpoints]]
model = "openai/gpt-4o-mini"
provider = "deepinfra"
variant = "fp8"
price = { prompt = 0.1, completion = 0.4 }

[[policy.bindings]]
package = "library.training"
for = "org:acme"
`

// words splits a line as a shell does, single quotes included.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

// inExampleWorld works in a folder that has the files which the examples name.
func inExampleWorld(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, dir := range []string{"", "old/"} {
		put(t, dir+"chaperone.toml", exampleWorld)
	}
	put(t, "cases_test.toml", "[[case]]\norg = \"acme\"\nmodel = \"openai/gpt-4o-mini\"\npermitted = [\"openai\"]\ndenied = [\"deepinfra\"]\n")
	put(t, "request.json", `{"tools": [{"type": "web_search"}]}`)
	says(t, 0, "policy new acme.vision")
}

// runsExample runs a line of documentation in the example world: it must do its work, whatever the answer is.
func runsExample(t *testing.T, line string) {
	t.Helper()
	args := words(strings.ReplaceAll(line, "/etc/chaperone/", "./"))
	if len(args) < 3 || args[0] != "chaperone" || args[1] != "policy" {
		t.Errorf("the example %q is no command below chaperone policy", line)
		return
	}
	switch {
	case args[2] == "new": // the files exist by now
		args = append(args, "--dir", t.TempDir())
	case args[2] == "try" && !strings.Contains(line, "--params"):
		args = append(args, "--params", `{ providers = ["openai"] }`)
	}
	// What watches is interrupted, and then has drawn once.
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := &interrupting{}
	if strings.Contains(line, "--watch") {
		out.interrupt = interrupt
	}
	var stderr bytes.Buffer
	if code := run(ctx, args[1:], out, &stderr); code != exitDone && code != exitRefused || out.Len() == 0 && args[2] != "fmt" {
		t.Errorf("%q exited with %d: %s%s", line, code, out, &stderr)
	}
}

func TestEveryExampleOfThePolicyCommandsRuns(t *testing.T) {
	inExampleWorld(t)
	root, _ := newRoot(io.Discard, io.Discard)
	ran := 0
	for _, c := range root.Commands() {
		if c.Name() != "policy" {
			continue
		}
		for _, c := range append(c.Commands(), c) {
			for _, line := range strings.Split(c.Example, "\n") {
				runsExample(t, line)
				ran++
			}
		}
	}
	if ran < 25 {
		t.Errorf("%d examples ran", ran)
	}
}

// interrupting interrupts a command after its first output.
type interrupting struct {
	bytes.Buffer
	interrupt func()
}

func (i *interrupting) Write(p []byte) (int, error) {
	if i.interrupt != nil {
		i.interrupt()
	}
	return i.Buffer.Write(p)
}
