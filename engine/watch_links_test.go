package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"chaperone/engine/sim"
)

func TestAFileThatAPatternFitsIsReadInWhicheverFolderItAppears(t *testing.T) {
	log := make(told, 100)
	w := openSmall(t, "deny contains \"nobody\" if input.request.n > 5\n", "", log, sim.Profile{})
	ctx, stop := context.WithCancel(t.Context())
	hup, ended := make(chan os.Signal, 1), make(chan error, 1)
	go func() { ended <- w.engine.Watch(ctx, hup) }()
	main, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "teams/a/first.toml", "organisation = \"acme\"\nteam = \"a\"\n")
	w.write(t, "chaperone.toml", "include = [\"teams/*/*.toml\"]\n"+string(main)+"[organisations.acme.teams.a]\n")
	log.next(t, "configuration reloaded")
	hup <- syscall.SIGHUP // once this is done with, nothing is about to be read anyhow
	log.next(t, "configuration reloaded")
	w.write(t, "teams/a/second.toml", "organisation = \"nobody\"\n")
	log.next(t, "second.toml:1")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// point makes a link that leads to target, in place of what stands there, in one step where that is no folder.
func point(t *testing.T, link, target string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

func TestWhatChangesBehindLinksIsReadWithoutASignal(t *testing.T) {
	const (
		denies  = "package own\n\ndeny contains \"nobody\" if input.request.stream\n"
		permits = "package own\n\ndeny contains \"nobody\" if input.request.n > 5\n"
	)
	log := make(told, 100)
	w := openSmall(t, `deny contains "nobody" if input.request.stream`, "", log, sim.Profile{})
	elsewhere := &small{dir: t.TempDir()}
	source := filepath.Join(w.dir, "rego")
	main := "" // the text of chaperone.toml
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.engine.Watch(ctx, nil) }()

	for _, step := range []struct {
		name   string
		do     func()
		denied bool
	}{
		{"a file becomes a link that leads out of its folder, over a link", func() {
			elsewhere.write(t, "v1/policy", permits) // a name that nothing knows for a policy's
			elsewhere.write(t, "v2/policy", permits)
			point(t, filepath.Join(elsewhere.dir, "current"), "v1")
			point(t, filepath.Join(source, "own.rego"), filepath.Join(elsewhere.dir, "current", "policy"))
		}, false},
		{"the file behind it is replaced", func() { elsewhere.write(t, "v1/policy", denies) }, true},
		{"the link on the way is made to lead elsewhere", func() { point(t, filepath.Join(elsewhere.dir, "current"), "v2") }, false},
		{"the file behind that is written in place", func() {
			if err := os.WriteFile(filepath.Join(elsewhere.dir, "v2", "policy"), []byte(denies), 0o600); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"the link itself is made to lead elsewhere", func() {
			elsewhere.write(t, "other/policy", permits)
			point(t, filepath.Join(source, "own.rego"), filepath.Join(elsewhere.dir, "other", "policy"))
		}, false},
		{"the folder becomes a link to one elsewhere", func() {
			elsewhere.write(t, "tree1/own.rego", denies)
			if err := os.RemoveAll(source); err != nil {
				t.Fatal(err)
			}
			point(t, source, filepath.Join(elsewhere.dir, "tree1"))
		}, true},
		{"that link is made to lead elsewhere", func() {
			elsewhere.write(t, "tree2/below/own.rego", permits)
			point(t, source, filepath.Join(elsewhere.dir, "tree2"))
		}, false},
		{"a file below the new folder is replaced", func() { elsewhere.write(t, "tree2/below/own.rego", denies) }, true},
		{"as Kubernetes lays files out: all links lead through one hidden link", func() {
			elsewhere.write(t, "mount/..1/own.rego", permits)
			point(t, filepath.Join(elsewhere.dir, "mount", "..data"), "..1")
			point(t, filepath.Join(elsewhere.dir, "mount", "own.rego"), filepath.Join("..data", "own.rego"))
			point(t, source, filepath.Join(elsewhere.dir, "mount"))
		}, false},
		{"which is made to lead to another folder", func() {
			elsewhere.write(t, "mount/..2/own.rego", denies)
			point(t, filepath.Join(elsewhere.dir, "mount", "..data"), "..2")
			if err := os.RemoveAll(filepath.Join(elsewhere.dir, "mount", "..1")); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"the file that a link led to vanishes, which is refused, and comes back", func() {
			point(t, filepath.Join(elsewhere.dir, "mount", "own.rego"), filepath.Join("..", "later", "own.rego"))
			log.next(t, "the new configuration is refused")
			elsewhere.write(t, "later/own.rego", permits)
		}, false},
		{"chaperone.toml becomes a link", func() {
			text, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
			if err != nil {
				t.Fatal(err)
			}
			main = string(text)
			elsewhere.write(t, "main", main)
			point(t, filepath.Join(w.dir, "chaperone.toml"), filepath.Join(elsewhere.dir, "main"))
			elsewhere.write(t, "later/own.rego", denies)
		}, true},
		{"what that leads to is replaced", func() {
			elsewhere.write(t, "main", strings.Replace(main, "[[policy.bindings]]\n", "[[policy.bindings]]\nenforcement = \"dryrun\"\nuntil = 2999-12-31\n", 1))
		}, false},
	} {
		t.Log(step.name)
		step.do()
		for {
			_, err := ask(w.engine, "sk-acme", `{"model":"m/one","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
			if (err != nil) == step.denied {
				break
			}
			log.next(t, "configuration reloaded")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
