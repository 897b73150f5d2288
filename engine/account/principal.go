package account

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"slices"
	"time"
)

// What is wrong with a client key.
var (
	ErrUnknownKey  = errors.New("the API key is unknown: check that all of it was sent, as \"Authorization: Bearer sk-ch-…\"")
	ErrExpiredKey  = errors.New("the API key has expired: ask your operator for a new one (chaperone key new)")
	ErrDisabledKey = errors.New("the API key has been revoked: ask your operator for a new one (chaperone key new)")
)

// longestKey bounds what is hashed of what a stranger sends.
const longestKey = 512

// Authenticate finds the principal of a client key as sent, without "Bearer "; otherwise the error is ErrUnknownKey,
// ErrExpiredKey or ErrDisabledKey. How long it takes does not depend on the keys that exist: what is looked up is the
// hash of what was sent, of which nobody can choose the bytes. It allocates nothing.
func (a *Accounts) Authenticate(secret string, now time.Time) (*Principal, error) {
	var sent [longestKey]byte
	if len(secret) > len(sent) {
		return nil, ErrUnknownKey
	}
	sum := sha256.Sum256(sent[:copy(sent[:], secret)])
	p := a.byHash[sum]
	if p == nil || subtle.ConstantTimeCompare(p.Key.SHA256[:], sum[:]) != 1 {
		return nil, ErrUnknownKey
	}
	if err := p.Key.usable(now); err != nil {
		return nil, err
	}
	return p, nil
}

// ByKeyID is the principal of a key's id, nil where it is gone, expired or disabled: for the check before a further attempt.
func (a *Accounts) ByKeyID(id string, now time.Time) *Principal {
	p := a.byID[id]
	if p == nil || p.Key.usable(now) != nil {
		return nil
	}
	return p
}

func (k *Key) usable(now time.Time) error {
	switch {
	case k.Disabled:
		return ErrDisabledKey
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return ErrExpiredKey
	}
	return nil
}

// DataClassAtLeast says whether a data class is b or higher. A name that is not one of DataClasses counts as the highest.
func DataClassAtLeast(a, b string) bool { return rank(a) >= rank(b) }

// HigherDataClass is the higher of two.
func HigherDataClass(a, b string) string {
	if DataClassAtLeast(a, b) {
		return a
	}
	return b
}

func rank(class string) int {
	if i := slices.Index(DataClasses, class); i >= 0 {
		return i
	}
	return len(DataClasses) - 1
}

func principal(org *Organisation, team *Team, key *Key) *Principal {
	p := &Principal{Organisation: org, Team: team, Key: key, Labels: map[string]string{}, DataClass: org.DataClass}
	maps.Copy(p.Labels, org.Labels)
	if team != nil {
		maps.Copy(p.Labels, team.Labels)
		p.DataClass = HigherDataClass(p.DataClass, team.DataClass)
	}
	maps.Copy(p.Labels, key.Labels)
	p.DataClass = HigherDataClass(p.DataClass, key.DataClass)
	return p
}
