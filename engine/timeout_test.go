package engine_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

func TestAClientsOwnTimeLimitEndsItsRequest(t *testing.T) {
	w := openSmall(t, `deny contains "no" if input.request.n > 5`, "", slog.DiscardHandler,
		sim.Profile{Faults: []sim.Fault{{Kind: sim.Silent, Share: 1}}})
	began := time.Now()
	_, err := w.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Timeout: 200 * time.Millisecond,
		Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)})
	var refused *wire.Error
	if !errors.As(err, &refused) || refused.Status != 504 {
		t.Errorf("got %v, want a 504", err)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 20*time.Second {
		t.Errorf("it took %v, the client gave 200ms", took)
	}
}
