package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"chaperone/engine/journal"
)

// limit has the running router write no file beyond so many bytes, as a disk that fills up does; 0 lifts that.
func (w *recorder) limit(t *testing.T, bytes uint64) {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Prlimit(w.router.Process.Pid, unix.RLIMIT_FSIZE, nil, &l); err != nil {
		t.Fatal(err)
	}
	if l.Cur = bytes; bytes == 0 {
		l.Cur = l.Max
	}
	if err := unix.Prlimit(w.router.Process.Pid, unix.RLIMIT_FSIZE, &l, nil); err != nil {
		t.Fatal(err)
	}
}

// freeze takes the right to write a file from everybody, also where it is open already.
func freeze(t *testing.T, path string) (thaw func()) {
	t.Helper()
	thaw = func() { exec.Command("chattr", "-i", path).Run() }
	t.Cleanup(thaw)
	if err := frozen(path); err != nil {
		t.Fatal(err)
	}
	return thaw
}

// frozen makes a file read-only that is open, and says why that cannot be done.
func frozen(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	first := []byte{0}
	if _, err := f.ReadAt(first, 0); err != nil {
		return err
	}
	if out, err := exec.Command("chattr", "+i", path).CombinedOutput(); err != nil {
		return fmt.Errorf("chattr +i %s: %v %s", path, err, out)
	}
	if _, err := f.WriteAt(first, 0); err == nil {
		return fmt.Errorf("chattr +i %s: what has it open can still write it", path)
	}
	return nil
}

// elsewhere carries a test that makes files read-only out in a process of its own, with its temporary folder on ext4 in a mount
// namespace that goes with it; false where the test's own folder will do. No mount makes a file read-only that somebody has open for
// writing, and of file systems only ext4 and its like do: elsewhere the flag counts when a file is opened.
func elsewhere(t *testing.T) bool {
	t.Helper()
	probe := write(t, "probe", "x")
	err := frozen(probe)
	exec.Command("chattr", "-i", probe).Run()
	if err == nil {
		return false
	}
	skip := func(what string, err error, out []byte) {
		t.Helper()
		t.Skipf("no file can be made read-only here while it is open, nor ext4 be mounted to do it there, which takes root with CAP_SYS_ADMIN and CAP_LINUX_IMMUTABLE, a loop device and Debian's e2fsprogs; "+
			"many containers have none, so that CHAPERONE_TEST_REQUIRE demands nothing here: %s: %v %s", what, err, out)
	}
	if os.Getenv(onExt4) != "" {
		t.Fatal(err)
	}
	image, folder := write(t, "ext4", ""), t.TempDir()
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		skip("mkfs.ext4", err, out)
	}
	// All at once: loop devices may be few, and what was there a moment ago somebody else's.
	c := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount -o loop "$0" "$1" && : >"$1/probe" && chattr +i "$1/probe" && chattr -i "$1/probe" && exec "$2" -test.v -test.run "$3"`,
		image, folder, os.Args[0], "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	c.Env = append(os.Environ(), onExt4+"=1", "TMPDIR="+folder)
	out, err := c.CombinedOutput()
	switch {
	case !strings.Contains(string(out), "=== RUN "):
		skip("unshare, mount -o loop, chattr", err, out)
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Fatalf("on ext4: %v\n%s", err, out)
	}
	return true
}

// onExt4 tells a process of tests that its temporary folder is where elsewhere has put it.
const onExt4 = "CHAPERONE_TEST_ON_EXT4"

// stop ends the router as an operator does.
func (w *recorder) stop(t *testing.T) {
	t.Helper()
	w.router.Process.Signal(syscall.SIGTERM)
	if err := w.router.Wait(); err != nil {
		t.Errorf("serve: %v: %s", err, w.said.String())
	}
}

// get is what an address answers.
func get(t *testing.T, address string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sk-acme")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// until asks again and again whether something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s not yet: %s", what)
		}
	}
}

// ways are those in which a disk can refuse to be written while the router runs.
var ways = map[string]func(t *testing.T, w *recorder) (mend func()){
	"full": func(t *testing.T, w *recorder) func() {
		w.limit(t, 1)
		return func() { w.limit(t, 0) }
	},
	"read-only": func(t *testing.T, w *recorder) func() {
		segments, err := filepath.Glob(filepath.Join(w.dir, "*.segment"))
		if err != nil || len(segments) == 0 {
			t.Fatal(segments, err)
		}
		return freeze(t, slices.Max(segments))
	},
}

// With on_full = "stop" a running router that cannot record refuses what it is asked, says so, and goes on once it can; nothing that
// it has answered is lost.
func TestADiskThatRefusesStopsTheRouter(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "read-only" && elsewhere(t) {
				return
			}
			w := recording(t, "", "on_full = \"stop\"\n")
			w.start(t)
			ended := map[string]bool{}
			ask := func() (err error) {
				id, err := w.answered(false)
				if err == nil {
					ended[id] = true
				}
				return err
			}
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			mend := way(t, w)
			until(t, "it is refused", func() bool { return ask() != nil }) // those that were answered before wait to be recorded
			for range 3 {
				if err := ask(); err == nil || !strings.Contains(err.Error(), "status 503") || !strings.Contains(err.Error(), "cannot write its journal") {
					t.Errorf("it is answered with %v", err)
				}
			}
			if status, body := get(t, w.url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "journal") {
				t.Errorf("/readyz says %d %s", status, body)
			}
			if status, _ := get(t, w.url+"/healthz"); status != http.StatusOK {
				t.Errorf("/healthz says %d", status)
			}
			if _, metrics := get(t, w.private+"/metrics"); !strings.Contains(metrics, "\nchaperone_journal_failing 1\n") {
				t.Error("the metrics do not say that the journal fails")
			}
			mend()
			until(t, "it is ready again", func() bool { status, _ := get(t, w.url+"/readyz"); return status == http.StatusOK })
			if err := ask(); err != nil {
				t.Error(err)
			}
			w.stop(t)
			for _, said := range []string{"THE JOURNAL CANNOT BE WRITTEN", "the journal can be written again"} {
				if n := strings.Count(w.said.String(), said); n != 1 {
					t.Errorf("the log says %d times %q: %s", n, said, w.said.String())
				}
			}
			if records := w.hold(t, ended); records != len(ended) {
				t.Errorf("%d records of %d answers", records, len(ended))
			}
		})
	}
}

// With on_full = "drop" it serves on without a record, and the journal tells afterwards how many that were.
func TestADiskThatRefusesCostsRecords(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "read-only" && elsewhere(t) {
				return
			}
			w := recording(t, "", "on_full = \"drop\"\n")
			w.start(t)
			ask := func(n int) (ids []string) {
				for range n {
					id, err := w.answered(false)
					if err != nil {
						t.Fatal(err)
					}
					ids = append(ids, id)
				}
				return ids
			}
			kept := ask(2)
			mend := way(t, w)
			lost := ask(5)
			failing := func() bool {
				_, metrics := get(t, w.private+"/metrics")
				return strings.Contains(metrics, "\nchaperone_journal_failing 1\n")
			}
			for began := time.Now(); time.Since(began) < 1500*time.Millisecond; time.Sleep(50 * time.Millisecond) { // it is tried again every second
				if !failing() {
					t.Fatal("it is said to be well while it fails")
				}
			}
			if status, _ := get(t, w.url+"/readyz"); status != http.StatusOK {
				t.Errorf("/readyz says %d", status)
			}
			if _, metrics := get(t, w.private+"/metrics"); !strings.Contains(metrics, `chaperone_journal_records_total{result="dropped"} 5`) {
				t.Error("the metrics do not tell how many records are lost")
			}
			mend()
			until(t, "the journal is written again", func() bool { return !failing() })
			kept = append(kept, ask(2)...)
			w.stop(t)
			if n := strings.Count(w.said.String(), "WITHOUT A RECORD"); n != 1 {
				t.Errorf("the log says it %d times: %s", n, w.said.String())
			}
			ended := map[string]bool{}
			for _, id := range kept {
				ended[id] = true
			}
			if records := w.hold(t, ended); records != len(kept) {
				t.Errorf("%d records, of %d kept and %d lost", records, len(kept), len(lost))
			}
			r, err := journal.Verify(w.dir, journal.Trust{})
			if err != nil || !strings.Contains(strings.Join(r.Notices, "\n"), fmt.Sprintf("%d requests were served without a record", len(lost))) {
				t.Errorf("the journal tells %v, %v", r.Notices, err)
			}
		})
	}
}

// A ledger that cannot be written holds up no request and loses nothing: it is told of, and caught up with.
func TestALedgerThatRefusesIsCaughtUpWith(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]func(t *testing.T, w *recorder) (mend func()){
		"full": func(t *testing.T, w *recorder) func() {
			w.limit(t, 128<<10) // more than a segment, less than the ledger's log comes to
			return func() { w.limit(t, 0) }
		},
		"read-only": func(t *testing.T, w *recorder) func() { return freeze(t, w.database+"-wal") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "read-only" && elsewhere(t) {
				return
			}
			w := recording(t, "", "segment_bytes = 65536\n")
			w.start(t)
			ended := map[string]bool{}
			ask := func() {
				t.Helper()
				id, err := w.answered(false)
				if err != nil {
					t.Fatal(err)
				}
				ended[id] = true
			}
			metric := func(line string) bool {
				_, metrics := get(t, w.private+"/metrics")
				return strings.Contains(metrics, "\n"+line+"\n")
			}
			ask()
			until(t, "the first is entered", func() bool { return metric("chaperone_ledger_records_total 1") })
			mend := way(t, w)
			until(t, "it fails", func() bool { ask(); return metric("chaperone_ledger_failing 1") })
			for range 5 {
				ask()
			}
			if status, _ := get(t, w.url+"/readyz"); status != http.StatusOK {
				t.Errorf("/readyz says %d", status)
			}
			if status, body := get(t, w.url+"/v1/key"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the ledger of usage cannot be asked just now") {
				t.Errorf("/v1/key says %d %s", status, body)
			}
			mend()
			until(t, "it is caught up with", func() bool {
				return metric("chaperone_ledger_failing 0") && metric(fmt.Sprintf("chaperone_ledger_records_total %d", len(ended)))
			})
			if status, body := get(t, w.url+"/v1/key"); status != http.StatusOK {
				t.Errorf("/v1/key says %d %s", status, body)
			}
			w.stop(t)
			if n := strings.Count(w.said.String(), "the ledger cannot be kept up to date"); n != 1 {
				t.Errorf("the log says %d times that the ledger fails: %s", n, w.said.String())
			}
			if records := w.hold(t, ended); records != len(ended) {
				t.Errorf("%d records of %d answers", records, len(ended))
			}
		})
	}
}
