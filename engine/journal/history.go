package journal

import (
	"encoding/json"
	"fmt"
)

// InForce is what decided from a moment on, until the next.
type InForce struct {
	Digest string `json:"configuration_digest"` // as Record.Configuration
	Artefacts
}

// History is what has decided in the journal of dir, in order, and what has befallen the journal itself. Each start of a router
// counts as a change. The error is about the first place that cannot be read; what was found before is returned.
func History(dir string) (changes []InForce, events []Event, err error) {
	all, err := segments(dir)
	if err != nil {
		return nil, nil, err
	}
	for i := range all {
		s := &all[i]
		data, err := s.read()
		if err != nil {
			return changes, events, fmt.Errorf("%s: %w", s.path, err)
		}
		for at := 0; at < len(data); {
			frame, err := nextFrame(data[at:])
			if err != nil {
				if i+1 == len(all) {
					break // it is being written
				}
				return changes, events, fmt.Errorf("%s, byte %d: %w", s.path, at, err)
			}
			at += len(frame)
			switch body := frame[frameHead+1:]; frame[frameHead] {
			case kindArtefacts:
				var a Artefacts
				if err := json.Unmarshal(body, &a); err != nil {
					return changes, events, fmt.Errorf("%s, byte %d: %w", s.path, at, err)
				}
				digest, _ := a.list()
				if n := len(changes); n > 0 && changes[n-1].Digest == digest && a.At != nil && changes[n-1].At != nil && changes[n-1].At.Equal(*a.At) {
					continue // each segment says it again
				}
				changes = append(changes, InForce{digest, a})
			case kindEvent:
				var e Event
				if err := json.Unmarshal(body, &e); err != nil {
					return changes, events, fmt.Errorf("%s, byte %d: %w", s.path, at, err)
				}
				events = append(events, e)
			}
		}
	}
	return changes, events, nil
}
