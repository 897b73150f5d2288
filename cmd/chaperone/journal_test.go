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
)

// journalled asks a router for two decisions and returns the folder of its journal, once it has stopped, and their ids. Checkpoints
// are anchored in anchored.jsonl beside the folder.
func journalled(t *testing.T) (dir string, ids []string) {
	t.Helper()
	anchored := filepath.Join(t.TempDir(), "anchored.jsonl")
	config := write(t, "chaperone.toml", fmt.Sprintf(`[server]
listen = "127.0.0.1:0"
private_listen = ""
drain_delay = "0s"
[journal]
dir = "journal"
anchor_command = ["sh", "-c", 'cat >> "$0"', %q]
[organisations.acme]
[[keys]]
organisation = "acme"
sha256 = "%x"
[[policy.bindings]]
package = "library.training"
for = "everyone"
[models."m/one"]
name = "One"
context_length = 32000
[providers.p]
name = "P"
dialect = "openai"
base_url = "http://127.0.0.1:1"
[providers.p.credentials.own]
auth = "none"
[[endpoints]]
model = "m/one"
provider = "p"
upstream_model = "x"
price = { prompt = 1, completion = 1 }
`, anchored, sha256.Sum256([]byte("sk-acme"))))
	url, stop := serving(t, &lines{}, config)
	for range 2 {
		req, err := http.NewRequest(http.MethodPost, url+"/v1/route",
			strings.NewReader(`{"model":"m/one","user":"somebody","messages":[{"role":"user","content":"canary prompt"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer sk-acme")
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var rec struct{ ID string }
		if err := json.Unmarshal(text, &rec); err != nil || rec.ID == "" {
			t.Fatalf("%v: %s", err, text)
		}
		ids = append(ids, rec.ID)
	}
	if code := stop(); code != exitDone {
		t.Fatalf("serve exited with %d", code)
	}
	dir = filepath.Join(filepath.Dir(config), "journal")
	if err := os.Rename(anchored, filepath.Join(filepath.Dir(config), "anchored.jsonl")); err != nil {
		t.Fatal(err)
	}
	return dir, ids
}

func TestJournalCommands(t *testing.T) {
	dir, ids := journalled(t)
	expect := func(code int, want string, args ...string) string {
		t.Helper()
		got, stdout, stderr := chaperone(t, append([]string{"journal"}, append(args, "--dir", dir)...)...)
		if got != code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("journal %s: exit code %d, not %d, or no %q in:\n%s%s", strings.Join(args, " "), got, code, want, stdout, stderr)
		}
		return stdout
	}
	expect(exitDone, "the journal holds", "verify")
	anchored := filepath.Join(filepath.Dir(dir), "anchored.jsonl")
	expect(exitDone, "confirmed from outside", "verify", "--checkpoints", anchored)
	expect(exitInput, "--checkpoints: open", "verify", "--checkpoints", anchored+"x")
	expect(exitInput, "--checkpoints: "+dir, "verify", "--checkpoints", dir)
	expect(exitFailed, "is expected", "verify", "--key", strings.Repeat("0", 64))
	expect(exitDone, "library.training for everyone", "show", ids[0])
	expect(exitInput, "no such decision", "show", "gen-000000000000000000000000")
	expect(exitDone, ids[1], "query", "--org", "acme", "--since", "1h", "--denied-by", "library.training")
	expect(exitDone, "no such request is in the journal", "query", "--org", "other")
	expect(exitInput, "--since", "query", "--since", "yesterday")
	exported := expect(exitDone, `"user":"somebody"`, "export")
	if n := strings.Count(exported, "\n"); n != len(ids) {
		t.Errorf("%d lines are exported, not %d", n, len(ids))
	}
	var rec struct{ At string }
	if err := json.Unmarshal([]byte(exported[:strings.IndexByte(exported, '\n')]), &rec); err != nil {
		t.Fatal(err)
	}
	expect(exitInput, "no key", "erase", "--org", "other", "--month", rec.At[:7])
	expect(exitDone, "cannot be read any more", "erase", "--org", "acme", "--month", rec.At[:7])
	if out := expect(exitDone, "sealed_claims", "export"); strings.Contains(out, "somebody") {
		t.Error("claims are exported after they were erased")
	}
	expect(exitDone, "the journal holds", "verify")
	if strings.Contains(exported, "canary prompt") {
		t.Error("the journal holds a prompt")
	}
	segment, err := filepath.Glob(filepath.Join(dir, "*.segment"))
	if err != nil || len(segment) != 1 {
		t.Fatal(segment, err)
	}
	text, err := os.ReadFile(segment[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(segment[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(exitFailed, "WRONG", "verify")
	if err := os.Truncate(segment[0], int64(len(text)/3)); err != nil {
		t.Fatal(err)
	}
	expect(exitFailed, "its end was cut off", "verify", "--checkpoints", anchored)
	dir = filepath.Join(dir, "nowhere")
	expect(exitInput, "no folder", "verify")
}

func TestReportAndReplayCommands(t *testing.T) {
	dir, _ := journalled(t)
	laxer := write(t, "laxer.toml", "[organisations.acme]\n") // without a policy
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitDone, "# Data of acme", []string{"report", "--org", "acme"}},
		{exitDone, "</html>", []string{"report", "--org", "acme", "--format", "html"}},
		{exitDone, `"organisation":"acme"`, []string{"report", "--org", "acme", "--json"}},
		{exitDone, `"all":0`, []string{"report", "--org", "acme", "--json", "--from", "2020-01-01", "--to", "2020-02-01"}},
		{exitInput, `unknown organisation "acmee"; did you mean "acme"?`, []string{"report", "--org", "acmee"}},
		{exitInput, `--format: found "pdf"`, []string{"report", "--org", "acme", "--format", "pdf"}},
		{exitInput, "--to: found", []string{"report", "--org", "acme", "--from", "1h", "--to", "2h"}},
		{exitDone, "requests                    2", []string{"replay"}},
		{exitRefused, "now permitted             2", []string{"replay", "--policy", laxer}},
		{exitRefused, "now permitted             2", []string{"replay", "--policy", laxer, "--fail-on", "served"}},
		{exitDone, "now permitted             2", []string{"replay", "--policy", laxer, "--fail-on", "denied,refused"}},
		{exitInput, "--fail-on: found", []string{"replay", "--fail-on", "everything"}},
		{exitInput, "there is no such folder", []string{"replay", "--policy", laxer + "x"}},
	} {
		code, stdout, stderr := chaperone(t, append(c.args, "--dir", dir)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%s: exit code %d, not %d, or no %q in:\n%s%s", strings.Join(c.args, " "), code, c.code, c.want, stdout, stderr)
		}
	}
}
