//go:build unix

package journal

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the process that is killed, or that may write only so much.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("JOURNAL_TEST_DIR"); os.Getenv("JOURNAL_TEST_CHILD") {
	case "kill":
		child(dir)
	case "full":
		fill(dir, OnFull(os.Getenv("JOURNAL_TEST_ON_FULL")))
	default:
		os.Exit(m.Run())
	}
}

// child appends until it is killed, and says which answers would have ended.
func child(dir string) {
	j, err := Open(Options{Dir: dir, Log: quiet, Keep: 1, SegmentBytes: 64 << 10})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var say sync.Mutex
	for w := range 4 {
		go func() {
			for {
				id := fmt.Sprintf("gen-%016x%08x", rand.Uint64(), w)
				j.Append(sample(id, time.Now(), 3), nil)
				say.Lock()
				fmt.Println(id)
				say.Unlock()
			}
		}()
	}
	select {}
}

func TestAKilledProcessLosesNoAnswerThatEnded(t *testing.T) {
	times := 200
	if testing.Short() {
		times = 6
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir, ended := t.TempDir(), map[string]bool{}
	for range times {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "JOURNAL_TEST_CHILD=kill", "JOURNAL_TEST_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after, n := random.IntN(150), 0 // records, so that the moment does not depend on how busy the machine is
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			id := lines.Text()
			if !strings.HasPrefix(id, idPrefix) {
				t.Fatal(id)
			}
			if len(id) == len(idPrefix)+2*idBytes { // the last line may be cut
				ended[id] = true
			}
			if n++; n == after {
				cmd.Process.Kill()
			}
			if after == 0 {
				cmd.Process.Kill()
			}
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
	closeJournal(t, open(t, Options{Dir: dir}))
	sound(t, dir, Trust{})
	kept := read(t, dir)
	for id := range ended {
		if kept[id] == nil {
			t.Errorf("%s had ended and is not in the journal", id)
		}
	}
	t.Logf("%d answers ended, %d records, %d kills", len(ended), len(kept), times)
}

// fill writes under a limit on the size of files, as on a full disk, which is then lifted.
func fill(dir string, onFull OnFull) {
	j, err := Open(Options{Dir: dir, Log: quiet, Keep: 1, OnFull: onFull})
	check := func(ok bool, what string) {
		if !ok {
			fmt.Println("error:", what, err)
			os.Exit(1)
		}
	}
	check(err == nil, "open")
	var unlimited syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited) == nil, "getrlimit")
	check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 20_000, Max: unlimited.Max}) == nil, "setrlimit")
	for i := range 30 {
		j.Append(sample(idOf(i), time.Now(), 3), nil)
	}
	c := j.Counts()
	check(c.Failing, "it does not say that it fails")
	check((j.Ready() != nil) == (onFull == Stop), "whether requests are refused")
	check((c.Dropped > 0) == (onFull == Drop), "whether records are dropped")
	if onFull == Drop {
		info, err := j.tape.file.Stat()
		check(err == nil && info.Size() == j.tape.size, "what got through in part stays behind the end")
	}
	check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &unlimited) == nil, "setrlimit")
	j.second(time.Now())
	j.Append(sample(idOf(100), time.Now(), 3), nil)
	check(j.Ready() == nil && !j.Counts().Failing, "it does not say that it works again")
	err = j.Close()
	check(err == nil, "close")
}

func TestAFullDisk(t *testing.T) {
	for _, onFull := range []OnFull{Stop, Drop} {
		t.Run(string(onFull), func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "JOURNAL_TEST_CHILD=full", "JOURNAL_TEST_DIR="+dir, "JOURNAL_TEST_ON_FULL="+string(onFull))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			r := sound(t, dir, Trust{})
			if onFull == Stop && r.Records != 31 {
				t.Errorf("%d records of 31 that waited", r.Records)
			}
			if onFull == Drop && (r.Records >= 31 || !strings.Contains(fmt.Sprint(r.Notices), "without a record")) {
				t.Errorf("%d records; %v", r.Records, r.Notices)
			}
		})
	}
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	if _, err := Open(Options{Dir: "/proc/journal", Log: quiet}); err == nil {
		t.Error("it opened")
	} else {
		t.Log(err)
	}
}
