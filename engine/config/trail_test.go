package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"chaperone/engine/config"
)

func TestATrailNamesEveryLinkAndWhatStandsAtTheEnd(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"etc", "srv/v1/deep", "srv/v2"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"etc/plain", "srv/v1/policy", "srv/beside"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"etc/absolute": filepath.Join(dir, "srv/current/policy"),
		"etc/folder":   "../srv/current/",
		"etc/upward":   "../srv/deep/../policy", // of where the link leads, not of where it stands
		"etc/nowhere":  "../srv/absent/below/policy",
		"etc/circle":   "round",
		"etc/round":    "./circle",
		"srv/current":  "v1",
		"srv/deep":     "v1//deep",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string][]string{
		"etc/plain":           {"etc/plain"},
		"etc":                 {"etc"},
		"etc/missing/below":   {"etc/missing"},
		"etc/absolute":        {"etc/absolute", "srv/current", "srv/v1/policy"},
		"etc/folder":          {"etc/folder", "srv/current", "srv/v1"},
		"etc/folder/policy":   {"etc/folder", "srv/current", "srv/v1/policy"},
		"etc/upward":          {"etc/upward", "srv/deep", "srv/v1/policy"},
		"etc/nowhere":         {"etc/nowhere", "srv/absent"},
		"etc/plain/impostor":  {"etc/plain/impostor"},
		"srv/current/missing": {"srv/current", "srv/v1/missing"},
	} {
		var found []string
		for _, name := range config.Trail(filepath.Join(dir, path)) {
			short, err := filepath.Rel(dir, name)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, filepath.ToSlash(short))
		}
		if !slices.Equal(found, want) {
			t.Errorf("%s: the trail is %q; want %q", path, found, want)
		}
	}
	if trail := config.Trail(filepath.Join(dir, "etc/circle")); len(trail) > 100 {
		t.Errorf("a circle of two links is gone round: %d names", len(trail))
	}
	t.Chdir(filepath.Join(dir, "etc"))
	if trail := config.Trail("plain"); !slices.Equal(trail, []string{filepath.Join(dir, "etc/plain")}) {
		t.Errorf("a path from the working folder gives %q", trail)
	}
}
