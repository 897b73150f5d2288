package policy

import (
	"errors"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/wire"
)

// ErrNoPermit is returned where a request would go to a row without a permit of its own.
var ErrNoPermit = errors.New("no permit: policy has not allowed this request at this row")

// Permit is the only ticket to dispatch. It names its row, is bound to the request's digest, the key and the generation
// that judged it, and only this package fills it: the zero value is refused everywhere.
type Permit struct {
	row        *catalog.Row
	digest     [32]byte
	key        string
	generation uint64
	conditions *Obligations // shared and never changed; nil: none
}

// Row is the row that the permit is for; nil for the zero value.
func (p Permit) Row() *catalog.Row { return p.row }

// Generation is that of the policy set which judged.
func (p Permit) Generation() uint64 { return p.generation }

// Obligations are the conditions under which the permit may be used.
func (p Permit) Obligations() Obligations {
	if p.conditions == nil {
		return Obligations{}
	}
	return *p.conditions
}

// Check returns ErrNoPermit unless p was made for exactly this principal and request.
func (p Permit) Check(who *account.Principal, req *wire.Request) error {
	if p.row == nil || who == nil || req == nil || p.key != who.Key.ID || p.digest != req.Digest {
		return ErrNoPermit
	}
	return nil
}
