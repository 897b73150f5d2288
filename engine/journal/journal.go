package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/telemetry"
)

// Fsync says when what the kernel has is forced to the disk. A process that is killed loses nothing in any of them; a machine
// that loses power loses what was not forced.
type Fsync string

// The choices.
const (
	Never    Fsync = "never"    // when a segment is sealed, and otherwise when the kernel likes
	Interval Fsync = "interval" // every second
	Always   Fsync = "always"   // before the answer ends
)

// OnFull says what happens while the journal cannot be written.
type OnFull string

// The choices.
const (
	Stop OnFull = "stop" // no further request is served; records of those in flight wait in memory
	Drop OnFull = "drop" // requests are served, their records lost, counted and told of
)

// Options is how a journal is kept.
type Options struct {
	Keep int    // decisions kept in memory, at least 1
	Dir  string // "": memory is all there is, and nothing below counts

	Fsync        Fsync         // Interval where empty
	OnFull       OnFull        // Stop where empty
	SegmentBytes int64         // after which a segment is sealed; 64 MiB where 0
	SegmentAge   time.Duration // likewise; a day where 0
	Retention    time.Duration // after which sealed segments are removed; 0: never

	AnchorURL     string   // gets every checkpoint as a POST of JSON
	AnchorCommand []string // is run with every checkpoint as JSON on its standard input

	TimestampURL   string        // of an authority (RFC 3161) that stamps the newest checkpoint
	TimestampEvery time.Duration // how often; an hour where 0

	DecisionLogURL   string // gets decisions in the form of OPA's decision log
	DecisionLogToken string // bearer token for it

	Log *slog.Logger // slog.Default where nil
}

// Journal keeps records. It is safe for concurrent use.
type Journal struct {
	o      Options
	recent *Recent

	// What follows is only there where Dir is set.

	lock   *os.File
	claims *claimKeys
	events *decisionLog // nil where there is none
	anchor *anchor      // nil where there is none
	stamps *stamper     // nil where there is none

	mu      sync.Mutex
	pending *batch

	token      chan struct{} // whoever holds it writes
	tape       *tape         // the holder's
	inForce    string        // likewise: digest of what decides
	unarchived []unarchived  // likewise: what decides or did, and is not in the archive yet

	// By what believed judges the clock; its callers hold packing, from the start on.
	left   time.Time // the latest moment that it has shown in earlier runs, or a later one at which it was believed; zero: there were no earlier runs
	leftAt time.Time // when that was, or this run began

	configuration sync.Map               // generation → digest
	fault         atomic.Pointer[faulty] // nil: all is well
	dropped       atomic.Uint64          // records, since the start
	written       atomic.Uint64          // likewise
	closing       chan struct{}
	background    sync.WaitGroup
	packing       sync.Mutex
}

// faulty is why the journal cannot be written, and since when.
type faulty struct {
	err   error
	since time.Time
}

// unarchived is a list of artefacts, by its digest, and their contents by theirs.
type unarchived struct {
	list     string
	contents map[string][]byte
}

// batch is records that are written together.
type batch struct {
	entries []entry
	done    chan struct{} // closed when they are written, or cannot be
}

type entry struct {
	at      time.Time // of the record
	seen    *Seen
	catalog string // whose rows the body has as numbers; "": none
	body    []byte
}

// Open makes the folder, or goes on with one: what a crash has left unfinished at its end is set aside and told of. Close it.
func Open(o Options) (*Journal, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Fsync == "" {
		o.Fsync = Interval
	}
	if o.OnFull == "" {
		o.OnFull = Stop
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.TimestampEvery <= 0 {
		o.TimestampEvery = time.Hour
	}
	if o.SegmentAge <= 0 {
		o.SegmentAge = 24 * time.Hour
	}
	j := &Journal{o: o, recent: NewRecent(o.Keep)}
	if o.Dir == "" {
		return j, nil
	}
	if err := j.open(); err != nil {
		return nil, fmt.Errorf("the journal cannot be opened: %w", err)
	}
	return j, nil
}

func (j *Journal) open() (err error) {
	dir := j.o.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if j.lock, err = lock(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			j.lock.Close()
		}
	}()
	signer, err := openSigner(dir)
	if err != nil {
		return err
	}
	end, err := findEnd(dir, j.o.Log)
	if err != nil {
		return err
	}
	j.left, j.leftAt = end.latest, time.Now()
	j.tape = &tape{dir: dir, signer: signer, at: end.at, number: end.last, latest: end.latest, linker: newLinker(), always: j.o.Fsync == Always}
	if err := j.tape.start(time.Now()); err != nil {
		return err
	}
	for _, e := range end.found {
		j.tape.event(e)
	}
	j.tape.checkpoint(time.Now())
	if err := j.tape.flush(); err != nil {
		return errors.Join(err, j.tape.file.Close())
	}
	j.claims = newClaimKeys(dir)
	j.token, j.pending, j.closing = make(chan struct{}, 1), newBatch(), make(chan struct{})
	if j.o.AnchorURL != "" || len(j.o.AnchorCommand) > 0 {
		j.anchor = newAnchor(j.o.AnchorURL, j.o.AnchorCommand, anchorsWaiting, j.o.Log)
		j.tape.anchor = j.anchor
	}
	if j.o.TimestampURL != "" {
		j.stamps = newStamper(dir, j.o.TimestampURL, j.o.TimestampEvery, j.o.Log)
		j.tape.stamps = j.stamps
	}
	if j.o.DecisionLogURL != "" {
		j.events = newDecisionLog(j.o.DecisionLogURL, j.o.DecisionLogToken, signer.replica, logsWaiting, j.o.Log)
	}
	j.background.Add(1)
	go j.tend()
	j.background.Add(1)
	go j.tidy()
	return nil
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// room is what a record is written in, so that writing one makes no garbage.
type room struct {
	body   []byte // of its frame
	claims []byte // its id, and its claims in the clear
	box    []byte // these as they are sealed
	sealed []byte // JSON of Sealed
}

var rooms = sync.Pool{New: func() any { return &room{body: make([]byte, 0, 8<<10)} }}

// Append keeps a record, which must not be changed afterwards, and returns when the kernel has it (with Always: the disk), or
// when it cannot be written just now; see Ready. seen
// is what its decision read, nil for none.
func (j *Journal) Append(rec *Record, seen *Seen) {
	if j.tape == nil {
		j.recent.Append(rec)
		return
	}
	if digest, ok := j.configuration.Load(rec.Generation); ok {
		rec.Configuration = digest.(string)
	}
	j.recent.Append(rec)
	in := rooms.Get().(*room)
	defer rooms.Put(in)
	e := entry{at: rec.At, seen: seen}
	if seen != nil && rec.known(seen.Rows) {
		e.catalog = rec.Catalog
	}
	var sealed []byte
	if rec.Claims != nil {
		if err := j.claims.seal(rec, in); err != nil {
			// Claims that cannot be sealed are not written at all: in the clear they could not be erased any more.
			j.o.Log.Error("the journal cannot seal what a caller said of itself; it is lost", "decision", rec.ID, "error", err)
		}
		sealed = in.sealed
	}
	in.body = rec.appendFrame(in.body[:0], sealed, e.catalog != "")
	e.body = in.body
	if j.events != nil {
		j.events.add(rec)
	}
	j.mu.Lock()
	b := j.pending
	b.entries = append(b.entries, e)
	j.mu.Unlock()
	select {
	case j.token <- struct{}{}:
		j.commit()
		<-j.token
	case <-b.done:
	}
}

// commit writes what is pending. The caller holds the token.
func (j *Journal) commit() {
	j.mu.Lock()
	b := j.pending
	if len(b.entries) > 0 {
		j.pending = newBatch()
	} else {
		b = &batch{} // that one stays pending, and may be added to from here on
	}
	j.mu.Unlock()
	if len(b.entries) > 0 {
		defer close(b.done)
	}
	t := j.tape
	before, told := t.at, t.toldDropped
	if lost := j.dropped.Load(); lost > told {
		t.event(Event{What: Dropped, Count: lost - told})
		t.toldDropped = lost
	}
	for i := range b.entries {
		t.decision(&b.entries[i])
	}
	if t.sinceCheckpoint >= checkpointEvery {
		t.checkpoint(time.Now())
	}
	if len(t.out) == 0 {
		return // which says nothing of the disk
	}
	if err := t.flush(); err != nil {
		t.toldDropped = told
		j.failed(err, before)
		return
	}
	j.recovered()
	if t.size >= j.o.SegmentBytes {
		j.rotate()
	}
}

const checkpointEvery = 1000 // records

// failed takes note that what follows before could not be written.
func (j *Journal) failed(err error, before chain) {
	if j.o.OnFull == Drop {
		j.dropped.Add(j.tape.discard(before))
	}
	if j.fault.Swap(&faulty{err, time.Now()}) != nil {
		return
	}
	if j.o.OnFull == Drop {
		j.o.Log.Error("THE JOURNAL CANNOT BE WRITTEN and on_full is drop: requests are served WITHOUT A RECORD until it can", "error", err)
	} else {
		j.o.Log.Error("THE JOURNAL CANNOT BE WRITTEN and on_full is stop: requests are refused until it can", "error", err)
	}
}

func (j *Journal) recovered() {
	j.written.Store(j.tape.written)
	if j.owes() {
		return
	}
	if f := j.fault.Swap(nil); f != nil {
		j.o.Log.Warn("the journal can be written again", "after", time.Since(f.since).Round(time.Millisecond), "records_lost", j.dropped.Load())
	}
}

// Ready says why no request may be served; nil where one may.
func (j *Journal) Ready() error {
	if f := j.fault.Load(); f != nil && j.o.OnFull == Stop {
		return f.err
	}
	return nil
}

// Counts says how the journal is doing, since the start.
func (j *Journal) Counts() telemetry.JournalCounts {
	return telemetry.JournalCounts{Written: j.written.Load(), Dropped: j.dropped.Load(), Failing: j.fault.Load() != nil}
}

// OnDisk says whether the journal outlives the process.
func (j *Journal) OnDisk() bool { return j.tape != nil }

// Configure archives what decides from now on. The contents in files are archived as they are: they may hold no secret. Only the first
// call has an error: later ones change what decides, which a full disk must not keep from being changed. They are made up for; until
// then, with Stop, no request is served.
func (j *Journal) Configure(a Artefacts, files map[string][]byte) error {
	if j.tape == nil {
		return nil
	}
	now := time.Now().UTC()
	a.At, a.Files = &now, make(map[string]string, len(files))
	contents := make(map[string][]byte, len(files)+1)
	for name, content := range files {
		digest := digestOf(content)
		a.Files[name], contents[digest] = digest, content
	}
	digest, list := a.list()
	contents[digest] = list
	err := archive(j.o.Dir, contents)
	j.token <- struct{}{}
	defer func() { <-j.token }()
	if err != nil && j.tape.artefacts == nil {
		return fmt.Errorf("the journal cannot archive what decides: %w", err)
	}
	j.configuration.Store(a.Generation, digest)
	j.inForce = digest
	before := j.tape.at
	if err != nil {
		j.unarchived = append(j.unarchived, unarchived{digest, contents})
		err = fmt.Errorf("what decides cannot be archived: %w", err)
		if j.o.OnFull == Stop {
			j.failed(err, before)
		} else {
			j.o.Log.Error("the journal cannot keep what it takes to make decisions again; it is tried until it can", "error", err)
		}
	}
	j.tape.configure(&a)
	if err := j.tape.flush(); err != nil {
		j.failed(err, before)
	} else {
		j.recovered() // where it is back to what is archived
	}
	return nil
}

// owes says whether what is in force is not archived. What was, and is no more, is tried for as well, but keeps nobody waiting. The
// caller holds the token.
func (j *Journal) owes() bool {
	return slices.ContainsFunc(j.unarchived, func(u unarchived) bool { return u.list == j.inForce })
}

// archiveLate archives what could not be when it came into force, and says whether what is in force now is, and was not before. The
// caller holds the token.
func (j *Journal) archiveLate() bool {
	owed := j.owes()
	j.unarchived = slices.DeleteFunc(j.unarchived, func(u unarchived) bool { return archive(j.o.Dir, u.contents) == nil })
	return owed && !j.owes()
}

// tend does what time calls for.
func (j *Journal) tend() {
	defer j.background.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-j.closing:
			return
		case now := <-tick.C:
			j.second(now)
		}
	}
}

func (j *Journal) second(now time.Time) {
	j.token <- struct{}{}
	t := j.tape
	late := j.archiveLate()
	j.commit() // what waits since it could not be written
	if (t.sinceCheckpoint > 0 || late) && len(t.out) == 0 {
		before := t.at
		t.checkpoint(now)
		if err := t.flush(); err != nil {
			j.failed(err, before)
		} else {
			j.recovered()
		}
	}
	if now.Sub(t.started) >= j.o.SegmentAge && t.decisions > 0 && j.fault.Load() == nil {
		j.rotate()
	}
	file, dirty := t.file, t.dirty
	t.dirty = false
	<-j.token
	if j.o.Fsync == Interval && dirty {
		// Without the token: nobody waits for the disk. A segment that was sealed meanwhile has been synced.
		if err := file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
			j.o.Log.Error("the journal cannot be forced to the disk; what was written lately may not outlive a loss of power", "error", err)
		}
	}
}

// rotate seals the segment and begins the next. Where that is impossible, the segment grows on.
func (j *Journal) rotate() {
	if err := j.tape.next(time.Now()); err != nil {
		j.o.Log.Error("the journal cannot begin a segment; the last one grows on", "error", err)
		j.tape.started = time.Now() // tried again after as long
		return
	}
	j.background.Add(1)
	go j.tidy()
}

// tidy removes segments past their retention and packs the others that are sealed.
func (j *Journal) tidy() {
	defer j.background.Done()
	j.packing.Lock()
	defer j.packing.Unlock()
	past, err := expired(j.o.Dir, j.o.Retention, j.believed(time.Now()))
	if len(past) > 0 {
		last := past[len(past)-1].number
		j.o.Log.Info("segments of the journal are past their retention and are removed", "up_to_segment", last)
		j.token <- struct{}{} // first said, then done: segments that are gone without a word are a finding
		before := j.tape.at
		j.tape.event(Event{What: Expired, Segment: last})
		if failed := j.tape.flush(); failed != nil {
			j.failed(failed, before)
			past = nil
		}
		<-j.token
	}
	if err = errors.Join(err, remove(past), packSealed(j.o.Dir)); err != nil {
		j.o.Log.Error("the journal cannot pack or remove sealed segments", "error", err)
	}
}

// believed is the time that retention goes by. A clock that is further ahead of where earlier runs have left it than retention would
// make all of them old at once: then it is the time at which they ended, and that since, by a clock that nobody sets. That one
// stands still while the machine sleeps: each time that is believed is where the next is counted from, so that many short sleeps do not
// add up.
func (j *Journal) believed(now time.Time) time.Time {
	if j.left.IsZero() {
		return now
	}
	least := j.left.Add(now.Sub(j.leftAt))
	ahead := now.Round(0).Sub(least.Round(0))
	if j.o.Retention > 0 && ahead > j.o.Retention {
		j.o.Log.Error("THE CLOCK IS AHEAD of where the journal was left by more than its retention: nothing is removed as old by what it shows. Where it is right, because nothing was recorded for as long, the next start goes by it",
			"clock", now.UTC().Format(time.RFC3339), "journal_left", j.left.UTC().Format(time.RFC3339), "ahead", ahead.Round(time.Second), "retention", j.o.Retention)
		return least
	}
	if ahead > 0 { // one that was set back will be put right
		j.left, j.leftAt = now, now
	}
	return now
}

// Get is the record of a decision, from memory or from the folder's latest segments; nil where it is in neither.
func (j *Journal) Get(id string) (*Record, error) {
	if rec := j.recent.Get(id); rec != nil || j.tape == nil {
		return rec, nil
	}
	d, ok := parseID(id)
	if !ok {
		return nil, nil
	}
	if rec, err := j.current(d); rec != nil || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return rec, err
	} // else it is in a segment that is sealed, or has been packed since
	return Find(j.o.Dir, id)
}

// current is the record of a decision in the segment that is written; nil where it is not there.
func (j *Journal) current(d decision) (*Record, error) {
	var path string
	find := func(id decision) ([]byte, error) {
		j.token <- struct{}{}
		at, here := j.tape.index[id]
		now := j.tape.file.Name()
		<-j.token
		if path == "" {
			path = now
		}
		if !here || now != path {
			return nil, nil
		}
		return frameAt(path, at)
	}
	frame, err := find(d)
	if frame == nil || err != nil {
		return nil, err
	}
	rec, err := found(j.claims, frame, find)
	if errors.Is(err, errCandidates) && path != "" {
		return nil, nil // it was sealed meanwhile
	}
	return rec, err
}

// Close writes a last checkpoint and lets go of the folder. No Append may follow.
func (j *Journal) Close() error {
	if j.tape == nil {
		return nil
	}
	close(j.closing)
	j.background.Wait()
	j.token <- struct{}{}
	j.archiveLate()
	j.commit()
	t := j.tape
	if t.sinceCheckpoint > 0 {
		t.checkpoint(time.Now())
	}
	err := errors.Join(t.flush(), t.file.Sync(), t.file.Close())
	if len(j.unarchived) > 0 {
		err = errors.Join(err, errors.New("part of what has decided could not be archived: those decisions cannot be made again"))
	}
	if j.anchor != nil {
		j.anchor.close()
	}
	if j.stamps != nil {
		j.stamps.close()
	}
	if j.events != nil {
		j.events.close()
	}
	if err != nil {
		err = fmt.Errorf("the journal was not closed well: %w", err)
	}
	return errors.Join(err, j.lock.Close())
}
