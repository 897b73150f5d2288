package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

const accountsFile = `# keys
[organisations.acme]
name = "Acme"

[organisations.acme.teams.fraud]
name = "Fraud"
`

func TestKeysAreMadeListedAndRevoked(t *testing.T) {
	config := write(t, "chaperone.toml", accountsFile)
	code, stdout, stderr := chaperone(t, "key", "new", "--config", config, "--org", "acme", "--team", "fraud", "--name", "nightly batch", "--expires", "90d")
	secret := regexp.MustCompile(`(?m)^sk-ch-[0-9A-Za-z]{43}$`).FindString(stdout)
	if code != exitDone || stderr != "" || secret == "" || !strings.Contains(stdout, "only time that the key is shown") {
		t.Fatalf("exited with %d, %q, %q", code, stdout, stderr)
	}
	src, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(src), accountsFile) || strings.Contains(string(src), secret) ||
		!strings.Contains(string(src), fmt.Sprintf("%x", sha256.Sum256([]byte(secret)))) {
		t.Errorf("the file should be as it was, with the hash of %s and without the key itself:\n%s", secret, src)
	}

	code, stdout, _ = chaperone(t, "key", "new", "--config", config, "--org", "acme", "--json")
	var made struct {
		Key, ID, Organisation, State string
		Expires                      *time.Time
	}
	if err := json.Unmarshal([]byte(stdout), &made); err != nil || code != exitDone || !strings.HasPrefix(made.Key, "sk-ch-") || made.Expires != nil || made.State != "in force" {
		t.Errorf("exited with %d, %q (%v)", code, stdout, err)
	}

	if code, stdout, stderr := chaperone(t, "key", "revoke", "--config", config, made.ID); code != exitDone || !strings.Contains(stdout, made.ID+" is revoked") {
		t.Errorf("revoke exited with %d, %q, %q", code, stdout, stderr)
	}
	code, stdout, _ = chaperone(t, "key", "list", "--config", config, "--json")
	var list struct{ Keys []shownKey }
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != exitDone || len(list.Keys) != 2 {
		t.Fatalf("list exited with %d, %q (%v)", code, stdout, err)
	}
	of := map[string]shownKey{}
	for _, k := range list.Keys {
		of[k.Team] = k
	}
	if k := of["fraud"]; k.State != "in force" || k.Name != "nightly batch" || k.Expires == nil || time.Until(*k.Expires).Round(time.Hour) != 90*24*time.Hour {
		t.Errorf("the first key is listed as %+v", k)
	}
	if k := of[""]; k.State != "revoked" || k.ID != made.ID {
		t.Errorf("the second key is listed as %+v", k)
	}
	_, table, _ := chaperone(t, "key", "list", "--config", config)
	if !regexp.MustCompile(`(?m)^key_[0-9a-f]{12}  acme/fraud  in force  \d{4}-\d\d-\d\d  \d{4}-\d\d-\d\d  nightly batch$`).MatchString(table) {
		t.Errorf("the table is:\n%s", table)
	}
}

func TestKeyCommandsSayWhatWouldBeRight(t *testing.T) {
	config := write(t, "chaperone.toml", accountsFile)
	broken := write(t, "chaperone.toml", "[organisations.acme]\nnmae = \"Acme\"\n")
	if code, _, stderr := chaperone(t, "key", "new", "--config", config, "--org", "acme"); code != exitDone {
		t.Fatal(stderr)
	}
	before, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"new"}, `required flag(s) "org" not set`},
		{[]string{"new", "--org", "acne"}, `--org: ` + config + `: unknown organisation "acne"; did you mean "acme"?`},
		{[]string{"new", "--org", "other-company"}, `unknown organisation "other-company"; expected acme`},
		{[]string{"new", "--org", "acme", "--team", "fruad"}, `--team: ` + config + `: unknown team of acme "fruad"; did you mean "fraud"?`},
		{[]string{"new", "--org", "acme", "--expires", "next year"}, `--expires: found "next year"; expected a span such as "90d"`},
		{[]string{"new", "--org", "acme", "--expires", "2001-01-01"}, `--expires: found "2001-01-01", which has passed`},
		{[]string{"revoke"}, "accepts 1 arg(s), received 0"},
		{[]string{"revoke", "key_0"}, `unknown key "key_0"; expected key_`},
		{[]string{"lst"}, `unknown command "lst" for "chaperone key"`},
		{[]string{"list", "--config", broken}, broken + `:2: organisations.acme.nmae: unknown key "nmae"; did you mean "name"?`},
		{[]string{"list", "--config", broken + ".absent"}, "there is no such file; chaperone init writes one"},
	} {
		args := append([]string{"key"}, test.args...)
		if !strings.Contains(strings.Join(args, " "), "--config") {
			args = append(args, "--config", config)
		}
		code, stdout, stderr := chaperone(t, args...)
		if code != exitInput || stdout != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("%q exited with %d, %q, %q; should be 2 and %q", args, code, stdout, stderr, test.says)
		}
	}
	if after, err := os.ReadFile(config); err != nil || string(after) != string(before) {
		t.Errorf("a mistake has changed the file (%v):\n%s", err, after)
	}
}
