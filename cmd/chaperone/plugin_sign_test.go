package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine"
)

// signedRouter is a folder with a C plugin that ships and a configuration which has it rank and trusts one key.
func signedRouter(t *testing.T) {
	t.Helper()
	module, err := filepath.Abs("../../plugins/ttft-target/ttft-target.wasm")
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	put(t, "ttft-target.wasm", string(bytes))
}

// TestASignedPluginRanksAndAChangedOneDoesNot goes the way of somebody who signs: a key, a signature, a router that trusts the
// key; then another build without a signature, and one with.
func TestASignedPluginRanksAndAChangedOneDoesNot(t *testing.T) {
	signedRouter(t)
	var made struct{ Key, Public string }
	decode(t, done(t, "plugin", "keygen", "release", "--json"), &made)
	if info, err := os.Stat(made.Key); err != nil || info.Mode().Perm() != 0o600 || len(made.Public) != 64 {
		t.Fatalf("%+v %v", made, err)
	}
	config := "plugins.trusted_keys = { release = \"" + made.Public + "\" }\n[[scorers]]\nname = \"target\"\nplugin = \"ttft-target.wasm\"\n"
	put(t, "chaperone.toml", config)
	check := func(says string) {
		t.Helper()
		code, stdout, stderr := chaperone(t, "check")
		if says == "" && code != exitDone || says != "" && (code != exitInput || !strings.Contains(stdout+stderr, says)) {
			t.Errorf("check exits with %d and says %s%s", code, stdout, stderr)
		}
	}
	check("there is no ttft-target.wasm.sig; chaperone plugin sign makes it")
	done(t, "plugin", "sign", "ttft-target.wasm", "--key", "release.key")
	check("")
	var inspected struct{ Signed string }
	decode(t, done(t, "plugin", "inspect", "ttft-target.wasm", "--json"), &inspected)
	if inspected.Signed != "by the key "+made.Public {
		t.Errorf("inspect says %q", inspected.Signed)
	}

	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: "chaperone.toml"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	put(t, "manifest.toml", "abi = 1\nkind = \"scorer\"\nname = \"mine\"\nversion = \"2\"\ncolumns = [\"price.expected\", \"stats.ttft_p50_ms\", \"stats.ttft_p90_ms\", \"stats.ttft_expected_ms\", \"stats.samples\"]\nrequest = [\"stream\"]\nrows = 256\nscale = \"minmax\"\n")
	done(t, "plugin", "pack", "ttft-target.wasm")
	if err := e.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "they have changed since they were signed") || e.Generation() != 1 {
		t.Errorf("a changed module: %v, generation %d", err, e.Generation())
	}
	done(t, "plugin", "sign", "ttft-target.wasm", "--key", "release.key")
	if err := e.Reload(t.Context()); err != nil || e.Generation() != 2 {
		t.Errorf("signed anew: %v", err)
	}

	for name, c := range map[string]struct {
		args string
		says string
	}{
		"a key that is there":  {"plugin keygen release", "release.key is there already"},
		"a key that is absent": {"plugin sign ttft-target.wasm --key absent.key", "--key: stat absent.key: no such file"},
		"a key that is none":   {"plugin sign ttft-target.wasm --key manifest.toml", "it has no PEM block"},
		"no module":            {"plugin sign manifest.toml --key release.key", "is not a module that can be run"},
		"a key without a name": {"plugin keygen keys/", `the name is "keys/"; expected one for a file`},
		"no key":               {"plugin sign ttft-target.wasm", `required flag(s) "key" not set`},
	} {
		if code, _, stderr := chaperone(t, strings.Fields(c.args)...); code != exitInput || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exits with %d and says %q, should say %q", name, code, stderr, c.says)
		}
	}
	if privateModes {
		if err := os.Chmod("release.key", 0o644); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := chaperone(t, "plugin", "sign", "ttft-target.wasm", "--key", "release.key"); code != exitInput || !strings.Contains(stderr, "has mode 0644, should be 0600") {
			t.Errorf("a key that others can read: exits with %d and says %q", code, stderr)
		}
	}
	put(t, "chaperone.toml", "plugins.trusted_keys = { release = \"abc\" }\n")
	check(`plugins.trusted_keys.release: found "abc"; expected the 64 hexadecimal digits`)
}

// TestADisabledPluginIsAsIfItWereNotThere takes a plugin out of a running router, whose module is then broken, and takes it back.
func TestADisabledPluginIsAsIfItWereNotThere(t *testing.T) {
	signedRouter(t)
	const config = "# ours\n[[scorers]]\nname = \"value\" # dollars\n\n[[scorers]]\nname = \"target\" # quick\nplugin = \"ttft-target.wasm\"\nweight = 2\n"
	put(t, "chaperone.toml", config)
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: "chaperone.toml"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	loaded := func() int {
		t.Helper()
		if err := e.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(e.PluginStats())
	}

	if says := done(t, "plugin", "disable", "target"); !strings.Contains(says, "target is disabled in chaperone.toml") {
		t.Errorf("disable says %q", says)
	}
	text, err := os.ReadFile("chaperone.toml")
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), "disabled = true # since ")
	if _, after, _ = strings.Cut(after, "\n"); !ok || before+after != config {
		t.Errorf("the file has become\n%s", text)
	}
	if n := loaded(); n != 0 {
		t.Errorf("%d plugins are loaded", n)
	}
	module, err := os.ReadFile("ttft-target.wasm")
	if err != nil {
		t.Fatal(err)
	}
	put(t, "ttft-target.wasm", "broken")
	if n := loaded(); n != 0 {
		t.Errorf("%d plugins are loaded", n)
	}
	done(t, "plugin", "disable", "target", "--json") // once more

	if code, _, stderr := chaperone(t, "plugin", "enable", "target"); code != exitInput || !strings.Contains(stderr, "nothing was written") || !strings.Contains(stderr, "is not a module that can be run") {
		t.Errorf("enabling a broken one exits with %d and says %q", code, stderr)
	}
	put(t, "ttft-target.wasm", string(module))
	done(t, "plugin", "enable", "target")
	if text, err := os.ReadFile("chaperone.toml"); err != nil || string(text) != config {
		t.Errorf("the file has become %v\n%s", err, text)
	}
	if n := loaded(); n != 1 {
		t.Errorf("%d plugins are loaded", n)
	}
	for _, c := range []struct{ args, says string }{
		{"plugin disable targte", `found "targte"`},
		{"plugin disable target --config absent.toml", "absent.toml is not there; --config names another file"},
		{"plugin disable", "accepts 1 arg(s)"},
	} {
		if code, _, stderr := chaperone(t, strings.Fields(c.args)...); code != exitInput || !strings.Contains(stderr, c.says) {
			t.Errorf("%s exits with %d and says %q, should say %q", c.args, code, stderr, c.says)
		}
	}
	put(t, "chaperone.toml", "scorers = [{ name = \"target\", plugin = \"ttft-target.wasm\" }]\n")
	if code, _, stderr := chaperone(t, "plugin", "disable", "target"); code != exitInput || !strings.Contains(stderr, "write disabled = true there by hand") {
		t.Errorf("in one line: exits with %d and says %q", code, stderr)
	}
}
