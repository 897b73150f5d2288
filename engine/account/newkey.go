package account

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/big"
	"strings"
	"time"

	"chaperone/engine/config"
)

const (
	keyPrefix = "sk-ch-"
	keyBytes  = 32
	keyDigits = 43 // of base 62, for 32 bytes
)

// NewKey makes a key with 256 bits of randomness. The secret is shown to its owner once and kept nowhere; the Key goes to
// AppendKey. A zero expires means never.
func NewKey(organisation, team, name string, expires time.Time, now time.Time) (secret string, k Key) {
	random := make([]byte, keyBytes)
	_, _ = rand.Read(random) // never fails: the program ends where the system has no randomness
	digits := new(big.Int).SetBytes(random).Text(62)
	secret = keyPrefix + strings.Repeat("0", keyDigits-len(digits)) + digits
	sum := sha256.Sum256([]byte(secret))
	return secret, Key{
		ID: KeyID(sum), Name: name, Organisation: organisation, Team: team, SHA256: sum,
		DataClass: DataClasses[0], Created: now.UTC().Truncate(time.Second), Expires: expires,
	}
}

// ParseExpiry reads when a key ends: a span from now ("90d", "12h"), a date ("2027-01-31", at its beginning in UTC), a
// date-time (RFC 3339), or "never" and "", which are the zero time.
func ParseExpiry(s string, now time.Time) (time.Time, error) {
	if s == "" || s == "never" {
		return time.Time{}, nil
	}
	expires, err := time.Parse(time.DateOnly, s)
	if err != nil {
		expires, err = time.Parse(time.RFC3339, s)
	}
	if err != nil {
		var span time.Duration
		span, err = config.ParseDuration(s)
		expires = now.Add(span).Truncate(time.Second)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("found %q; expected a span such as \"90d\", a date such as \"2027-01-31\", or \"never\"", s)
	}
	if !expires.After(now) {
		return time.Time{}, fmt.Errorf("found %q, which has passed; expected a later time", s)
	}
	return expires.UTC(), nil
}
