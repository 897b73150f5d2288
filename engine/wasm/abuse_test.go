package wasm_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine/wasm"
	"chaperone/engine/wasm/binary"
)

// stateful is the plain manifest of a plugin that observes.
var stateful = strings.Replace(plainManifest, "scale ", "stateful = true\nobserve = [\"ok\"]\nscale ", 1)

// TestEveryCallIsHeldToItsFuel has a plugin spin in each call but chaperone_score, which other tests hold.
func TestEveryCallIsHeldToItsFuel(t *testing.T) {
	h, log := newHost(t)
	spin := forever()
	_, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: hostile{optional: map[string][]byte{"chaperone_configure": code(spin, 0)}}.module(t)})
	if !errors.Is(err, wasm.ErrFuel) || !strings.Contains(err.Error(), "chaperone_configure: the plugin ran out of fuel: the host's limit of its budget configure is") {
		t.Errorf("configure: %v", err)
	}

	p := load(t, h, wasm.Config{Bytes: hostile{manifest: stateful, optional: map[string][]byte{"chaperone_observe": code(spin, 0)}}.module(t)})
	if err := p.ObserveTable(context.Background(), [][]float64{{1}}, time.UnixMilli(1)); !errors.Is(err, wasm.ErrFuel) {
		t.Errorf("observe: %v", err)
	}

	silent := code(0)
	p = load(t, h, wasm.Config{Bytes: hostile{manifest: stateful, optional: map[string][]byte{"chaperone_observe": silent, "chaperone_save": code(spin, "\x42\x00")}}.module(t)})
	if err := p.Flush(context.Background()); !errors.Is(err, wasm.ErrFuel) || !strings.Contains(err.Error(), "chaperone_save") {
		t.Errorf("save: %v", err)
	}

	state := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(state, []byte("learned"), 0o600); err != nil {
		t.Fatal(err)
	}
	load(t, h, wasm.Config{State: state, Bytes: hostile{manifest: stateful,
		optional: map[string][]byte{"chaperone_observe": silent, "chaperone_save": code("\x42\x00"), "chaperone_restore": code(spin, 0)}}.module(t)})
	if !strings.Contains(log.String(), "plugin starts without what it had learned") || !strings.Contains(log.String(), "chaperone_restore: the plugin ran out of fuel") {
		t.Errorf("restore: the log says\n%s", log)
	}
}

// TestWhatIsSavedLiesInMemoryAndIsBounded has chaperone_save give places of every kind.
func TestWhatIsSavedLiesInMemoryAndIsBounded(t *testing.T) {
	h, _ := newHost(t)
	const memory = (16 + 31) << 16
	for name, c := range map[string]struct {
		at, size uint32
		is       error
	}{
		"nothing":                    {0, 0, nil},
		"all there may be":           {64, 1 << 20, nil},
		"a byte more":                {64, 1<<20 + 1, wasm.ErrState},
		"all that can be said":       {math.MaxUint32, math.MaxUint32, wasm.ErrState},
		"what passes the end":        {memory - 1, 2, wasm.ErrState},
		"what begins behind the end": {memory + 1, 1, wasm.ErrState},
		"nothing, far outside":       {math.MaxUint32, 0, wasm.ErrState},
	} {
		place := binary.AppendSigned([]byte{0x42}, int64(uint64(c.at)<<32|uint64(c.size)))
		p := load(t, h, wasm.Config{Bytes: hostile{manifest: stateful, optional: map[string][]byte{"chaperone_observe": code(0),
			"chaperone_save": code(31, growMem, drop, place)}}.module(t)})
		if err := p.Flush(context.Background()); !errors.Is(err, c.is) {
			t.Errorf("%s: %v, should be %v", name, err, c.is)
		}
		if _, err := p.ScoreTable(context.Background(), table(0, 1), 1); err != nil && !errors.Is(err, wasm.ErrBusy) {
			t.Errorf("%s: afterwards %v", name, err)
		}
	}
}

// TestMemoryMayGrowAtEveryCall has a plugin take a page more at each call until there is none: the arena moves with it.
func TestMemoryMayGrowAtEveryCall(t *testing.T) {
	h, _ := newHost(t)
	// The score of the first row is the memory's pages.
	score := code(1, growMem, drop, 1024, "\x28\x02\x18", 1024, "\x6a", "\x3f\x00\xb8\x39\x03\x00")
	p := load(t, h, wasm.Config{Bytes: hostile{score: score}.module(t), Pool: 1, Limits: wasm.Limits{MemoryPages: 100, Wait: patient.Wait}})
	for call := range 200 {
		got, err := p.ScoreTable(context.Background(), table(0, 1, 2), 2)
		if err != nil {
			t.Fatal(err)
		}
		if want := float64(min(17+call, 100)); got[0] != want || got[1] == got[1] {
			t.Fatalf("call %d: scores %v, should be %v pages and no opinion", call, got, want)
		}
	}
	if s := p.Stats(); s.Memory != 100<<16 {
		t.Errorf("it has %d bytes, should have 100 pages", s.Memory)
	}

	// It does not stay so: another takes its place, and no call goes without.
	for deadline := time.Now().Add(20 * time.Second); ; {
		got, err := p.ScoreTable(context.Background(), table(0, 1, 2), 2)
		if err != nil {
			t.Fatal(err)
		}
		if got[0] < 100 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %d calls it has the same instance", p.Stats().Calls)
		}
	}
	if s := p.Stats(); s.Calls < 4096 || s.Errors != 0 || s.Instances != 1 {
		t.Errorf("%+v", s)
	}
}

// TestWhatACallTookOfTheStackIsNotKept has a plugin call itself 1,500 deep with 2,000 values alive at each level: some 30 MB, which
// no limit of memory counts.
func TestWhatACallTookOfTheStackIsNotKept(t *testing.T) {
	h, _ := newHost(t)
	const values = 2000
	level := code("\x20\x00\x45\x04\x40", 0, "\x0f", end, bytes.Repeat(code(0, "\x28\x02\x00"), values), "\x20\x00", 1, "\x6b", call(firstExtra),
		bytes.Repeat([]byte("\x6a"), values))
	p := load(t, h, wasm.Config{Pool: 1, Bytes: hostile{score: code(1500, call(firstExtra), drop), extra: [][]byte{level}}.module(t)})
	before := heap()
	for range 3 {
		if _, err := p.ScoreTable(context.Background(), table(0, 1), 1); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.Stats(); s.MostFuel < 1500*2*values {
		t.Fatalf("it took %d instructions, not nearly as many as it should", s.MostFuel)
	}
	if kept := int64(heap()) - int64(before); kept > 4<<20 {
		t.Errorf("%d bytes are kept of it", kept)
	}
}

// TestAPluginThatFailsNowAndThenIsDisabledToo has one fail at every third call: each failure takes an instance.
func TestAPluginThatFailsNowAndThenIsDisabledToo(t *testing.T) {
	h, log := newHost(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 2})
	fails := 0
	for call := 0; !p.Disabled(); call++ {
		mode := -1.0
		if call%3 == 0 {
			mode = 0
		}
		_, err := p.ScoreTable(context.Background(), table(mode, 1), 1)
		if errors.Is(err, wasm.ErrTrap) {
			fails++
		} else if err != nil {
			t.Fatal(err)
		}
		if fails > 60 {
			t.Fatal("it was not disabled at its 60th failure")
		}
	}
	if fails != 60 || !strings.Contains(log.String(), "failures_within_a_minute=60") {
		t.Errorf("disabled at its failure %d, should be at the 60th:\n%s", fails, log)
	}
}

// TestAPluginThatCannotLearnIsDisabledAndSaysSoInFewLines lets one fail at whatever it is told.
func TestAPluginThatCannotLearnIsDisabledAndSaysSoInFewLines(t *testing.T) {
	h, log := newHost(t)
	p := load(t, h, wasm.Config{Bytes: hostile{manifest: stateful, optional: map[string][]byte{"chaperone_observe": code(2)}}.module(t)})
	for deadline := time.Now().Add(60 * time.Second); !p.Disabled(); {
		p.Observe(attempt(1))
		_ = p.Flush(context.Background()) // which is done by itself too, ten times a second
		if _, err := p.ScoreTable(context.Background(), table(0, 1), 1); err != nil && !errors.Is(err, wasm.ErrBusy) && !errors.Is(err, wasm.ErrDisabled) {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("not disabled: %+v", p.Stats())
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines > 60 {
		t.Errorf("it is told in %d lines:\n%s", lines, log)
	}
}

// TestASymbolicLinkIsFollowedAndAStateReplacesIt holds what is read to the link's target, and what is written to the link itself.
func TestASymbolicLinkIsFollowedAndAStateReplacesIt(t *testing.T) {
	h, _ := newHost(t)
	folder := t.TempDir()
	module, target, state := filepath.Join(folder, "plugin.wasm"), filepath.Join(folder, "target"), filepath.Join(folder, "state")
	if err := os.WriteFile(target, learner(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{module, state} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	p := load(t, h, wasm.Config{Path: module})
	observe(t, p, 1)
	p = load(t, h, wasm.Config{Path: module, State: state}) // which holds no state
	observe(t, p, 1)
	if text, err := os.ReadFile(target); err != nil || string(text) != string(learner(t)) {
		t.Errorf("what the link leads to was written to (%v)", err)
	}
	if text, err := os.ReadFile(state); err != nil || len(text) != 16 {
		t.Errorf("the state has %d bytes (%v)", len(text), err)
	}
}

// TestABorrowedStateIsReadAndNeverWritten lets a command look at what a router's plugin has learned.
func TestABorrowedStateIsReadAndNeverWritten(t *testing.T) {
	h, _ := newHost(t)
	state := filepath.Join(t.TempDir(), "state")
	p := load(t, h, wasm.Config{Bytes: learner(t), State: state})
	observe(t, p, 2)
	before, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	guest := load(t, h, wasm.Config{Bytes: learner(t), State: state, Borrowed: true})
	observe(t, guest, 5)
	if got := learned(t, guest); got != 2007 {
		t.Errorf("it scores %v, should be 2007", got)
	}
	if after, err := os.ReadFile(state); err != nil || string(after) != string(before) {
		t.Errorf("the state was written to (%v)", err)
	}
}

// TestAStateFollowsItsPluginToAnotherFile hands what was learned to a version that keeps it elsewhere, and learns nothing more.
func TestAStateFollowsItsPluginToAnotherFile(t *testing.T) {
	h, _ := newHost(t)
	folder := t.TempDir()
	p := load(t, h, wasm.Config{Bytes: learner(t), State: filepath.Join(folder, "old")})
	observe(t, p, 3)
	next, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: learner(t), State: filepath.Join(folder, "new"), Borrowed: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Inherit(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	next.Own()
	if err := next.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	again := load(t, h, wasm.Config{Bytes: learner(t), State: filepath.Join(folder, "new")})
	if got := learned(t, again); got != 1003 {
		t.Errorf("it scores %v, should be 1003", got)
	}
}

// TestAStateThatCouldNotBeWrittenIsWrittenLater has a file stand where the state's folder should.
func TestAStateThatCouldNotBeWrittenIsWrittenLater(t *testing.T) {
	h, _ := newHost(t)
	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: learner(t), State: filepath.Join(folder, "state")}); !errors.Is(err, wasm.ErrState) {
		t.Errorf("where the folder is a file: %v", err)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	p := load(t, h, wasm.Config{Bytes: learner(t), State: filepath.Join(folder, "state")})
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.Observe(attempt(4))
	if err := p.Flush(context.Background()); !errors.Is(err, wasm.ErrState) {
		t.Errorf("where it cannot be written: %v", err)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if state, err := os.ReadFile(filepath.Join(folder, "state")); err != nil || len(state) != 16 {
		t.Errorf("%d bytes: %v", len(state), err)
	}
}

// TestAFileThatIsReplacedWhileItIsLoadedIsWholeOrRefused writes a signed module and another over each other, in place, while both
// are loaded: what loads is what is signed.
func TestAFileThatIsReplacedWhileItIsLoadedIsWholeOrRefused(t *testing.T) {
	h, _ := newHost(t)
	key := newKey(t)
	trusted := wasm.TrustedKeys{"release": key.Public().(ed25519.PublicKey)}
	signed, other := fixture(t, "sum"), fixture(t, "sum", "0.1.0", "0.1.1")
	path := filepath.Join(t.TempDir(), "plugin.wasm")
	for file, text := range map[string][]byte{path: signed, path + wasm.SignatureSuffix: sign(t, signed, key)} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := load(t, h, wasm.Config{Path: path, Trusted: trusted}).Digest()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := os.WriteFile(path, [][]byte{other, signed}[i%2], 0o600); err != nil {
				t.Error(err)
			}
		}
	}()
	loaded, refused := 0, 0
	for deadline := time.Now().Add(20 * time.Second); (loaded < 20 || refused < 20) && time.Now().Before(deadline); {
		p, err := wasm.Load(context.Background(), h, wasm.Config{Path: path, Trusted: trusted, Pool: 1})
		if err != nil {
			refused++
			continue
		}
		loaded++
		if p.Digest() != want {
			t.Errorf("loaded %s, which nobody has signed", p.Digest())
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-stopped
	if loaded == 0 || refused == 0 {
		t.Errorf("%d loaded, %d refused: the test tells nothing", loaded, refused)
	}
}

// TestALineCostsWhatTheLogTakesForIt holds a plugin that prints as many lines as its fuel buys to some times what one takes that
// only spins.
func TestALineCostsWhatTheLogTakesForIt(t *testing.T) {
	h, _ := newHost(t)
	best := func(score []byte) time.Duration {
		p := load(t, h, wasm.Config{Bytes: hostile{score: score}.module(t), Pool: 1})
		best := time.Hour
		for range 8 { // ten failures would disable it
			began := time.Now()
			if _, err := p.ScoreTable(context.Background(), table(0, 1), 1); !errors.Is(err, wasm.ErrFuel) {
				t.Fatal(err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	spinning, printing := best(forever()), best(printing())
	t.Logf("%v spinning, %v printing", spinning, printing)
	if printing > 40*spinning { // some 150 where a line costs nothing
		t.Error("which is too much more")
	}
}
