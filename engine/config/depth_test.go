package config_test

import (
	"strings"
	"testing"

	"chaperone/engine/config"
)

func TestDepthAndSizeAreBounded(t *testing.T) {
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	for name, c := range map[string]struct{ src, want string }{
		"too deep":           {"a = 1\nx = " + deep, "f.toml:2: arrays and inline tables stand more than 64 deep; expected fewer"},
		"far too deep":       {"x=" + strings.Repeat("[", 100_000), "f.toml:1: arrays and inline tables stand more than 64 deep; expected fewer"},
		"behind a string":    {"a = \"\"\"\n]]\\\"\"\"\"\nx = " + deep, "f.toml:3: arrays and inline tables stand more than 64 deep; expected fewer"},
		"too long":           {"# " + strings.Repeat("x", 16<<20), "f.toml: has 16777218 bytes; expected at most 16777216"},
		"just deep enough":   {"x = " + deep[1:129], ""},
		"in strings":         {"x = \"" + deep + "\"\ny = '" + deep + "'\nz = '''\n" + deep + "'''\n", ""},
		"in a comment":       {"# " + deep + "\nx = 1", ""},
		"many tables beside": {strings.Repeat("[[x]]\ny = [1]\n", 1000), ""},
	} {
		_, problems := config.Parse("f.toml", []byte(c.src))
		got := ""
		if len(problems) > 0 {
			got = problems.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
