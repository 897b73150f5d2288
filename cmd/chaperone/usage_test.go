package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
)

func TestUsageSaysWhereDataHasGone(t *testing.T) {
	down, err := sim.Start(t.Context(), sim.Profile{Name: "down", Down: true})
	if err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	good, err := sim.Start(t.Context(), sim.Profile{Name: "good"})
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	config := write(t, "chaperone.toml", fmt.Sprintf(`[server]
listen = "127.0.0.1:0"
private_listen = ""
drain_delay = "0s"
[journal]
dir = "journal"
[organisations.acme]
[organisations.idle]
[[keys]]
organisation = "acme"
sha256 = "%x"
[models."m/one"]
name = "One"
context_length = 32000
[providers.down]
name = "Down"
dialect = "openai"
base_url = %q
[providers.down.credentials.own]
auth = "none"
[providers.good]
name = "Good"
dialect = "openai"
base_url = %q
[providers.good.credentials.own]
auth = "none"
[[endpoints]]
model = "m/one"
provider = "down"
upstream_model = "x"
price = { prompt = 0.1, completion = 0.1 }
[[endpoints]]
model = "m/one"
provider = "good"
upstream_model = "x"
price = { prompt = 1, completion = 1 }
`, sha256.Sum256([]byte("sk-acme")), down.URL(), good.URL()))
	if code, _, stderr := chaperone(t, "usage", "--config", config); code != exitInput || !strings.Contains(stderr, "no router has run") {
		t.Errorf("before there is a journal: %d %s", code, stderr)
	}
	url, stop := serving(t, &lines{}, config)
	defer stop()
	ask := func(user string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, url+"/v1/chat/completions",
			strings.NewReader(fmt.Sprintf(`{"model":"m/one","user":"%s","provider":{"order":["down","good"]},"messages":[{"role":"user","content":"hi"}]}`, user)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer sk-acme")
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	usage := func(code int, args ...string) string {
		t.Helper()
		got, stdout, stderr := chaperone(t, append([]string{"usage", "--config", config}, args...)...)
		if got != code {
			t.Fatalf("usage %s: exit code %d, not %d: %s%s", strings.Join(args, " "), got, code, stdout, stderr)
		}
		return stdout + stderr
	}
	ask("ann")
	ask(`\u001b[31m`)
	table := usage(exitDone, "--org", "acme", "--by", "provider") // while the router runs
	if !strings.Contains(table, "PROVIDER") || !strings.Contains(table, "\ngood ") || !strings.Contains(table, "\ndown ") || !strings.Contains(table, "\nTOTAL ") {
		t.Error(table)
	}
	stop()
	var a struct {
		Rows []struct {
			Group map[string]string
			usageSums
		}
		Total usageSums
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(usage(exitDone, "--by", "provider,day", "--json"), `"cost_usd":`, `"Cost_ignored":`)), &a); err != nil {
		t.Fatal(err)
	}
	shown := map[string]int64{}
	for _, r := range a.Rows {
		shown[r.Group["provider"]] = r.Shown
		if r.Group["day"] != time.Now().UTC().Format(time.DateOnly) {
			t.Errorf("%+v", r)
		}
	}
	if a.Total.Requests != 2 || shown["good"] != 2 || a.Total.Prompt == 0 {
		t.Errorf("%+v", a)
	}
	table = usage(exitDone, "--by", "user")
	if !strings.Contains(table, "ann ") || !strings.Contains(table, `"\x1b[31m"`) {
		t.Errorf("%q", table)
	}
	list := strings.Split(usage(exitDone, "--by", "model,provider", "--csv", "--provider", "good"), "\n")
	if len(list) != 3 || !strings.HasPrefix(list[0], "model,provider,requests,") || !strings.HasPrefix(list[1], "m/one,good,2,0,2,2,") {
		t.Error(list)
	}
	for _, c := range [][]string{
		{"nothing was used since", "--org", "idle"},
		{"nothing was used so far", "--org", "idle", "--since", "all"},
		{`in this ledger: unknown organisation "acmee"; did you mean "acme"?`, "--org", "acmee"},
		{`in this ledger: unknown provider "goood"; did you mean "good"?`, "--org", "acme", "--provider", "goood"},
	} {
		if text := usage(exitDone, c[1:]...); !strings.Contains(text, c[0]) {
			t.Errorf("%v: %s", c, text)
		}
	}
	for _, c := range [][]string{
		{`--by: found "colour"; expected one or more of organisation, team`, "--by", "colour"},
		{`"day" is named twice`, "--by", "day,day"},
		{`--since: found "yesterday"; expected today, week`, "--since", "yesterday"},
		{`--until: `, "--since", "2026-02-01", "--until", "2026-01-01"},
		{`did you mean --by provider?`, "provider"},
	} {
		if text := usage(exitInput, c[1:]...); !strings.Contains(text, c[0]) {
			t.Errorf("%v: %s", c, text)
		}
	}
	month := time.Now().UTC().Format("2006-01")
	if code, _, stderr := chaperone(t, "journal", "erase", "--config", config, "--org", "acme", "--month", month); code != exitDone {
		t.Error(stderr)
	}
	if text := usage(exitDone, "--by", "user"); strings.Contains(text, "ann") {
		t.Errorf("what callers said is still in the ledger: %s", text)
	}
	if code, _, stderr := chaperone(t, "journal", "erase", "--config", config, "--org", "acme", "--month", month); code != exitInput || !strings.Contains(stderr, "no claims") {
		t.Errorf("%d %s", code, stderr)
	}

	// A copy of the ledger can be asked by itself.
	path := filepath.Join(filepath.Dir(config), "journal", "ledger.sqlite")
	if code, stdout, stderr := chaperone(t, "usage", "--database", path, "--by", "provider"); code != exitDone || !strings.Contains(stdout, "good ") {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	if code, _, stderr := chaperone(t, "usage", "--database", path+"x"); code != exitInput || !strings.Contains(stderr, "no such file") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestErasingFindsALedgerThatIsElsewhere(t *testing.T) {
	dir, _ := journalled(t)
	config := filepath.Join(filepath.Dir(dir), "chaperone.toml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append([]byte("[ledger]\ndatabase = \"elsewhere.sqlite\"\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stop := serving(t, &lines{}, config)
	stop()
	if note, err := os.ReadFile(filepath.Join(dir, "ledger.place")); err != nil || strings.TrimSpace(string(note)) != filepath.Join(filepath.Dir(dir), "elsewhere.sqlite") {
		t.Fatalf("%s, %v", note, err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "elsewhere.sqlite"), []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := chaperone(t, "journal", "erase", "--dir", dir, "--org", "acme", "--month", time.Now().UTC().Format("2006-01"))
	if code != exitFailed || !strings.Contains(stderr, "elsewhere.sqlite still has what callers of acme said") {
		t.Errorf("%d %s", code, stderr)
	}
}
