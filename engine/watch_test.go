package engine_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaperone/engine/sim"
	"chaperone/engine/wasm"
)

// told passes on what is logged.
type told chan string

func (t told) Enabled(context.Context, slog.Level) bool { return true }
func (t told) WithAttrs([]slog.Attr) slog.Handler       { return t }
func (t told) WithGroup(string) slog.Handler            { return t }
func (t told) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	t <- text
	return nil
}

// next waits for a line that holds part.
func (t told) next(tb testing.TB, part string) string {
	tb.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line := <-t:
			if strings.Contains(line, part) {
				return line
			}
		case <-timeout:
			tb.Fatalf("nothing was logged with %q", part)
		}
	}
}

func TestWhatChangesBetweenOpeningAndWatchingIsRead(t *testing.T) {
	log := make(told, 100)
	w := openSmall(t, `deny contains "nobody" if input.request.stream`, "", log, sim.Profile{})
	w.write(t, "rego/own.rego", "package own\n\ndeny contains \"nobody\" if input.request.n > 5\n")
	later := time.Now().Add(time.Second) // a file system's clock lags by some milliseconds
	if err := os.Chtimes(filepath.Join(w.dir, "rego", "own.rego"), later, later); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.engine.Watch(ctx, nil) }()
	log.next(t, "configuration reloaded generation=2")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWatchReloadsWhenAFileChangesAndKeepsTheOldWhereItIsWrong(t *testing.T) {
	log := make(told, 100)
	w := openSmall(t, `deny contains "nobody" if input.request.stream`, "", log, sim.Profile{})
	ctx, stop := context.WithCancel(t.Context())
	hup := make(chan os.Signal, 1)
	ended := make(chan error, 1)
	go func() { ended <- w.engine.Watch(ctx, hup) }()
	const stream = `{"model":"m/one","stream":true,"messages":[{"role":"user","content":"hi"}]}`

	hup <- syscall.SIGHUP
	log.next(t, "configuration reloaded generation=2")
	if _, err := ask(w.engine, "sk-acme", stream); err == nil {
		t.Error("the policy denied nothing")
	}

	w.write(t, "rego/own.rego", `package own

deny contains "nobody" if input.request.n > 5
`)
	if line := log.next(t, "policies compiled bindings=1 tables=0"); !strings.Contains(line, "own for everyone reads input.request.n (") || !strings.HasSuffix(line, "own.rego:3)") {
		t.Errorf("what judging costs is not told: %s", line)
	}
	log.next(t, "configuration reloaded generation=3")
	if _, err := ask(w.engine, "sk-acme", stream); err != nil {
		t.Errorf("the new policy permits this: %v", err)
	}

	w.write(t, "rego/own.rego", "package own\n\ndeny contains \"typo\" if input.endpoint.data_polcy.training != \"no\"\n")
	line := log.next(t, "the new configuration is refused; the old one stays in force")
	if !strings.Contains(line, "own.rego:3") || !strings.Contains(line, "data_polcy") {
		t.Errorf("the message does not name file, line and field: %s", line)
	}
	if _, err := ask(w.engine, "sk-acme", stream); err != nil || w.engine.Generation() != 3 {
		t.Errorf("the old configuration does not stay in force: generation %d, %v", w.engine.Generation(), err)
	}
	// What a broken reload saw is watched too: the rules vanish, come back empty-handed, and come back.
	if err := os.RemoveAll(filepath.Join(w.dir, "rego")); err != nil {
		t.Fatal(err)
	}
	log.next(t, "the new configuration is refused")
	if err := os.Mkdir(filepath.Join(w.dir, "rego"), 0o700); err != nil {
		t.Fatal(err)
	}
	log.next(t, "the new configuration is refused")
	w.write(t, "rego/own.rego", "package own\n\ndeny contains \"nobody\" if input.request.stream\n")
	for denied := false; !denied; { // one change may be read twice: once for a folder that was new, once for itself
		log.next(t, "configuration reloaded")
		_, err := ask(w.engine, "sk-acme", stream)
		denied = err != nil
	}

	// A log that is written beside the configuration neither reloads it nor keeps it from being read.
	busy, err := os.Create(filepath.Join(w.dir, "busy.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	writing := time.NewTicker(20 * time.Millisecond)
	defer writing.Stop()
	go func() {
		for range writing.C {
			if _, err := busy.WriteString("x\n"); err != nil {
				return
			}
		}
	}()
	w.write(t, "rego/own.rego", "package own\n\ndeny contains \"nobody\" if input.request.n > 5\n")
	for denied := true; denied; {
		log.next(t, "configuration reloaded")
		_, err := ask(w.engine, "sk-acme", stream)
		denied = err != nil
	}

	// A plugin that is not there yet, in a folder that is not either, is watched for; and so are its golden vectors.
	config, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "chaperone.toml", "[[scorers]]\nname = \"sum\"\nplugin = \"scorers/sum.wasm\"\ngolden = \"vectors/sum.json\"\n"+string(config))
	log.next(t, "the new configuration is refused")
	w.write(t, "scorers/sum.wasm", string(summing(t)))
	log.next(t, "vectors/sum.json")
	w.write(t, "vectors/sum.json", `{"cases": [{"name": "one", "columns": {"price.prompt": [1]}, "scores": [2]}]}`)
	log.next(t, "row 0 scores 1, should be 2")
	w.write(t, "vectors/sum.json", `{"cases": [{"name": "one", "columns": {"price.prompt": [1]}, "scores": [1]}]}`)
	log.next(t, "configuration reloaded")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// summing is the fixture that scores a row with its price.
func TestATokenForPoliciesIsReadAgainWhenItIsRenewed(t *testing.T) {
	var bundle bytes.Buffer
	zip := gzip.NewWriter(&bundle)
	tape := tar.NewWriter(zip)
	const rule = "package central\n\ndeny contains \"nobody\" if input.request.stream\n"
	err := tape.WriteHeader(&tar.Header{Name: "/central.rego", Mode: 0o600, Size: int64(len(rule))})
	if _, written := tape.Write([]byte(rule)); errors.Join(err, written, tape.Close(), zip.Close()) != nil {
		t.Fatal(err, written)
	}
	shown := make(chan string, 100)
	central := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown <- r.Header.Get("Authorization")
		w.Write(bundle.Bytes())
	}))
	defer central.Close()

	log := make(told, 100)
	w := openSmall(t, `deny contains "nobody" if input.request.n > 5`, "", log, sim.Profile{})
	w.write(t, "secrets/token", "first\n")
	settings, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.engine.Watch(ctx, nil) }()
	w.write(t, "chaperone.toml", fmt.Sprintf("%s[[policy.sources]]\nname = \"central\"\nbundle = %q\ntoken_file = \"secrets/token\"\n", settings, central.URL+"/central.tar.gz"))
	log.next(t, "configuration reloaded generation=2")
	w.write(t, "secrets/token", "second\n")
	for token, late := "", time.After(20*time.Second); token != "Bearer second"; {
		select {
		case token = <-shown:
		case <-late:
			t.Fatal("the bundle was not asked for with the new token")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func summing(t *testing.T) []byte {
	t.Helper()
	module, err := os.ReadFile("../testdata/wasm/sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(module, []byte("abi = 1\nkind = \"scorer\"\nname = \"sum\"\nversion = \"1\"\ncolumns = [\"price.prompt\"]\nrows = 64\nscale = \"minmax\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return packed
}
