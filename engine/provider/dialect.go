// Package provider says a permitted request in a provider's own words and reads its answers: one file a dialect.
package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strings"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
)

// Dialect is one provider API. Implementations hold no state.
type Dialect interface {
	// Name is what the catalog calls it.
	Name() string
	// Says is the shape in which a request of that shape is sent: its own, or one that it is translated to. Answers are in it
	// as well. "": the dialect has no API for it.
	Says(shape wire.Shape) wire.Shape
	// Cannot says what of the request this dialect has no words for at that row; "" where it can say all.
	Cannot(row *catalog.Row, req *wire.Request) string
	// Request writes req for the row that p permits. It returns policy.ErrNoPermit unless p is for this principal and
	// request; no request that holds anything of a client's is made in any other way.
	Request(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential) (*http.Request, error)
	// Probe asks what models there are: a request that says nothing of any client, to see whether anybody answers.
	Probe(ctx context.Context, row *catalog.Row, cred catalog.Credential) (*http.Request, error)
	// Continue writes req like Request, with the beginning of the answer, which the model has to go on from. used is about how
	// many tokens that has; the limit of the answer is less by so many. It returns ErrCannotContinue where row.Continues is ""
	// or the limit is reached.
	Continue(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential, beginning []byte, used int64) (*http.Request, error)
}

// ErrCannotContinue is returned where an endpoint cannot be asked to continue an answer.
var ErrCannotContinue = errors.New("the endpoint cannot continue this answer")

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

// Cannot says what of a request cannot be said to the endpoint of a row in its provider's dialect; "" where all can.
func Cannot(row *catalog.Row, req *wire.Request) string {
	d, err := ByName(row.Dialect)
	if err != nil {
		return err.Error()
	}
	if len(req.Plugins) > 0 {
		return fmt.Sprintf("runs none of OpenRouter's plugins, and %s is asked for", strings.Join(req.Plugins, ", "))
	}
	said := d.Says(req.Shape)
	if said == "" {
		return fmt.Sprintf("has no API for a request to %s (dialect %s)", req.Shape, d.Name())
	}
	if what := req.In(said).Cannot; what != "" {
		return what
	}
	if what := sealedElsewhere(row, req); what != "" {
		return what
	}
	return d.Cannot(row, req)
}
