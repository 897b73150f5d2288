package journal

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// tape is the segment that is written.
type tape struct {
	dir    string
	signer *signer
	linker linker
	anchor *anchor  // nil where there is none
	stamps *stamper // nil where there is none
	always bool     // every flush is forced to the disk

	at     chain  // behind the last frame
	number uint64 // of the segment
	file   *os.File
	size   int64  // of the file: what is written
	out    []byte // frames that are not
	ready  []Checkpoint

	started         time.Time
	latest          time.Time // that the clock has shown while the journal was written
	teller          teller
	index           map[decision]int64 // offsets in the segment
	artefacts       *Artefacts         // in force
	toldArtefacts   bool               // they stand in the segment
	sinceCheckpoint int                // records
	decisions       int                // in the segment
	waiting         uint64             // records in out
	written         uint64             // records, since the start
	dirty           bool               // something was written since the last sync
	toldDropped     uint64
}

func (t *tape) frame(kind byte, fill func([]byte) []byte) {
	start := len(t.out)
	t.out = appendFrame(t.out, kind, fill)
	t.linker.add(&t.at, t.out[start:])
}

func (t *tape) json(kind byte, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("journal: " + err.Error()) // only numbers, strings and times are in there
	}
	t.frame(kind, func(b []byte) []byte { return append(b, body...) })
}

func (t *tape) event(e Event) {
	e.At = time.Now().UTC()
	t.json(kindEvent, e)
}

// configure says what decides from here on; each segment does, for when older ones are gone.
func (t *tape) configure(a *Artefacts) {
	t.artefacts, t.toldArtefacts = a, true
	t.json(kindArtefacts, a)
}

func (t *tape) checkpoint(now time.Time) {
	c := t.signer.sign(t.at, now)
	t.latest = later(t.latest, c.At)
	t.json(kindCheckpoint, c)
	t.sinceCheckpoint = 0
	t.ready = append(t.ready, c)
}

func (t *tape) decision(e *entry) {
	if t.artefacts != nil && !t.toldArtefacts {
		t.configure(t.artefacts)
	}
	if e.catalog != "" && !t.teller.rows[e.catalog] {
		t.teller.rows[e.catalog] = true
		t.index[rowsID(e.catalog)] = t.size + int64(len(t.out))
		t.json(kindRows, namesOf(e.catalog, e.seen.Rows))
	}
	if body := t.teller.news(e.seen); body != nil {
		t.frame(kindStatistics, func(b []byte) []byte { return append(b, body...) })
	}
	start := len(t.out)
	t.frame(kindDecision, func(b []byte) []byte { return append(b, e.body...) })
	if id, ok := frameID(t.out[start:]); ok {
		t.index[id] = t.size + int64(start)
	}
	t.latest = later(t.latest, e.at)
	t.sinceCheckpoint++
	t.decisions++
	t.waiting++
}

// flush writes what is not written yet. After an error it is all still there, to be written over what got through in part.
func (t *tape) flush() error {
	if len(t.out) > 0 {
		if _, err := t.file.WriteAt(t.out, t.size); err != nil {
			return err
		}
	}
	if t.always && len(t.out) > 0 {
		if err := t.file.Sync(); err != nil {
			return err
		}
	}
	t.dirty = t.dirty || len(t.out) > 0
	t.size += int64(len(t.out))
	t.written, t.waiting = t.written+t.waiting, 0
	t.out = t.out[:0]
	if cap(t.out) > 1<<20 {
		t.out = nil // it has been a long wait
	}
	for _, c := range t.ready {
		if t.anchor != nil {
			t.anchor.add(c)
		}
		if t.stamps != nil {
			t.stamps.add(c)
		}
	}
	t.ready = t.ready[:0]
	return nil
}

// discard forgets what is not written and says how many records that were; before is where it begins.
func (t *tape) discard(before chain) (records uint64) {
	records, t.waiting = t.waiting, 0
	t.at = before
	t.out, t.ready = t.out[:0], t.ready[:0]
	t.teller, t.toldArtefacts = newTeller(), false // what was told may be lost
	t.sinceCheckpoint = max(t.sinceCheckpoint, 1)
	for id, at := range t.index {
		if at >= t.size {
			delete(t.index, id)
		}
	}
	t.file.Truncate(t.size) // what got through in part; where even that fails, the next to be written lies over it
	return records
}

// start begins a segment behind t.at.
func (t *tape) start(now time.Time) error {
	path := filepath.Join(t.dir, segmentName(t.number+1, plainSuffix))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	body, err := json.Marshal(header{Version: version, Segment: t.number + 1, Count: t.at.count,
		Previous: hex.EncodeToString(t.at.head[:]), Replica: t.signer.replica, Key: t.signer.public, At: now.UTC(), Latest: t.latest.UTC()})
	if err != nil {
		panic("journal: " + err.Error()) // numbers, strings and a time
	}
	first := appendFrame(nil, kindHeader, func(b []byte) []byte { return append(b, body...) })
	if _, err = f.Write(first); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncFolder(t.dir)
	}
	if err != nil {
		f.Close()
		os.Remove(path) // else the next attempt could not make it
		return err
	}
	t.number++
	t.file, t.size, t.started, t.latest = f, int64(len(first)), now, later(t.latest, now)
	t.linker.add(&t.at, first)
	t.teller, t.index, t.decisions, t.toldArtefacts = newTeller(), map[decision]int64{}, 0, false
	return nil
}

// next seals the segment, all of which is written, and begins another.
func (t *tape) next(now time.Time) error {
	t.checkpoint(now)
	if err := t.flush(); err != nil {
		return err
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	old := t.file
	if err := t.start(now); err != nil {
		return err
	}
	return old.Close()
}
