package engine

import (
	"hash/maphash"
	"sync"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/wire"
)

// sticky remembers for each conversation at which row its prompt is in a provider's cache, so that the next turn goes there
// again. It is a hint to the ranking and nothing more: policy judges every turn anew. Memory is bounded by two halves: when
// the young one is full it becomes the old one, and what the old one had is forgotten.
type sticky struct {
	seed maphash.Seed

	mu         sync.Mutex
	half       int
	young, old map[held]place
}

// held is a conversation of one key with one model.
type held struct {
	conversation uint64
	model        string
}

type place struct {
	row   string // id
	until time.Time
}

func newSticky(conversations int) *sticky {
	return &sticky{seed: maphash.MakeSeed(), half: conversations / 2, young: map[held]place{}}
}

// conversation is what a request of that key belongs to: its session, else its cache key, else what it begins with. named
// says whether it is one of the first two; 0: it belongs to none that is known.
func (s *sticky) conversation(who *account.Principal, req *wire.Request) (id uint64, named bool) {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.WriteString(who.Key.ID)
	switch {
	case req.SessionID != "":
		h.WriteString("\x00s")
		h.WriteString(req.SessionID)
		return h.Sum64(), true
	case req.PromptCacheKey != "":
		h.WriteString("\x00k")
		h.WriteString(req.PromptCacheKey)
		return h.Sum64(), true
	}
	h.WriteString("\x00o")
	if !req.WriteOpening(&h) {
		return 0, false
	}
	return h.Sum64(), false
}

// row is where the conversation's prompt is held with that model, "" where nobody knows.
func (s *sticky) row(conversation uint64, model string, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := held{conversation, model}
	p, ok := s.young[k]
	if !ok {
		p = s.old[k]
	}
	if !now.Before(p.until) {
		return ""
	}
	return p.row
}

func (s *sticky) hold(conversation uint64, row *catalog.Row, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.half == 0 {
		return
	}
	if len(s.young) >= s.half {
		s.old, s.young = s.young, make(map[held]place, s.half)
	}
	s.young[held{conversation, row.Model.ID}] = place{row.ID, until}
}

// holds is route.Moment.Holds for a request.
func (e *Engine) holds(who *account.Principal, req *wire.Request, now time.Time) func(string) string {
	conversation, _ := e.sticky.conversation(who, req)
	if conversation == 0 {
		return nil
	}
	return func(model string) string { return e.sticky.row(conversation, model, now) }
}

// stick notes where an answer came from: at once where the request names its conversation, else once the provider has shown
// that it caches the prompt and bills less for that. A failure notes nothing.
func (e *Engine) stick(who *account.Principal, req *wire.Request, rec *journal.Record) {
	o := &rec.Outcome
	if o.Error != "" || o.Row == "" || o.CachedFrom != "" {
		return
	}
	s := e.current.Load()
	row := s.catalog.Row(o.Row)
	if row == nil {
		return // of an older catalog
	}
	conversation, named := e.sticky.conversation(who, req)
	if conversation == 0 {
		return
	}
	if cached := o.Usage.CachedTokens > 0 || o.Usage.CacheWriteTokens > 0; !named && !(cached && row.Prices.CacheRead < row.Prices.Prompt) {
		return
	}
	e.sticky.hold(conversation, row, e.options.Now().Add(max(s.settings.Routing.StickyFor, row.CacheTTL, req.CacheTTL)))
}
