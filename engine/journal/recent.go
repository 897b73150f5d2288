package journal

import "sync"

// Recent keeps the last records in memory, for GET /v1/decisions/{id} and explain.
type Recent struct {
	mu   sync.RWMutex
	ring []*Record
	next int
	byID map[string]*Record
}

// NewRecent keeps the last n records, at least 1.
func NewRecent(n int) *Recent {
	n = max(n, 1)
	return &Recent{ring: make([]*Record, n), byID: make(map[string]*Record, n)}
}

// Append adds a record; it must not be changed afterwards.
func (r *Recent) Append(rec *Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.ring[r.next]; old != nil && r.byID[old.ID] == old {
		delete(r.byID, old.ID)
	}
	r.ring[r.next] = rec
	r.byID[rec.ID] = rec
	r.next = (r.next + 1) % len(r.ring)
}

// Get finds a record by its id; nil where it is unknown or has been displaced.
func (r *Recent) Get(id string) *Record {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byID[id]
}
