package wire

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"slices"
)

// key is one key of an open object.
type key struct {
	hash    uint64 // of the decoded key
	at, end int    // with its quotes
}

// The seed is random for each process, so that nobody can prepare keys whose hashes collide.
var keySeed = maphash.MakeSeed()

func newKey(at, end int, decoded []byte) key {
	return key{maphash.Bytes(keySeed, decoded), at, end}
}

// unique ends an object: it fails where a key stands twice in it, and drops its keys.
//
// The keys are compared once at the end, by sorting where there are many: no table has to be kept for each open object,
// and an object of n keys costs n log n.
func (s *scanner) unique(o *object) {
	keys := s.keys[o.base:]
	s.keys = s.keys[:o.base]
	again, first := -1, 0
	note := func(a, b key) {
		if a.hash == b.hash && s.sameKey(a, b) && (again < 0 || max(a.at, b.at) < again) {
			again, first = max(a.at, b.at), min(a.at, b.at)
		}
	}
	if len(keys) <= 16 {
		for i, a := range keys {
			for _, b := range keys[:i] {
				note(a, b)
			}
		}
	} else {
		slices.SortFunc(keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.at, b.at)) })
		for i := range keys {
			for j := i - 1; j >= 0 && keys[j].hash == keys[i].hash; j-- {
				note(keys[j], keys[i])
				if again >= 0 {
					break // else many copies of one key would be compared each with each
				}
			}
		}
	}
	if again >= 0 {
		s.fail(again, "found this key a second time in one object (first at byte %d); a key may stand once", first)
	}
}

func (s *scanner) sameKey(a, b key) bool {
	return bytes.Equal(s.decodeKey(a), s.decodeKey(b))
}

func (s *scanner) decodeKey(k key) []byte {
	raw := s.data[k.at+1 : k.end-1]
	return text{raw: raw, size: len(raw), escaped: bytes.IndexByte(raw, '\\') >= 0}.decoded()
}
