package journal

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Report is what verification found. The journal holds where Problems is empty.
type Report struct {
	Dir         string    `json:"dir"`
	Replica     string    `json:"replica"`
	Key         string    `json:"key"` // public, of the checkpoints
	Segments    int       `json:"segments"`
	Frames      uint64    `json:"frames"` // since the journal began, removed ones too
	Records     int       `json:"records"`
	Checkpoints int       `json:"checkpoints"`
	First       time.Time `json:"first"` // when the first segment that is there began
	// LastCheckpoint is the last signed statement; what follows it is protected by checksums alone.
	LastCheckpoint *Checkpoint `json:"last_checkpoint,omitempty"`
	Unprotected    int         `json:"unprotected_records"` // behind LastCheckpoint
	Confirmed      int         `json:"confirmed"`           // checkpoints from outside with which the journal agrees
	// Stamped is how many checkpoints beside the journal have been stamped by an authority that is trusted, and agree; Unchecked,
	// how many have been stamped by one that nobody has named as such. StampedAt is the last trusted stamp's time.
	Stamped   int        `json:"stamped"`
	Unchecked int        `json:"stamps_unchecked"`
	StampedAt *time.Time `json:"stamped_at,omitempty"`
	Notices   []string   `json:"notices,omitempty"`
	Problems  []Problem  `json:"problems"`
}

// Problem is something that should not be.
type Problem struct {
	File    string `json:"file"`
	Offset  int    `json:"offset,omitempty"` // in the segment, unpacked
	Message string `json:"message"`
}

func (p Problem) String() string {
	if p.Offset > 0 {
		return fmt.Sprintf("%s, byte %d: %s", p.File, p.Offset, p.Message)
	}
	return p.File + ": " + p.Message
}

// Trust is what is known from elsewhere.
type Trust struct {
	Checkpoints []Checkpoint   // as anchoring handed them out
	Key         string         // public, hex; "": that of Checkpoints, or else the journal's own, which proves less
	Authorities *x509.CertPool // whose time stamps count; nil: nobody's
}

// Verify reads all of a journal: frames, chain, signatures, archived artefacts, and whether it agrees with what is trusted.
// A router may be writing it meanwhile. The error is of reading; what is wrong is in the report.
func Verify(dir string, trust Trust) (*Report, error) {
	all, err := segments(dir)
	if err != nil {
		return nil, err
	}
	v := &verifier{dir: dir, report: &Report{Dir: dir, Problems: []Problem{}}, linker: newLinker(), files: map[string]string{}}
	v.take(trust)
	v.stamps(trust)
	if len(all) == 0 {
		v.problem(dir, 0, "holds no segment")
	}
	for i := range all {
		v.segment(&all[i], i == 0, i+1 == len(all))
	}
	v.finish(all)
	return v.report, nil
}

// stamped is a checkpoint beside the journal, with when it was stamped.
type stamped struct {
	Checkpoint
	path    string
	at      time.Time
	trusted bool
}

// named are the files of the folder that a pattern names, whatever the folder's own name is.
func (v *verifier) named(pattern string) []string {
	paths, _ := fs.Glob(os.DirFS(v.dir), pattern) // the pattern is right, and what cannot be read is passed over
	for i := range paths {
		paths[i] = filepath.Join(v.dir, paths[i])
	}
	return paths
}

// stamps reads the stamps beside the journal. They are held to the chain as checkpoints from outside are.
func (v *verifier) stamps(t Trust) {
	for _, path := range v.named("timestamps/*.json") { // sorted, and so by count
		s, err := readStamp(path, t.Authorities)
		if err != nil {
			v.problem(path, 0, "%v", err)
			continue
		}
		v.stamped = append(v.stamped, *s)
	}
}

func readStamp(path string, authorities *x509.CertPool) (*stamped, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := stamped{path: path}
	if err := json.Unmarshal(text, &s.Checkpoint); err != nil {
		return nil, err
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	answer, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".tsr")
	if errors.Is(err, fs.ErrNotExist) {
		return &s, nil // the router ended between the two
	}
	if err != nil {
		return nil, err
	}
	token, err := parseStamp(answer, text)
	if err != nil {
		return nil, err
	}
	s.at = token.info.Time
	if authorities != nil {
		if err := token.check(authorities); err != nil {
			return nil, err
		}
		s.trusted = true
	}
	return &s, nil
}

type verifier struct {
	dir    string
	report *Report
	linker linker

	at      chain
	broken  bool // where at is, is not known: a frame before could not be read
	key     string
	trusted bool
	outside []Checkpoint
	next    int // of outside
	stamped []stamped
	files   map[string]string // digest of an artefact → where it is named
	lost    int               // records whose claims could not be sealed
	expired uint64            // segments up to it were removed, as the journal says
	missing []uint64
	started uint64 // number of the segment before
}

func (v *verifier) problem(path string, offset int, format string, args ...any) {
	v.report.Problems = append(v.report.Problems, Problem{filepath.Base(path), offset, fmt.Sprintf(format, args...)})
}

func (v *verifier) take(t Trust) {
	v.outside = slices.Clone(t.Checkpoints)
	slices.SortStableFunc(v.outside, func(a, b Checkpoint) int {
		if a.Count == b.Count {
			return 0
		}
		return compare(a.Count, b.Count)
	})
	v.key, v.trusted = t.Key, t.Key != ""
	v.outside = slices.DeleteFunc(v.outside, func(c Checkpoint) bool {
		if v.key == "" {
			v.key, v.trusted = c.Key, true
		}
		err := c.Check()
		if err == nil && c.Key != v.key {
			err = fmt.Errorf("it is signed with %s, and %s is expected", c.Key, v.key)
		}
		if err != nil {
			v.problem("checkpoints", 0, "the checkpoint of %s after %d frames: %v", c.At.Format(time.RFC3339), c.Count, err)
		}
		return err != nil
	})
}

func (v *verifier) segment(s *segment, first, last bool) {
	v.report.Segments++
	data, err := s.read()
	if err != nil {
		v.problem(s.path, 0, "%v", err)
		v.broken, v.started = true, s.number
		return
	}
	h, frame, err := readHeader(s.path, data)
	if err != nil {
		v.problem(s.path, 0, "%s", strings.TrimPrefix(err.Error(), s.path+": "))
		v.broken, v.started = true, s.number
		return
	}
	begins, err := h.chain()
	if err != nil {
		v.problem(s.path, 0, "%v", err)
	}
	v.continues(s, h, begins, first)
	v.started, v.at, v.broken = s.number, begins, false
	v.confirm(s.path, 0)
	v.linker.add(&v.at, frame)
	for at := len(frame); at < len(data); {
		v.confirm(s.path, at)
		frame, err := nextFrame(data[at:])
		if err != nil {
			if last && v.beingWritten() {
				v.notice("%s is being written: its last %d bytes are not whole yet", filepath.Base(s.path), len(data)-at)
				return
			}
			v.problem(s.path, at, "%v; nothing behind it in this segment can be believed", err)
			v.broken = true
			return
		}
		v.frame(s.path, at, frame)
		v.linker.add(&v.at, frame)
		at += len(frame)
	}
	v.confirm(s.path, len(data))
}

// continues holds a segment's beginning to the end of the one before it.
func (v *verifier) continues(s *segment, h *header, begins chain, first bool) {
	if h.Segment != s.number {
		v.problem(s.path, 0, "is segment %d by its header: it was renamed or exchanged", h.Segment)
	}
	if !v.trusted && v.key != "" && h.Key != v.key {
		v.problem(s.path, 0, "is signed with key %s, and the segment before it with %s", h.Key, v.key)
	}
	if v.key == "" {
		v.key = h.Key
	}
	if v.trusted && h.Key != v.key {
		v.problem(s.path, 0, "is signed with key %s, and %s is expected", h.Key, v.key)
	}
	if first {
		v.report.Replica, v.report.Key, v.report.First = h.Replica, h.Key, h.At
		if s.number > 1 {
			v.missing = append(v.missing, s.number-1) // retention may have removed it: see finish
		} else if begins != (chain{}) {
			v.problem(s.path, 0, "is the first segment and says that frames came before it")
		}
		return
	}
	switch {
	case s.number != v.started+1:
		v.problem(s.path, 0, "follows segment %d: %d segments between them are missing", v.started, s.number-v.started-1)
	case !v.broken && begins != v.at:
		v.problem(s.path, 0, "does not continue segment %d, which has %d frames with the head %x: it expects %d with %x; one of the two was changed, cut or exchanged",
			v.started, v.at.count, v.at.head, begins.count, begins.head)
	}
}

// confirm holds checkpoints from outside, and those that were stamped, to the chain as far as it has come.
func (v *verifier) confirm(path string, offset int) {
	for len(v.stamped) > 0 && v.stamped[0].Count <= v.at.count {
		s := v.stamped[0]
		v.stamped = v.stamped[1:]
		switch {
		case s.Count < v.at.count || s.at.IsZero():
		case s.Head != hex.EncodeToString(v.at.head[:]) || s.Key != v.key:
			v.problem(path, offset, "the first %d frames are not those of the checkpoint that was stamped at %s: something before this place was changed", s.Count, s.at.Format(time.RFC3339))
		case s.trusted:
			v.report.Stamped++
			v.report.StampedAt = &s.at
		default:
			v.report.Unchecked++
		}
	}
	for v.next < len(v.outside) && v.outside[v.next].Count <= v.at.count {
		c := v.outside[v.next]
		v.next++
		switch {
		case c.Count < v.at.count:
			v.notice("the checkpoint of %s is about frames that are not there to be compared", c.At.Format(time.RFC3339))
		case c.Head != hex.EncodeToString(v.at.head[:]):
			v.problem(path, offset, "the first %d frames are not those of the checkpoint of %s: something before this place was changed", c.Count, c.At.Format(time.RFC3339))
		default:
			v.report.Confirmed++
		}
	}
}

func (v *verifier) frame(path string, at int, frame []byte) {
	body := frame[frameHead+1:]
	var err error
	switch frame[frameHead] {
	case kindDecision:
		v.report.Records++
		v.report.Unprotected++
		err = v.record(body)
	case kindStatistics, kindRows:
	case kindCheckpoint:
		err = v.checkpoint(body)
	case kindArtefacts:
		var a Artefacts
		if err = json.Unmarshal(body, &a); err == nil {
			for name, digest := range a.Files {
				v.files[digest] = name
			}
			digest, _ := a.list()
			v.files[digest] = "the list of artefacts"
		}
	case kindEvent:
		var e Event
		if err = json.Unmarshal(body, &e); err == nil {
			v.event(&e)
		}
	default:
		err = fmt.Errorf("a frame of kind %q, which there is not", frame[frameHead])
	}
	if err != nil {
		v.problem(path, at, "%v", err)
	}
}

// record counts claims that are lost. Those that are there are held by the chain, and their keys in keys.
func (v *verifier) record(body []byte) error {
	var r struct {
		Sealed        *Sealed `json:"sealed_claims"`
		Configuration string  `json:"configuration_digest"`
	}
	text, _, ok := bytes.Cut(body, []byte{'\n'})
	if !ok || json.Unmarshal(text, &r) != nil {
		return errors.New("the record is no JSON with its candidates")
	}
	if r.Sealed != nil && r.Sealed.Box == "" {
		v.lost++
	}
	if d := r.Configuration; d != "" && v.files[d] == "" {
		v.files[d] = "the configuration of a decision"
	}
	return nil
}

// keys holds the keys to claims to their checksums.
func (v *verifier) keys() {
	for _, path := range v.named("claim-keys/*/*.key") {
		if _, err := readClaimKey(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // one may be erased meanwhile
			v.problem(path, 0, "%v; what callers said of themselves under it cannot be read", err)
		}
	}
}

func (v *verifier) checkpoint(body []byte) error {
	var c Checkpoint
	if err := json.Unmarshal(body, &c); err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return err
	}
	if c.Key != v.key {
		return fmt.Errorf("the checkpoint is signed with %s, and %s is expected", c.Key, v.key)
	}
	if c.Count != v.at.count || c.Head != hex.EncodeToString(v.at.head[:]) {
		return fmt.Errorf("the checkpoint is of %d frames with the head %s, and before it stand %d with %x: something was changed, removed or put in",
			c.Count, c.Head, v.at.count, v.at.head)
	}
	if last := v.report.LastCheckpoint; last != nil && last.At.Sub(c.At) > time.Second {
		v.notice("the clock went back by %s after %s: times do not tell the order of what is around there", last.At.Sub(c.At).Round(time.Second), last.At.Format(time.RFC3339))
	}
	v.report.Checkpoints++
	v.report.LastCheckpoint, v.report.Unprotected = &c, 0
	return nil
}

func (v *verifier) event(e *Event) {
	at := e.At.Format(time.RFC3339)
	switch e.What {
	case Expired:
		v.expired = max(v.expired, e.Segment)
	case Dropped:
		v.notice("%s: %d requests were served without a record, because the journal could not be written and on_full is drop", at, e.Count)
	case Recovered:
		v.notice("%s: the last %d bytes of segment %d were set aside when the router started: %s", at, e.Bytes, e.Segment, e.Detail)
	}
}

func (v *verifier) notice(format string, args ...any) {
	v.report.Notices = append(v.report.Notices, fmt.Sprintf(format, args...))
}

func (v *verifier) finish(all []segment) {
	v.report.Frames = v.at.count
	for _, n := range v.missing {
		if v.expired >= n {
			v.notice("segments up to %d were past their retention and are gone", n)
		} else {
			v.problem(all[0].path, 0, "segments 1 to %d are missing, and the journal does not say that it removed them", n)
		}
	}
	for _, s := range v.stamped {
		if !s.at.IsZero() {
			v.problem(s.path, 0, "the journal ends after %d frames; the checkpoint that was stamped at %s was made after %d: its end was cut off", v.at.count, s.at.Format(time.RFC3339), s.Count)
		}
	}
	for ; v.next < len(v.outside); v.next++ {
		c := v.outside[v.next]
		v.problem(v.dir, 0, "the journal ends after %d frames; the checkpoint of %s was made after %d: its end was cut off", v.at.count, c.At.Format(time.RFC3339), c.Count)
	}
	for _, digest := range slices.Sorted(maps.Keys(v.files)) {
		if _, err := Artefact(v.dir, digest); err != nil {
			v.problem(filepath.Join("artefacts", digest), 0, "%s: %v", v.files[digest], err)
		}
	}
	v.keys()
	if v.lost > 0 {
		v.notice("what the callers of %d requests said of themselves could not be sealed when they were recorded, and is lost", v.lost)
	}
	shown, err := os.ReadFile(filepath.Join(v.dir, "signing.pub"))
	if err != nil || string(shown) != v.key+"\n" {
		v.problem("signing.pub", 0, "is not the key %s that the journal is signed with", v.key)
	}
	v.torn()
}

// torn names what recovery has set aside: evidence that somebody should look at once.
func (v *verifier) torn() {
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), plainSuffix+".torn") {
			v.notice("%s holds what was set aside; it is no part of the journal", e.Name())
		}
	}
}

// beingWritten says whether a router has the folder.
func (v *verifier) beingWritten() bool {
	if _, err := os.Stat(filepath.Join(v.dir, "lock")); err != nil {
		return false // it is a copy
	}
	f, err := lock(v.dir)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, errLocked)
}
