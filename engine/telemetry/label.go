package telemetry

import (
	"sync"
	"sync/atomic"
)

// other is the label of what has none of its own.
const other = "other"

// mostNames is how many names of one kind become labels.
const mostNames = 256

// known are the names that may be labels, as a catalog or the accounts list them.
type known struct {
	set atomic.Pointer[map[string]struct{}]
}

func know[T any](k *known, all map[string]T) {
	set := make(map[string]struct{}, len(all))
	for name := range all {
		set[name] = struct{}{}
	}
	k.set.Store(&set)
}

func (k *known) label(name string) string {
	if set := k.set.Load(); set != nil {
		if _, ok := (*set)[name]; ok {
			return name
		}
	}
	return other
}

// names are the first mostNames names that came.
type names struct {
	mu  sync.RWMutex
	set map[string]struct{}
}

func (n *names) label(name string) string {
	n.mu.RLock()
	_, ok := n.set[name]
	n.mu.RUnlock()
	if ok {
		return name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.set[name]; ok {
		return name
	}
	if name == "" || len(n.set) == mostNames {
		return other
	}
	if n.set == nil {
		n.set = map[string]struct{}{}
	}
	n.set[name] = struct{}{}
	return name
}

// class is an HTTP status's class.
func class(status int) string {
	classes := [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}
	if i := status/100 - 1; i >= 0 && i < len(classes) {
		return classes[i]
	}
	return other
}
