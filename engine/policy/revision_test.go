package policy

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRevisionsThatCanBeCompared(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want string // < = > or ? where they cannot be compared
	}{
		{"1", "2", "<"}, {"9", "10", "<"}, {"10", "10", "="}, {"1.9", "1.10", "<"}, {"v1.2", "1.2.1", "<"}, {"2", "1.9.9", ">"}, {"007", "7", "="},
		{"2026-11-26T10:00:00Z", "2026-11-26T10:00:00+01:00", ">"}, {"2026-11-26T10:00:00Z", "2026-11-26T11:00:00+01:00", "="},
		{"3f2a9c1", "4", "?"}, {"", "1", "?"}, {"1", "2026-11-26T10:00:00Z", "?"}, {"1-rc1", "1", "?"}, {"1.", "1", "?"}, {"-1", "1", "?"},
		{"1234567890123456789012", "1", "?"},
	} {
		order, ok := compareRevisions(c.a, c.b)
		got := "?"
		if ok {
			got = string("<=>"[order+1])
		}
		if got != c.want {
			t.Errorf("%q %s %q, want %s", c.a, got, c.b, c.want)
		}
		if back, ok := compareRevisions(c.b, c.a); ok != (c.want != "?") || ok && back != -order {
			t.Errorf("%q against %q is not the contrary", c.b, c.a)
		}
	}
}

func TestNoBundleTakesThePlaceOfANewerOne(t *testing.T) {
	for _, c := range []struct {
		name  string
		force []string // digest@revision, one after the other
		next  string
		why   string // "": it may
	}{
		{"the first", nil, "a@", ""},
		{"the same", []string{"a@1"}, "a@1", ""},
		{"a newer one", []string{"a@1"}, "b@2", ""},
		{"an older one", []string{"a@1", "b@2"}, "a@1", "it has been in force before"},
		{"an older one that was never here", []string{"b@2"}, "a@1", `its revision "1" is older than "2"`},
		{"other content under one revision", []string{"a@1"}, "b@1", `its revision "1" has been in force with other content`},
		{"one without a revision", []string{"a@1"}, "b@", `its revision "" cannot be compared with "1"`},
		{"one with a revision of another kind", []string{"a@1"}, "b@3f2a9c1", `cannot be compared with "1"`},
		{"commits, forwards", []string{"a@3f2a9c1"}, "b@91ab33e", ""},
		{"commits, backwards", []string{"a@3f2a9c1", "b@91ab33e", "c@0000000"}, "a@3f2a9c1", "it has been in force before"},
		{"numbers after commits", []string{"a@3f2a9c1"}, "b@1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "h.json")
			h := readHistory(file)
			for _, f := range c.force {
				digest, revision, _ := strings.Cut(f, "@")
				if why := h.refuses(digest, revision); why != "" {
					t.Fatalf("%s: %s", f, why)
				}
				if err := h.advance(digest, revision); err != nil {
					t.Fatal(err)
				}
			}
			digest, revision, _ := strings.Cut(c.next, "@")
			for _, h := range []*history{h, readHistory(file)} { // and after a restart
				if why := h.refuses(digest, revision); (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
					t.Errorf("refused with %q, want %q", why, c.why)
				}
			}
		})
	}
	file := filepath.Join(t.TempDir(), "h.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if why := readHistory(file).refuses("a", "1"); !strings.Contains(why, "cannot be read from "+file) {
		t.Errorf("a history that cannot be read: %q", why)
	}
}

// Whoever takes the server's place with an old bundle, well signed, changes nothing: neither while it runs nor at a restart.
func TestAnOldBundleIsRefusedAtAStartToo(t *testing.T) {
	w := newWorkshop(t)
	s := newServer(t, httptest.NewServer)
	old := w.build(t, fmt.Sprintf(bundled, "alpha"), w.secret, "--revision", "1")
	s.serve(w.build(t, fmt.Sprintf(bundled, "trainer"), w.secret, "--revision", "2"), `"2"`)
	source := fmt.Sprintf("bundle = \"%s/bundle.tar.gz\"\nverification_key = %q\n", s.URL, w.public)
	dir := t.TempDir()
	start := func() *follower {
		f := &follower{t: t, files: bundleFiles(source), bundles: NewBundles(dir, quietLog)}
		f.load()
		return f
	}
	if f := start(); f.set == nil || f.permitted() != "trainer" {
		t.Fatal(f.failed)
	}
	s.serve(old, `"1"`)
	if f := start(); f.set == nil || f.permitted() != "trainer" || !strings.Contains(f.bundles.Report()[0].Error, `its revision "1" is older than "2"`) {
		t.Fatalf("permitted %v: %s %+v", f.set != nil, f.failed, f.bundles.Report())
	}
	kept, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	if err := os.Remove(kept[0]); err != nil {
		t.Fatal(err)
	}
	if f := start(); f.set != nil || !strings.Contains(f.failed, `its revision "1" is older than "2"`) {
		t.Fatalf("with nothing to go back to: %s", f.failed)
	}
}

func TestAnOldBundleOnDiskIsRefused(t *testing.T) {
	w := newWorkshop(t)
	f := bundleFiles(fmt.Sprintf("bundle = \"b.tar.gz\"\nverification_key = %q\n", w.public))
	old, latest := w.build(t, fmt.Sprintf(bundled, "alpha"), w.secret, "--revision", "1"), w.build(t, fmt.Sprintf(bundled, "trainer"), w.secret, "--revision", "2")
	f["b.tar.gz"] = string(latest)
	c := f.config(t)
	c.Bundles = NewBundles(t.TempDir(), quietLog)
	if _, problems := Load(context.Background(), c); len(problems) > 0 {
		t.Fatal(problems)
	}
	file := filepath.Join(filepath.Dir(c.Documents[0].Path()), "b.tar.gz")
	if err := os.WriteFile(file, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problems := Load(context.Background(), c); !strings.Contains(problems.Error(), `found "b.tar.gz": the bundle is refused: its revision "1" is older than "2"`) {
		t.Fatal(problems)
	}
}
