package sdk_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"chaperone/engine/scorer"
)

func TestReadmeListsTheWholeVocabulary(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, listed, _ := strings.Cut(string(readme), "\n## Vocabulary\n")
	columns, request, _ := strings.Cut(listed, "\n### Request\n")
	want := map[string]*strings.Builder{"columns": {}, "request": {}}
	for _, e := range scorer.Vocabulary() {
		nan := e.NaN
		if nan == "" {
			nan = "never"
		}
		fmt.Fprintf(want[e.List], "| `%s` | %s | %s | %s |\n", e.Name, e.Unit, e.Meaning, nan)
	}
	for section, text := range map[string]string{"columns": columns, "request": request} {
		if !strings.HasSuffix(text, "|---|---|---|---|\n"+want[section].String()) &&
			!strings.HasSuffix(text, "|---|---|---|---|\n"+want[section].String()+"\n") {
			t.Errorf("the table of %s should be:\n%s", section, want[section])
		}
	}
}
