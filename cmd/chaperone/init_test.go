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
		if strings.HasSuffix(name, "_BASE_URL") {
			every[name] = "http://127.0.0.1:1/v1"
		}
	}
	for _, keys := range []map[string]string{nil, every, {"OPENAI_API_KEY": "sk-secret-1"}, {"AZURE_OPENAI_API_KEY": "sk-secret-2"}} {
		dir, stdout := initialised(t, keys)
		config := filepath.Join(dir, "chaperone.toml")
		if code, _, stderr := chaperone(t, "check", "--config", config); code != exitDone {
			t.Errorf("with %d keys: check exited with %d: %s", len(keys), code, stderr)
		}
		for _, text := range []string{stdout, content(t, dir, "catalog.toml"), content(t, config)} {
			if strings.Contains(text, "sk-secret") {
				t.Errorf("a provider's key is shown:\n%s", text)
			}
		}
		_, openai := keys["OPENAI_API_KEY"]
		if strings.Contains(stdout, "providers with a key: openai\n") != (openai && len(keys) == 1) {
			t.Errorf("with %v it says %s", keys, stdout)
		}
	}
}

func TestTheCommentedEntriesAreRightToo(t *testing.T) {
	dir, _ := initialised(t, map[string]string{"GROQ_API_KEY": "sk-groq"})
	path := filepath.Join(dir, "catalog.toml")
	text := content(t, path)
	start, end := strings.Index(text, "# [providers.groq]"), strings.Index(text, "# A machine of your own")
	if start < 0 || end < start {
		t.Fatalf("there is no example of an entry in %s", text)
	}
	example := regexp.MustCompile(`(?m)^# ?(.*[=\]].*|)$`).ReplaceAllString(text[start:end], "$1")
	if err := os.WriteFile(path, []byte(text[:start]+example+text[end:]), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := engine.Catalog(filepath.Join(dir, "chaperone.toml"), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Row("openai/gpt-oss-120b@groq#contract"); r == nil || r.DataPolicy.Training != "no" || c.Row("qwen/qwen3-32b@groq#contract") == nil ||
		!c.Row("qwen/qwen3-32b@groq#contract").Disabled {
		t.Errorf("the example changes nothing:\n%s", example)
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
	if len(printed.Files) != 3 || len(printed.Providers) != len(startProviders()) || content(t, config) == before || strings.Count(content(t, config), "[[keys]]") != 1 {
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
	if len(providers.Providers) != 10 || strings.Contains(catalog, "key_env") {
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
