package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/admission"
	"chaperone/engine/wire"
)

// limit sets the limits of a snapshot.
func (e *Engine) limit(s *snapshot) {
	e.health.Configure(s.settings.health(), s.catalog)
	e.gate.Configure(admission.Limits{InFlight: s.settings.Load.InFlight, Waiting: s.settings.Load.Queue})
}

// admit lets a request in, after a wait, of which it returns how long it was, where there are as many in flight as may be.
func (e *Engine) admit(ctx context.Context, c Call) (admission.Pass, time.Duration, error) {
	began := time.Now()
	who, load, refused := e.asks(c)
	if refused != nil {
		return admission.Pass{}, 0, e.refuse("", "", refused, began)
	}
	tenant := admission.Tenant{ID: who.Organisation.ID, InFlight: load.InFlightOrganisation}
	if n := who.Organisation.InFlight; n > 0 {
		tenant.InFlight = n
	}
	if pass, free := e.gate.Try(tenant); free {
		return pass, 0, nil
	}
	wait := load.QueueWait
	if c.Timeout > 0 {
		wait = min(wait, c.Timeout)
	}
	_, pass, err := admission.Join(tenant, &e.gate).Wait(ctx, wait)
	took := time.Since(began)
	e.waited(tenant.ID, "router", took, err)
	if err != nil {
		return admission.Pass{}, took, e.refuse(tenant.ID, "", e.shed(tenant, load, err), began)
	}
	return pass, took, nil
}

// asks is who a call comes from, and what the newest settings say about load.
func (e *Engine) asks(c Call) (*account.Principal, Load, *wire.Error) {
	s := e.acquire()
	defer s.release()
	who, refused := e.authenticate(s, c)
	return who, s.settings.Load, refused
}

// shed is what a client is told that was not let in.
func (e *Engine) shed(tenant admission.Tenant, load Load, err error) *wire.Error {
	x := &wire.Error{Status: http.StatusServiceUnavailable, Type: "provider_overloaded", RetryAfter: max(time.Second, load.QueueWait)}
	who := fmt.Sprintf("this router has %d requests in flight, as many as it may", load.InFlight)
	if _, tenants := e.gate.Load(); tenant.InFlight > 0 && tenants[tenant.ID].InFlight >= tenant.InFlight {
		x.Status, x.Type = http.StatusTooManyRequests, "rate_limit_exceeded"
		who = fmt.Sprintf("organisation %s has %d requests in flight, as many as it may", tenant.ID, tenant.InFlight)
	}
	switch {
	case errors.Is(err, admission.ErrFull):
		x.Message = who + ", and its queue is full; ask again later"
	case errors.Is(err, admission.ErrTooLong):
		x.Message = who + ", and none has ended while this one waited; ask again later"
	default:
		return &wire.Error{Status: 499, Type: "cancelled", Message: "the client closed the connection while its request waited"}
	}
	return x
}

// waited counts a wait in a queue, and how it ended.
func (e *Engine) waited(organisation, at string, took time.Duration, err error) {
	e.metrics.Waited(at, took)
	switch {
	case errors.Is(err, admission.ErrFull):
		e.metrics.Shed(organisation, at, "queue_full")
	case errors.Is(err, admission.ErrTooLong):
		e.metrics.Shed(organisation, at, "queue_wait")
	}
}
