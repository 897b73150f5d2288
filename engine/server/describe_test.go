package server

import (
	"strings"
	"testing"

	"chaperone/engine/server/openapi"
)

func TestEveryPathIsDescribed(t *testing.T) {
	known := map[string]bool{}
	for _, p := range public {
		at := p.method + " " + p.pattern
		known[at] = true
		d, ok := docs[at]
		if !ok || d.Summary == "" {
			t.Errorf("%s is not described", at)
			continue
		}
		for what, name := range map[string]string{"body": d.Body, "answer": d.Answer, "event": d.Event, "error": d.Error} {
			if _, ok := openapi.Of(name); !ok && (name != "" || what == "answer" || what == "error") {
				t.Errorf("%s: there is no schema %q for its %s", at, name, what)
			}
		}
	}
	for at := range docs {
		if !known[at] {
			t.Errorf("%s is described, and does not exist", at)
		}
	}
}

func TestEverySchemaThatIsNamedExists(t *testing.T) {
	document := string(describe())
	for rest := document; ; {
		_, after, found := strings.Cut(rest, `"#/components/schemas/`)
		if !found {
			return
		}
		name, tail, _ := strings.Cut(after, `"`)
		if _, ok := openapi.Of(name); !ok {
			t.Errorf("there is no schema %q", name)
		}
		rest = tail
	}
}
