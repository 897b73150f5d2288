package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine/sim/chaos"
)

func TestChaosTellsWhatIsLostByItsExitCode(t *testing.T) {
	dir := t.TempDir()
	if code, _, stderr := chaperone(t, "init", "--simulated", "--dir", filepath.Join(dir, "playground")); code != 0 {
		t.Fatal(stderr)
	}
	config := filepath.Join(dir, "playground", "chaperone.toml")
	asked := []string{"chaos", "--config", config, "--org", "strict", "--model", "demo/chat-small", "--fault", "cut", "--fault", "500"}
	code, table, stderr := chaperone(t, asked...)
	if code != exitDone || stderr != "" || !strings.Contains(table, "the answer (splice)") || !strings.Contains(table, "4 requests for demo/chat-small: 4 answered") {
		t.Errorf("exited with %d, %q:\n%s", code, stderr, table)
	}
	replaceIn(t, config, "[organisations.strict]\n", "[dispatch]\nrescue = []\n[organisations.strict]\n")
	code, text, _ := chaperone(t, append(asked, "--json")...)
	var report chaos.Report
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatal(err)
	}
	if code != exitRefused || report.Needless != 1 || report.Answered != 3 || report.Results[0].Fault != "500" {
		t.Errorf("exited with %d: %+v", code, report)
	}
	if _, table, _ = chaperone(t, asked...); !strings.Contains(table, "lost needlessly: cut (text, streamed): dispatch.rescue is empty") {
		t.Errorf("the table does not say why:\n%s", table)
	}
}

// What init writes, with the catalog that ships, is rehearsed with no provider's key and no address of a server of one's own.
func TestChaosRehearsesWhatInitWrites(t *testing.T) {
	dir := t.TempDir()
	if code, _, stderr := chaperone(t, "init", "--dir", dir); code != exitDone {
		t.Fatal(stderr)
	}
	code, table, stderr := chaperone(t, "chaos", "--config", filepath.Join(dir, "chaperone.toml"), "--model", "openai/gpt-4o-mini", "--fault", "500")
	if code != exitDone || !strings.Contains(table, "3 requests for openai/gpt-4o-mini: 3 answered") {
		t.Errorf("exited with %d, %q:\n%s", code, stderr, table)
	}
}

func TestChaosSaysWhatIsWrongWithItsFlags(t *testing.T) {
	config := write(t, "chaperone.toml", "[organisations.a]\n[organisations.b]\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--fault", "cutt"}, `--fault: found "cutt"`},
		{[]string{"--speed", "0"}, "--speed: found 0"},
		{[]string{"--config", config}, "who asks?"},
		{[]string{"cut"}, "--fault cut"},
	} {
		if code, stdout, stderr := chaperone(t, append([]string{"chaos"}, c.args...)...); code != exitInput || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exited with %d, %q, %q; should say %q", c.args, code, stdout, stderr, c.want)
		}
	}
	if code, stdout, _ := chaperone(t, "chaos", "--list"); code != exitDone || strings.Count(stdout, "\n") != len(chaos.Faults)+1 {
		t.Errorf("the list: %d, %s", code, stdout)
	}
}
