package catalog

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a provider key; it prints as [redacted] in every format.
//
// The key is behind a pointer because fmt reaches through unexported fields without asking for methods: of a Secret
// inside somebody's unexported field it then prints an address and not the key.
type Secret struct{ value *string }

const redacted = "[redacted]"

// NewSecret keeps a key.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the key itself. Only a dialect that is writing a request header calls it, and what tells keys apart.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String, Format, GoString, LogValue, MarshalText and with it JSON and TOML all say [redacted].
func (s Secret) String() string { return redacted }

// Format answers every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// GoString answers callers that look for it by themselves; fmt asks Format first.
func (s Secret) GoString() string { return redacted }

// LogValue is for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is for JSON, XML and TOML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
