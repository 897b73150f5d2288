package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
)

const example = `
seed = 9

[[providers]]
name = "flaky"
fate_by = "body"
models = ["m"]
credentials = [{ name = "paid", key = "sk-paid" }]
denied = [{ user = "strict", credential = "paid" }]
limit = { requests_per_second = 100, burst = 50 }
ttft_ms = { p50 = 1, p95 = 2 }
tps = { p50 = 5000 }
output_tokens = { p50 = 5 }

[[providers.faults]]
kind = "status"
share = 0.5
status = 503
retry_after = "2s"

[[providers.faults]]
kind = "stall"
share = 0.1
after_tokens = 4

[[providers]]
name = "good"
own_answers = true
`

func TestAFileStartsItsProviders(t *testing.T) {
	f, problems := sim.Parse("sim.toml", []byte(example))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	flaky := f.Providers[0]
	if f.Seed != 9 || len(flaky.Faults) != 2 || flaky.Faults[0].RetryAfter != 2*time.Second || flaky.Faults[1].AfterTokens != 4 ||
		flaky.TTFT != (sim.Distribution{P50: 1, P95: 2}) || flaky.Denied[0].Credential != "paid" || !f.Providers[1].OwnAnswers {
		t.Fatalf("read as %+v", f)
	}
	started, err := f.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range started {
		defer p.Close()
	}
	if started[0].Profile().Seed != 9 || started[1].Name() != "good" {
		t.Errorf("started %v", started)
	}
	if resp, _ := post(t, started[1], "", body("x")); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestProvidersStartTogetherOrNotAtAll(t *testing.T) {
	taken := start(t, sim.Profile{})
	address := strings.TrimSuffix(strings.TrimPrefix(taken.URL(), "http://"), "/v1")
	f := sim.File{Providers: []sim.Profile{{Name: "a"}, {Name: "b", Listen: address}}}
	if _, err := f.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "simulated provider b: listen tcp "+address) {
		t.Errorf("got %v; should name the provider and the address", err)
	}
}

func TestMistakesInAFileAreAllToldWithTheirLines(t *testing.T) {
	for _, test := range []struct{ src, want string }{
		{`seed = 1`, `sim.toml: has no [[providers]]; there should be one or more`},
		{`provider = 1`, `sim.toml:1: provider: `},
		{`[[providers]]
ttft_ms = { p50 = 1 }`, `sim.toml:1: providers[0].name: missing`},
		{provider(`tps = { p50 = 5, p95 = 4 }`), `sim.toml:3: providers[0].tps: p50 = 5, p95 = 4; p95 should be at least p50`},
		{provider(`ttft_ms = { p50 = -5 }`), `sim.toml:3: providers[0].ttft_ms: p50 = -5, p95 = 0; both should be finite, p50 at least 0`},
		{provider(`listen = "9101"`), `sim.toml:3: providers[0].listen: found "9101"; should be an address such as 127.0.0.1:9101`},
		{provider(`fate_by = "bodi"`), `sim.toml:3: providers[0].fate_by: `},
		{provider(`credentials = [{ name = "a" }]`), `sim.toml:3: providers[0].credentials: number 1 lacks a name or a key`},
		{provider(`credentials = [{ name = "a", key = "x" }, { name = "a", key = "y" }]`), `the name "a" is there twice`},
		{provider(`denied = [{ credential = "a" }]`), `denied: number 1 lacks a user`},
		{provider(`denied = [{ user = "u", credential = "a" }]`), `names the credential "a", which is not among credentials`},
		{provider(`limit = { requests_per_second = -1 }`), `requests_per_second is -1; should be 0 (no limit) or above`},
		{provider(`limit = { burst = -1 }`), `burst is -1; should be 1 or above`},
		{provider(`reasoning_tokens = -1`), `reasoning_tokens: found -1; should be 0 or above`},
		{provider(`log_size = -1`), `log_size: found -1; should be 1 or above`},
		{provider(`sped = 1`), `sim.toml:3: providers[0].sped: `},
		{fault(`kind = "status"`), `sim.toml:3: providers[0].faults[0].status: found 0; should be 400 to 599`},
		{fault(`kind = "stauts"`), `status`},
		{fault(`kind = "redirect"`, `status = 200`), `found 200; should be 300 to 399`},
		{fault(`kind = "html"`, `status = 600`), `found 600; should be 200 to 599`},
		{fault(`kind = "slow"`), `delay: found 0s; should be how long nothing happens, such as "3s"`},
		{fault(`kind = "reset"`, `after_tokens = 4`), `after_tokens: means nothing to the kind reset; should not be there`},
		{fault(`kind = "status"`, `status = 429`, `announce = "loudly"`), `faults[0].announce: `},
		{fault(`kind = "error_body"`, `form = "xml"`), `faults[0].form: `},
		{fault(`kind = "error_event"`, `form = "bare"`), `form: means nothing to the kind error_event`},
		{fault(`kind = "malformed"`, `events = -1`), `events: found -1; should be 1 or above`},
		{provider(`usage_in = "footer"`), `sim.toml:3: providers[0].usage_in: `},
		{provider(`reasoning_in = "thoughts"`), `sim.toml:3: providers[0].reasoning_in: `},
		{provider(`preamble_tokens = -1`), `preamble_tokens: found -1; should be 0 or above`},
		{provider(`drift = { ttft = 2 }`), `drift: requests is 0; should be how many of them the change takes`},
		{provider(`drift = { requests = 9, tps = -2 }`), `drift: has the factor -2; should be above 0`},
		{provider(`flap = { up = "1s" }`), `flap: up is 1s and down 0s; both should be above 0`},
		{fault(`kind = "cut"`, `after_tokens = -4`), `after_tokens: found -4; should be 0 or above`},
		{fault(`kind = "redirect"`, `location = "http://[::1"`), `location: found "http://[::1"; should be a URL`},
		{`[[providers]]
name = "a"
faults = [{ kind = "reset" }]`, `share: found 0; should be above 0 and at most 1`},
		{`[[providers]]
name = "a"
faults = [{ kind = "reset", share = 0.6 }, { kind = "close", share = 0.6 }]`, `faults: shares add up to 1.2; should be at most 1`},
		{"[[providers]]\nname = \"a\"\n[[providers]]\nname = \"a\"", `sim.toml:4: providers[1].name: found "a" for the second time`},
	} {
		_, problems := sim.Parse("sim.toml", []byte(test.src))
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\ngave      %v\nshould be %s", test.src, err, test.want)
		}
	}

	_, problems := sim.Parse("sim.toml", []byte(provider(`log_size = -1`, `reasoning_tokens = -1`, `fate_by = "x"`)))
	if len(problems) != 3 {
		t.Errorf("three mistakes gave %d problems: %v", len(problems), problems)
	}
}

func provider(lines ...string) string {
	return "[[providers]]\nname = \"a\"\n" + strings.Join(lines, "\n")
}

func fault(lines ...string) string {
	return provider(append([]string{"[[providers.faults]]", "share = 0.1"}, lines...)...)
}

func TestAHandBuiltProfileIsCheckedToo(t *testing.T) {
	_, err := sim.Start(t.Context(), sim.Profile{Faults: []sim.Fault{{Kind: "odd"}}})
	if err == nil || !strings.Contains(err.Error(), "name: is missing") || !strings.Contains(err.Error(), "kind: ") {
		t.Errorf("got %v; should tell of the name and the kind", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add(fault(`kind = "redirect"`, `location = "x"`))
	f.Add("providers = 1")
	f.Fuzz(func(t *testing.T, src string) {
		file, problems := sim.Parse("fuzz.toml", []byte(src))
		if (file == nil) != (len(problems) > 0) {
			t.Fatalf("a file or problems, never both or neither: %v, %v", file, problems)
		}
		if file == nil {
			return
		}
		for _, p := range file.Providers {
			if _, err := sim.Answer(p, []byte(`{"model":"m","messages":[{}],"max_tokens":4}`)); err != nil {
				t.Fatalf("%s: %v", fmt.Sprint(p), err)
			}
		}
	})
}
