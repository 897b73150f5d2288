package demo

import (
	"context"
	"errors"
	"sync"

	"chaperone/engine"
	"chaperone/engine/dispatch"
	"chaperone/engine/journal"
	"chaperone/engine/wire"
)

// watched is the engine as the server sees it: it remembers which requests there were, whoever sent them.
type watched struct {
	*engine.Engine

	mu   sync.Mutex
	open []string // ids of decisions whose records have not been seen
}

// Do notes the id of the decision.
func (w *watched) Do(ctx context.Context, c engine.Call) (*dispatch.Response, error) {
	response, err := w.Engine.Do(ctx, c)
	id := ""
	if refused := (*wire.Error)(nil); errors.As(err, &refused) {
		id = refused.DecisionID // "" where none was made
	} else if err == nil {
		id = response.Plan.ID
	}
	if id != "" {
		w.mu.Lock()
		w.open = append(w.open, id)
		w.mu.Unlock()
	}
	return response, err
}

// finished is the records that there are since it was last called.
func (w *watched) finished() []*journal.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	var done []*journal.Record
	still := w.open[:0]
	for _, id := range w.open {
		if record := w.Record(id); record != nil {
			done = append(done, record)
		} else {
			still = append(still, id)
		}
	}
	w.open = still
	return done
}
