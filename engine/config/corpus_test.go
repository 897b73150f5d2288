package config

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The TOML project's own test documents come with the library's module: valid ones must be indexed, and whatever the
// library refuses must be one problem with a line.
func TestIndexOnTheTOMLTestSuite(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/BurntSushi/toml").Output()
	if err != nil {
		missing := "the go command, from https://go.dev/dl, finds the TOML library's tests: " + err.Error()
		if os.Getenv("CHAPERONE_TEST_REQUIRE") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	suite := filepath.Join(strings.TrimSpace(string(out)), "internal", "toml-test", "tests")
	valid, invalid := 0, 0
	err = filepath.WalkDir(suite, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".toml" {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		index(src)
		if _, problems := Parse(path, src); problems == nil {
			valid++
			checkIndex(t, src)
		} else {
			invalid++
			if len(problems) != 1 || problems[0].Line == 0 || problems[0].Message == "" {
				t.Errorf("%s: %+v", path, problems)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if valid < 150 || invalid < 300 {
		t.Errorf("%d valid and %d invalid documents: that is not the test suite", valid, invalid)
	}
}
