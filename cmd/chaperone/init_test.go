package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim"
)

// initialised runs init with these provider keys, and no others, in the environment.
func initialised(t *testing.T, keys map[string]string, args ...string) (dir, stdout string) {
	t.Helper()
	for _, name := range keyVariables() {
		t.Setenv(name, keys[name])
	}
	dir = filepath.Join(t.TempDir(), "new")
	code, stdout, stderr := chaperone(t, append([]string{"init", "--dir", dir}, args...)...)
	if code != exitDone || stderr != "" {
		t.Fatalf("init exited with %d: %s", code, stderr)
	}
	return dir, stdout
}

func content(t *testing.T, path ...string) string {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

func TestWhatInitWritesIsRightWhateverKeysThereAre(t *testing.T) {
	every := map[string]string{}
	for _, name := range keyVariables() {
		every[name] = "sk-secret-" + strings.ToLower(name)
	}
	cases := []map[string]string{nil, every}
	for name, key := range every {
		cases = append(cases, map[string]string{name: key})
	}
	for _, keys := range cases {
		dir, stdout := initialised(t, keys)
		config := filepath.Join(dir, "chaperone.toml")
		if code, _, stderr := chaperone(t, "check", "--config", config); code != exitDone {
			t.Errorf("with %d keys: check exited with %d: %s", len(keys), code, stderr)
		}
		catalog := content(t, dir, "catalog.toml")
		for _, p := range startProviders {
			active := strings.Contains(catalog, "\n[providers."+p.id+"]\n")
			if _, there := keys[p.keyEnv]; active != there {
				t.Errorf("with %v: the entry of %s is active: %t", keys, p.id, active)
			}
		}
		for _, text := range []string{stdout, catalog, content(t, config)} {
			if strings.Contains(text, "sk-secret") {
				t.Errorf("a provider's key is shown:\n%s", text)
			}
		}
	}
}

func TestTheCommentedProvidersAreRightToo(t *testing.T) {
	every := map[string]string{}
	for _, name := range keyVariables() {
		every[name] = "key"
	}
	none, _ := initialised(t, nil)
	all, _ := initialised(t, every)
	commented, active := content(t, none, "catalog.toml"), content(t, all, "catalog.toml")
	_, sections, _ := strings.Cut(commented, "`ollama pull llama3.2` gets it\n")
	_, want, _ := strings.Cut(active, "`ollama pull llama3.2` gets it\n")
	if got := regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(sections, ""); got != want || want == "" {
		t.Errorf("without its marks the comment is\n%s\nshould be\n%s", got, want)
	}
}

func TestTheCommentedSettingsAreTheDefaults(t *testing.T) {
	dir, _ := initialised(t, nil)
	config := filepath.Join(dir, "chaperone.toml")
	settings := func() engine.Settings {
		e, err := engine.Open(t.Context(), engine.Options{ConfigPath: config})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close(t.Context())
		s := *e.Settings()
		s.Scorers = nil // each knows its line
		return s
	}
	before := settings()
	setting := regexp.MustCompile(`(?m)^# ([a-z_]+ *= )`)
	text := content(t, config)
	if n := len(setting.FindAllString(text, -1)); n < 10 {
		t.Fatalf("found %d commented settings", n)
	}
	_, policies, _ := strings.Cut(text, "# Who may ask")
	text = strings.TrimSuffix(text, policies)
	if err := os.WriteFile(config, []byte(setting.ReplaceAllString(text, "$1")+policies), 0o600); err != nil {
		t.Fatal(err)
	}
	if after := settings(); !reflect.DeepEqual(after, before) {
		t.Errorf("with its comments written out the configuration has\n%+v\nand without\n%+v", after, before)
	}
}

func TestInitOverwritesOnlyWithForce(t *testing.T) {
	dir, _ := initialised(t, nil)
	config, catalog := filepath.Join(dir, "chaperone.toml"), filepath.Join(dir, "catalog.toml")
	before := content(t, config)
	if err := os.Remove(catalog); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := chaperone(t, "init", "--dir", dir)
	if code != exitInput || stdout != "" || !strings.Contains(stderr, config+", "+filepath.Join(dir, "policies", "own.rego")+" are already there; --force overwrites") {
		t.Errorf("exited with %d, %q, %q", code, stdout, stderr)
	}
	if _, err := os.Stat(catalog); err == nil || content(t, config) != before {
		t.Error("something was written")
	}
	code, stdout, _ = chaperone(t, "init", "--dir", dir, "--force", "--json")
	var printed struct {
		Files     []string
		Keys      map[string]string
		Providers []foundProvider
	}
	if err := json.Unmarshal([]byte(stdout), &printed); err != nil || code != exitDone {
		t.Fatalf("exited with %d, %q (%v)", code, stdout, err)
	}
	if len(printed.Files) != 3 || len(printed.Providers) != len(startProviders) || content(t, config) == before || strings.Count(content(t, config), "[[keys]]") != 1 {
		t.Errorf("printed %+v and wrote %s", printed, content(t, config))
	}
}

func TestInitSaysHowAFolderIsNamed(t *testing.T) {
	code, _, stderr := chaperone(t, "init", "router")
	if code != exitInput || !strings.Contains(stderr, "chaperone init takes no argument; did you mean --dir router?") {
		t.Errorf("exited with %d, %q", code, stderr)
	}
}

func TestThePlaygroundIsRightAndFitsItsProviders(t *testing.T) {
	dir, stdout := initialised(t, nil, "--simulated")
	if !strings.Contains(stdout, "sk-demo-open") || !strings.Contains(stdout, "chaperone sim --config "+filepath.Join(dir, "providers.toml")) {
		t.Errorf("printed %s", stdout)
	}
	if code, _, stderr := chaperone(t, "check", "--config", filepath.Join(dir, "chaperone.toml")); code != exitDone {
		t.Errorf("check exited with %d: %s", code, stderr)
	}
	providers, problems := sim.Parse("providers.toml", []byte(content(t, dir, "providers.toml")))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	catalog := content(t, dir, "catalog.toml")
	if len(providers.Providers) != 8 || strings.Contains(catalog, "key_env") {
		t.Errorf("there are %d providers, and the catalog is\n%s", len(providers.Providers), catalog)
	}
	for _, p := range providers.Providers {
		if p.Listen == "" || !strings.Contains(catalog, `"http://`+p.Listen+`/v1"`) {
			t.Errorf("%s listens on %q, of which the catalog knows nothing", p.Name, p.Listen)
		}
		for _, c := range p.Credentials {
			name := "keys/" + p.Name + "-" + c.Name
			if key := content(t, dir, name); strings.TrimSpace(key) != c.Key || !strings.Contains(catalog, `"`+name+`"`) {
				t.Errorf("%s holds %q; should be %q, and the catalog should name it", name, key, c.Key)
			}
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v (%v); should be 0600", name, info.Mode(), err)
			}
		}
	}
}
