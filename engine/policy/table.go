package policy

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// table maps canonical bytes to values. Reading takes no lock; keys are compared in full. When it is full it starts anew.
type table[V any] struct {
	limit   int
	mu      sync.Mutex
	current atomic.Pointer[buckets[V]]
}

type buckets[V any] struct {
	heads []atomic.Pointer[entry[V]]
	count int // guarded by table.mu
}

type entry[V any] struct {
	hash  uint64
	key   string
	next  *entry[V]
	value *V
}

var hashSeed = maphash.MakeSeed()

// at is the value under key, which is V's zero value at first.
func (t *table[V]) at(key []byte) *V {
	hash := maphash.Bytes(hashSeed, key)
	if b := t.current.Load(); b != nil {
		if e := b.find(hash, key); e != nil {
			return e.value
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.current.Load()
	if b == nil || b.count >= t.limit {
		b = &buckets[V]{heads: make([]atomic.Pointer[entry[V]], 16)}
		t.current.Store(b)
	}
	if e := b.find(hash, key); e != nil {
		return e.value
	}
	if b.count >= 2*len(b.heads) {
		b = b.grown()
		t.current.Store(b)
	}
	e := &entry[V]{hash: hash, key: string(key), value: new(V)}
	b.insert(e)
	return e.value
}

func (b *buckets[V]) find(hash uint64, key []byte) *entry[V] {
	for e := b.heads[hash&uint64(len(b.heads)-1)].Load(); e != nil; e = e.next {
		if e.hash == hash && e.key == string(key) {
			return e
		}
	}
	return nil
}

func (b *buckets[V]) insert(e *entry[V]) {
	head := &b.heads[e.hash&uint64(len(b.heads)-1)]
	e.next = head.Load()
	head.Store(e)
	b.count++
}

// grown copies the chains, because readers may be following the old ones.
func (b *buckets[V]) grown() *buckets[V] {
	g := &buckets[V]{heads: make([]atomic.Pointer[entry[V]], 4*len(b.heads))}
	for i := range b.heads {
		for e := b.heads[i].Load(); e != nil; e = e.next {
			g.insert(&entry[V]{hash: e.hash, key: e.key, value: e.value})
		}
	}
	return g
}

// slots is an array that grows, of values that are set once and never change. What two set at once is the same: it
// does not matter whose stays, nor that one which is set while the array grows is forgotten.
type slots[T any] struct {
	mu      sync.Mutex // of growing
	current atomic.Pointer[[]atomic.Pointer[T]]
}

// get is the value at i; nil where there is none yet.
func (s *slots[T]) get(i int) *T {
	if all := s.current.Load(); all != nil && i < len(*all) {
		return (*all)[i].Load()
	}
	return nil
}

// put sets the value at i; size is how many there will probably be.
func (s *slots[T]) put(i, size int, v *T) {
	all := s.current.Load()
	if all == nil || i >= len(*all) {
		all = s.grow(max(i+1, size))
	}
	(*all)[i].Store(v)
}

func (s *slots[T]) grow(size int) *[]atomic.Pointer[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.current.Load()
	if all != nil && size <= len(*all) {
		return all
	}
	more := make([]atomic.Pointer[T], size)
	if all != nil {
		for i := range *all {
			more[i].Store((*all)[i].Load())
		}
	}
	s.current.Store(&more)
	return &more
}
