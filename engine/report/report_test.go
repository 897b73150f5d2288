package report_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/journal"
	"chaperone/engine/report"
	"chaperone/engine/sim"
)

const evil = `<script>alert("x")</script> | **bold** [a](javascript:b)`

// office is a journal of one router with these providers: down fails every request after it has had it, good answers, trainer is
// denied, excused would be but for a waiver, and tried would be but for a dry run.
func office(t *testing.T, more string) (dir string) {
	t.Helper()
	root := t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, `[organisations.acme]
data_class = "confidential"
[organisations.beta]
[[keys]]
organisation = "acme"
sha256 = "%x"
[[keys]]
organisation = "beta"
sha256 = "%x"
[policy]
evaluation_timeout = "60s"
[[policy.sources]]
name = "own"
path = "rego"
[[policy.bindings]]
package = "own"
for = "org:acme"
[[policy.bindings]]
package = "trial"
for = "everyone"
enforcement = "dryrun"
until = 2099-01-31
[[policy.bindings]]
package = "library.residency"
for = "org:beta"
params = { regions = ["eu"] }
[[policy.waivers]]
rule = "own.deny/trains"
for = "org:acme"
endpoint = "m/one@excused"
until = 2099-01-31
ticket = '%s'
approved_by = "somebody"
[journal]
dir = "journal"
[models."m/one"]
name = "One"
context_length = 32000
%s
`, sha256.Sum256([]byte("sk-acme")), sha256.Sum256([]byte("sk-beta")), evil, more)
	for i, name := range []string{"down", "good", "trainer", "excused", "tried"} {
		profile := sim.Profile{Name: name}
		if name == "down" {
			profile.Faults = []sim.Fault{{Kind: sim.Status, Status: 500, Share: 1}}
		}
		p, err := sim.Start(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		training := "no"
		if name == "trainer" || name == "excused" {
			training = "yes"
		}
		review := ""
		if name == "down" {
			review = "review_by = 2026-01-31"
		}
		fmt.Fprintf(&b, `[providers.%s]
name = "%s"
dialect = "openai"
base_url = %q
jurisdiction = "DE"
[providers.%s.credentials.own]
auth = "none"
[providers.%s.credentials.own.data_policy]
training = %q
retains_prompts = "no"
evidence = "https://example.com/terms"
as_of = 2026-01-01
%s
[[endpoints]]
model = "m/one"
provider = %q
upstream_model = "one"
processing_regions = ["eu"]
price = { prompt = %d, completion = %d }
`, name, name, p.URL(), name, name, training, review, name, 1+i, 1+i)
	}
	for name, text := range map[string]string{
		"chaperone.toml": b.String(),
		"rego/own.rego": `# METADATA
# title: No provider that trains on prompts
# custom: { control: "GDPR-28", severity: high, waivable: true }
package own

import rego.v1

deny contains {"code": "trains", "message": "it trains <b>on</b> | prompts"} if {
	input.endpoint.data_policy.training == "yes"
}
`,
		"rego/trial.rego": "package trial\n\nimport rego.v1\n\ndeny contains \"would be out\" if input.endpoint.provider == \"tried\"\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(root, "chaperone.toml"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"sk-acme", "sk-acme", "sk-acme", "sk-beta"} {
		body := `{"model":"m/one","provider":{"order":["down","good"]},"messages":[{"role":"user","content":"hello"}]}`
		if _, err := e.Do(t.Context(), engine.Call{Key: key, Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","provider":{"only":["trainer"]},"messages":[{"role":"user","content":"hi"}]}`)}); err == nil {
		t.Fatal("a denied provider answered")
	}
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "journal")
}

func reported(t *testing.T, dir string, trust journal.Trust) *report.Report {
	t.Helper()
	r, err := report.Make(t.Context(), report.Options{Dirs: []string{dir}, Organisation: "acme", From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Minute),
		Now: time.Now(), Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheReportSaysWhoWasShownWhat(t *testing.T) {
	r := reported(t, office(t, ""), journal.Trust{})
	if q := r.Requests; q.All != 4 || q.Answered != 3 || q.Refused != 1 || q.Shown != 3 || q.DataClasses["confidential"] != 4 {
		t.Errorf("%+v", q)
	}
	shown := map[string]*report.Recipient{}
	for _, s := range r.Shown {
		shown[s.Provider] = s
	}
	down, good := shown["down"], shown["good"]
	if len(shown) != 2 || down == nil || good == nil {
		t.Fatalf("%+v", shown)
	}
	if down.Requests != 3 || down.Failed != down.Attempts || down.Attempts < 3 || good.Failed != 0 || good.Requests != 3 || good.Purposes["fallback"] != 3 {
		t.Errorf("%+v, %+v", down, good)
	}
	if strings.Join(good.Regions, " ") != "eu" || good.Jurisdiction != "DE" || good.Training != "no" || good.DataClasses["confidential"] != 3 {
		t.Errorf("%+v", good)
	}
	if down.Training != "unknown" {
		t.Errorf("terms whose review was due are told as they were: %+v", down)
	}
	if len(r.Aged) != 1 || r.Aged[0].Provider != "down" || r.Aged[0].Shown != down.Attempts {
		t.Errorf("%+v", r.Aged)
	}
	if len(r.Controls) != 1 || r.Controls[0].Binding != "own for org:acme" || r.Controls[0].Requests == 0 || r.Controls[0].Rules[0].Control != "GDPR-28" ||
		r.Controls[0].Excluded[0].Provider != "trainer" {
		t.Errorf("%+v", r.Controls)
	}
	if len(r.Waivers) != 1 || r.Waivers[0].Times == 0 || r.Waivers[0].Ticket != evil {
		t.Errorf("%+v", r.Waivers)
	}
	if len(r.Trials) != 1 || r.Trials[0].Times == 0 || strings.Join(r.Trials[0].Providers, "") != "tried" {
		t.Errorf("%+v", r.Trials)
	}
	if len(r.Periods) != 1 || r.Periods[0].Requests != 4 || len(r.Periods[0].Controls) != 2 || r.Periods[0].Missing != "" {
		t.Errorf("%+v", r.Periods)
	}
	if !r.Holds() || r.Verified[0].Records != 5 {
		t.Errorf("%+v", r.Verified[0].Report)
	}
}

func TestReportsAreEscaped(t *testing.T) {
	r := reported(t, office(t, ""), journal.Trust{})
	var page, text bytes.Buffer
	if err := r.HTML(&page); err != nil {
		t.Fatal(err)
	}
	if err := r.Markdown(&text); err != nil {
		t.Fatal(err)
	}
	for _, outside := range []string{"<script", "http://", "https://", "src=", "href="} {
		if strings.Contains(page.String(), outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	if !strings.Contains(page.String(), "&lt;script&gt;") || !strings.Contains(page.String(), "it trains &lt;b&gt;on") {
		t.Error("the page lacks what was escaped")
	}
	columns := 0
	for _, line := range strings.Split(text.String(), "\n") {
		if strings.Contains(line, "<script") || strings.Contains(line, "**bold**") {
			t.Errorf("not escaped: %s", line)
		}
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if columns != 0 && n != columns {
			t.Errorf("%d columns, not %d: %s", n, columns, line)
		}
		columns = n
	}
	if keep := os.Getenv("REPORT_TEST_OUT"); keep != "" {
		os.WriteFile(keep+".html", page.Bytes(), 0o600)
		os.WriteFile(keep+".md", text.Bytes(), 0o600)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestAReportTellsOfDamage(t *testing.T) {
	dir := office(t, "")
	segments, err := filepath.Glob(filepath.Join(dir, "*.segment"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(segments[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := reported(t, dir, journal.Trust{})
	var text bytes.Buffer
	if err := r.Markdown(&text); err != nil {
		t.Fatal(err)
	}
	if r.Holds() || !strings.Contains(text.String(), "DOES NOT HOLD") {
		t.Errorf("%s", text.String())
	}
	if err := os.RemoveAll(filepath.Join(dir, "artefacts")); err != nil {
		t.Fatal(err)
	}
	if r := reported(t, dir, journal.Trust{}); len(r.Periods) > 0 && r.Periods[0].Missing == "" || r.Holds() {
		t.Errorf("artefacts that are gone are not told of: %+v", r.Periods)
	}
}

// Several routers' journals make one report; each is verified with the checkpoints that are its own.
func TestAReportOfSeveralJournals(t *testing.T) {
	dirs := []string{office(t, ""), office(t, "")}
	var outside []journal.Checkpoint
	for _, dir := range dirs {
		r, err := journal.Verify(dir, journal.Trust{})
		if err != nil || r.LastCheckpoint == nil {
			t.Fatal(r, err)
		}
		outside = append(outside, *r.LastCheckpoint)
	}
	o := report.Options{Dirs: dirs, Organisation: "acme", From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Minute), Now: time.Now(), Trust: journal.Trust{Checkpoints: outside}}
	r, err := report.Make(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if q := r.Requests; q.All != 8 || q.Answered != 6 || q.Shown != 6 {
		t.Errorf("%+v", q)
	}
	if !r.Holds() || len(r.Verified) != 2 || r.Verified[0].Confirmed != 1 || r.Verified[1].Confirmed != 1 || len(r.Periods) != 2 {
		t.Errorf("%+v, %+v", r.Verified, r.Periods)
	}
	o.Trust.Checkpoints[1].Head = o.Trust.Checkpoints[0].Head
	if r, err = report.Make(t.Context(), o); err != nil || r.Holds() {
		t.Errorf("a forged checkpoint of the second was not noticed: %v", err)
	}
	o.Organisation, o.Trust = "acmee", journal.Trust{}
	if r, err = report.Make(t.Context(), o); err != nil || strings.Join(r.Strange(), " ") != "acme beta" {
		t.Errorf("an organisation that there never was: %v, %v", r.Strange(), err)
	}
}
