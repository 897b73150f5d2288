package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/journal"
	"chaperone/engine/sim"
)

func TestContentIsKeptOnlyWhereItIsSwitchedOn(t *testing.T) {
	for name, c := range map[string]struct {
		rego, settings string
		kept           int
	}{
		"on":              {`deny contains "no" if false`, "log_content = true\n", 2},
		"off":             {`deny contains "no" if false`, "", 0},
		"policy: none":    {`require contains {"log": "none"}`, "log_content = true\n", 0},
		"policy: no text": {`require contains {"log": "metadata"}`, "log_content = true\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := openSmall(t, c.rego, "", slog.DiscardHandler, sim.Profile{})
			text, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
			if err != nil {
				t.Fatal(err)
			}
			w.write(t, "chaperone.toml", strings.Replace(string(text), "[organisations.acme]\n", "[organisations.acme]\n"+c.settings, 1))
			old := filepath.Join(w.dir, "content", "acme", time.Now().AddDate(0, 0, -40).Format(time.DateOnly)+".jsonl")
			w.write(t, strings.TrimPrefix(old, w.dir+"/"), "{}\n")
			w.reopen(t, "\n[journal]\ndir = \"journal\"\ncontent_dir = \"content\"\n")
			for _, stream := range []bool{false, true} {
				body := fmt.Sprintf(`{"model":"m/one","stream":%t,"messages":[{"role":"user","content":"hello there"}]}`, stream)
				if _, err := ask(w.engine, "sk-acme", body); err != nil {
					t.Fatal(err)
				}
			}
			w.engine.Close(context.Background())
			text, err = os.ReadFile(filepath.Join(w.dir, "content", "acme", time.Now().UTC().Format(time.DateOnly)+".jsonl"))
			if c.kept == 0 {
				if !os.IsNotExist(err) {
					t.Errorf("%s, %v", text, err)
				}
				return
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			if len(lines) != c.kept {
				t.Fatalf("%q", lines)
			}
			for _, line := range lines {
				var got journal.Content
				if err := json.Unmarshal([]byte(line), &got); err != nil || !strings.Contains(string(got.Request), "hello there") {
					t.Errorf("%s: %v", line, err)
				}
				if whole := strings.Contains(string(got.Answer), "choices"); whole == strings.Contains(got.Stream, "[DONE]") {
					t.Errorf("the answer is not whole: %s", line)
				}
				if rec, err := journal.Find(filepath.Join(w.dir, "journal"), got.ID); err != nil || rec == nil {
					t.Errorf("%s is of no decision: %v", got.ID, err)
				}
			}
			if _, err := os.Stat(old); !os.IsNotExist(err) {
				t.Errorf("what is past its retention is still there: %v", err)
			}
		})
	}
}

func TestContentNeedsAFolder(t *testing.T) {
	w := openSmall(t, `deny contains "no" if false`, "", slog.DiscardHandler, sim.Profile{})
	path := filepath.Join(w.dir, "chaperone.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "chaperone.toml", strings.Replace(string(text), "[organisations.acme]\n", "[organisations.acme]\nlog_content = true\n", 1))
	if _, err := engine.Check(t.Context(), engine.Options{ConfigPath: path}); err == nil || !strings.Contains(err.Error(), "chaperone.toml:2: organisations.acme.log_content") {
		t.Error(err)
	}
}
