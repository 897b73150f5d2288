// Package provider says a permitted request in a provider's own words and reads its answers: one file a dialect.
package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
)

// Dialect is one provider API. Implementations hold no state.
type Dialect interface {
	// Name is what the catalog calls it.
	Name() string
	// Cannot says what of the request this dialect has no words for; "" where it can say all.
	Cannot(req *wire.Request) string
	// Request writes req for the row that p permits. It returns policy.ErrNoPermit unless p is for this principal and
	// request; no request to a provider is made in any other way.
	Request(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential) (*http.Request, error)
	// Continue writes req like Request, with the beginning of the answer, which the model has to go on from. used is about how
	// many tokens that has; the limit of the answer is less by so many. It returns ErrCannotContinue where row.Continues is ""
	// or the limit is reached.
	Continue(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential, beginning []byte, used int64) (*http.Request, error)
	// Event reads one event of a stream; it says End where the event is the dialect's end mark. c is overwritten.
	Event(ev wire.Event, c *wire.Chunk) (Kind, error)
	// Answer reads a whole answer that was not streamed. c is overwritten.
	Answer(body []byte, c *wire.Chunk) error
}

// ErrCannotContinue is returned where an endpoint cannot be asked to continue an answer.
var ErrCannotContinue = errors.New("the endpoint cannot continue this answer")

// Kind is what an event of a stream is.
type Kind int

// The kinds of events.
const (
	Data    Kind = iota // holds a chunk
	Comment             // says nothing
	End                 // the dialect's end mark
)

var dialects = map[string]Dialect{}

func register(d Dialect) { dialects[d.Name()] = d }

// ByName returns a dialect.
func ByName(name string) (Dialect, error) {
	if d, ok := dialects[name]; ok {
		return d, nil
	}
	return nil, fmt.Errorf("dialect %q is not one of %v", name, Names())
}

// Names lists the dialects, sorted.
func Names() []string {
	names := make([]string, 0, len(dialects))
	for n := range dialects {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
