package engine

import (
	"slices"
	"sync"

	"chaperone/engine/wire"
)

// sealsRemembered bounds how many pieces of sealed reasoning are remembered at a time, each in about 100 bytes.
const sealsRemembered = 100_000

// seals remembers for each piece of signed or encrypted reasoning which account made it, for no other can take it back. It
// forgets as sticky does, but for what is asked for: that is young again.
type seals struct {
	mu         sync.Mutex
	young, old map[sealed]string
}

// sealed is a piece of reasoning that an organisation was given.
type sealed struct {
	organisation string
	seal         wire.Seal
}

func newSeals() *seals { return &seals{young: map[sealed]string{}} }

func (s *seals) hold(organisation, account string, made []wire.Seal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range made {
		s.put(sealed{organisation, x}, account)
	}
}

func (s *seals) put(k sealed, account string) {
	if len(s.young) >= sealsRemembered/2 {
		s.old, s.young = s.young, map[sealed]string{}
	}
	s.young[k] = account
}

// makers are the accounts that made any of these, sorted; nil where nobody knows.
func (s *seals) makers(organisation string, sent []wire.Seal) (accounts []string) {
	if len(sent) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range sent {
		k := sealed{organisation, x}
		account, known := s.young[k]
		if !known {
			if account, known = s.old[k]; known {
				s.put(k, account)
			}
		}
		if at, found := slices.BinarySearch(accounts, account); known && !found {
			accounts = slices.Insert(accounts, at, account)
		}
	}
	return accounts
}
