package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/journal"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// reopen opens the same configuration with more of it at its end.
func (w *small) reopen(t *testing.T, more string) {
	t.Helper()
	path := filepath.Join(w.dir, "chaperone.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "chaperone.toml", string(text)+more)
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w.engine = e
}

const canary = "kanarienvogel"

func TestTheJournalHoldsTheDecisionAndNoContent(t *testing.T) {
	w := openSmall(t, `deny contains "not this one" if input.endpoint.provider == "p2"`, "", slog.DiscardHandler,
		sim.Profile{Down: true}, sim.Profile{}, sim.Profile{})
	w.reopen(t, "\n# a comment may say anything: "+canary+"\n[journal]\ndir = \"journal\"\n")
	body := fmt.Sprintf(`{"model":"m/one","user":"u-%s","messages":[{"role":"user","content":"%s"}]}`, canary, canary)
	resp, err := w.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.dir, "journal")
	rec, err := journal.Find(dir, resp.Plan.ID)
	if err != nil || rec == nil {
		t.Fatal(rec, err)
	}
	if len(rec.Candidates) != 3 || rec.Outcome.Status != 200 || rec.Tick == 0 || rec.Claims == nil || rec.Claims.User != "u-"+canary {
		t.Errorf("%+v", rec)
	}
	for _, c := range rec.Candidates {
		if denied := c.Excluded != nil && len(c.Excluded.Denials) == 1; denied != (c.Provider == "p2") {
			t.Errorf("%s: %+v", c.Row, c.Excluded)
		}
	}
	for e, err := range journal.Records(dir, time.Time{}) {
		if err != nil || len(e.Figures) != 3 {
			t.Errorf("the statistics are of %d rows: %v", len(e.Figures), err)
		}
	}
	if list, err := journal.Artefact(dir, rec.Configuration); err != nil || !bytes.Contains(list, []byte("own.rego")) || !bytes.Contains(list, []byte(rec.Policy)) {
		t.Errorf("what decided is not archived: %s, %v", list, err)
	}
	report, err := journal.Verify(dir, journal.Trust{})
	if err != nil || len(report.Problems) > 0 || report.Records != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(canary)) {
			t.Errorf("%s holds content", path)
		}
		return nil
	})
}

func TestADecisionIsFoundAfterARestart(t *testing.T) {
	w := openSmall(t, "deny contains \"no\" if false", "", slog.DiscardHandler, sim.Profile{})
	w.reopen(t, "\n[journal]\ndir = \"journal\"\n")
	resp, err := w.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.reopen(t, "")
	defer w.engine.Close(context.Background())
	if _, err := w.engine.Decision(t.Context(), "sk-acme", resp.Plan.ID); err != nil {
		t.Error(err)
	}
	if _, err := engine.Check(t.Context(), engine.Options{ConfigPath: filepath.Join(w.dir, "chaperone.toml")}); err != nil {
		t.Errorf("a check needs the journal that a router has: %v", err)
	}
}

func TestAJournalThatCannotBeMadeIsToldAtTheStart(t *testing.T) {
	w := openSmall(t, "deny contains \"no\" if false", "", slog.DiscardHandler, sim.Profile{})
	w.write(t, "journal", "a file where the folder should be")
	path := filepath.Join(w.dir, "chaperone.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "chaperone.toml", string(text)+"\n[journal]\ndir = \"journal\"\n")
	before := runtime.NumGoroutine()
	if _, err := engine.Open(t.Context(), engine.Options{ConfigPath: path}); err == nil {
		t.Fatal("it opened")
	}
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines are left of %d", after, before)
	}
}

// A disk that is full keeps no key from being revoked: what decides comes into force, and is archived once it can be.
func TestAConfigurationThatCannotBeArchivedComesIntoForce(t *testing.T) {
	for _, onFull := range []string{"stop", "drop"} {
		t.Run(onFull, func(t *testing.T) {
			w := openSmall(t, `deny contains "never" if input.endpoint.provider == "nobody"`, "", slog.DiscardHandler, sim.Profile{}, sim.Profile{}, sim.Profile{})
			w.reopen(t, "\n[journal]\ndir = \"journal\"\non_full = \""+onFull+"\"\n")
			ask := func() error {
				_, err := w.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)})
				return err
			}
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(w.dir, "journal")
			archive := filepath.Join(dir, "artefacts")
			if err := os.Rename(archive, archive+".away"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(archive, nil, 0o600); err != nil { // where the folder should be
				t.Fatal(err)
			}
			w.write(t, "rego/own.rego", "package own\n\ndeny contains \"not any more\" if input.endpoint.provider != \"nobody\"\n")
			if err := w.engine.Reload(t.Context()); err != nil {
				t.Fatalf("what was tightened is not in force: %v", err)
			}
			status := func() int {
				var refused *wire.Error
				if !errors.As(ask(), &refused) {
					return 200
				}
				return refused.Status
			}
			if got, want := status(), map[string]int{"stop": 503, "drop": 404}[onFull]; got != want {
				t.Errorf("it is answered with %d, not %d", got, want)
			}
			if err := os.Remove(archive); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(archive+".away", archive); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(20 * time.Second); w.engine.Ready() != nil; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it does not go on")
				}
			}
			if got := status(); got != 404 {
				t.Errorf("afterwards it is answered with %d", got)
			}
			if err := w.engine.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if r, err := journal.Verify(dir, journal.Trust{}); err != nil || len(r.Problems) > 0 {
				t.Errorf("%v, %v", r.Problems, err)
			}
		})
	}
}
