package policy

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

// docket is the bindings that apply to the same principals, and what has been ruled under them together.
type docket struct {
	bindings []*binding
	fetched  []*binding // of those, the ones from bundles that may be too old
	request  readSet    // all that their questions read of a request
	daily    bool       // the day can change a ruling
	live     bool       // the statistics can

	mu      sync.Mutex
	current atomic.Pointer[session]
}

// session is the rulings of one day and one tick of the statistics, as far as those matter.
type session struct {
	day    int64
	view   *telemetry.View
	sheets table[sheet]
}

// sheet is what has been ruled for requests that agree on all that is read of them.
type sheet struct {
	request atomic.Pointer[requestRuling]
	rows    slots[ruling] // by catalog.Row.Index
}

// requestRuling is what all bindings together say of a request.
type requestRuling struct {
	rejections, warnings, ignored []Reason
	weights                       map[string]float64
}

// ruling is what all bindings together say of a row.
type ruling struct {
	denials, warnings []Reason
	conditions        *Obligations // nil where nothing is demanded
}

// permit is the ruling of most rows.
var permit = &ruling{}

// scopeKey names a docket: "" where no binding is of that organisation, team or key.
type scopeKey struct{ organisation, team, key string }

// docketFor finds the bindings that apply to who.
func (s *Set) docketFor(who *account.Principal) *docket {
	var k scopeKey
	org := s.byOrg[who.Organisation.ID]
	if org != nil {
		k.organisation = who.Organisation.ID
	}
	var ofTeam []*binding
	if who.Team != nil {
		if ofTeam = s.byTeam[team{who.Organisation.ID, who.Team.ID}]; ofTeam != nil {
			k.organisation, k.team = who.Organisation.ID, who.Team.ID
		}
	}
	ofKey := s.byKey[who.Key.ID]
	if ofKey != nil {
		k.key = who.Key.ID
	}
	if d := (*s.dockets.Load())[k]; d != nil {
		return d
	}
	return s.open(k, s.everyone, org, ofTeam, ofKey)
}

func (s *Set) open(k scopeKey, layers ...[]*binding) *docket {
	s.opening.Lock()
	defer s.opening.Unlock()
	all := *s.dockets.Load()
	if d := all[k]; d != nil {
		return d
	}
	d := newDocket(layers...)
	more := maps.Clone(all)
	more[k] = d
	s.dockets.Store(&more)
	return d
}

func newDocket(layers ...[]*binding) *docket {
	d := &docket{}
	var reads []read
	for _, layer := range layers {
		for _, b := range layer {
			d.bindings = append(d.bindings, b)
			if b.remote != nil && b.remote.maxAge > 0 {
				d.fetched = append(d.fetched, b)
			}
			d.daily = d.daily || b.enforcement != enforceDeny || b.policy.demands || len(b.waivers) > 0
			if b.policy.demands {
				reads = append(reads, obligationReads...)
			}
			for _, q := range []*question{b.policy.row, b.policy.request, b.policy.prefer} {
				if q != nil {
					reads = append(reads, q.memo.request...)
					d.daily = d.daily || q.memo.daily
					d.live = d.live || q.memo.live
				}
			}
		}
	}
	d.request = newReadSet(reads)
	return d
}

// obligationReads is what decides, beside the row's terms of the day, whether obligations can be met.
var obligationReads = []read{
	{field: inputField.find("input.request.tool_kinds")},
	{field: inputField.find("input.request.background")},
	{field: inputField.find("input.request.previous_response")},
	{field: inputField.find("input.request.file_references")},
}

// maxRulings bounds what one docket remembers: pointers, of which each sheet has one for every row.
const maxRulings = 1 << 19

// session is that of q's day and statistics.
func (d *docket) session(q *Query, rows int) *session {
	s := d.current.Load()
	if d.holds(s, q) {
		return s
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s = d.current.Load(); d.holds(s, q) {
		return s
	}
	s = &session{day: day(q.Now)}
	if d.live {
		s.view = q.Stats
	}
	s.sheets.limit = answersFor(rows)
	d.current.Store(s)
	return s
}

func (d *docket) holds(s *session, q *Query) bool {
	return s != nil && (!d.daily || s.day == day(q.Now)) && (!d.live || s.view == q.Stats)
}

// enforced says whether some binding can deny.
func (d *docket) enforced(now time.Time) bool {
	for _, b := range d.bindings {
		if b.enforcementAt(now) == enforceDeny {
			return true
		}
	}
	return false
}

// has says whether row is the set's own under its index, so that it has a class and a slot.
func (s *Set) has(row *catalog.Row) bool {
	return row.Index >= 0 && row.Index < len(s.rows) && s.rows[row.Index] == row
}
