package wasm

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// SignatureSuffix is what the name of a module's signature has behind that of the module.
const SignatureSuffix = ".sig"

// TrustedKeys are the public keys whose signatures a host accepts, by the names that their operator gave them.
type TrustedKeys map[string]ed25519.PublicKey

// ParsePublicKey reads an Ed25519 public key as TOML files have it: 64 hexadecimal digits.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("found %q; expected the %d hexadecimal digits that chaperone plugin keygen prints", text, 2*ed25519.PublicKeySize)
	}
	return key, nil
}

// Sign is the content of a module's signature file: one line of the algorithm, the public key and the Ed25519 signature (RFC
// 8032) of the module's bytes, both in hexadecimal. A module without a valid manifest is not signed.
func Sign(module []byte, key ed25519.PrivateKey) ([]byte, error) {
	_, text, err := inspect(module)
	if err != nil {
		return nil, fmt.Errorf("the module %w", err)
	}
	if _, err := parseManifest("manifest", text); err != nil {
		return nil, fmt.Errorf("the module %w:\n%w", ErrManifest, err)
	}
	return fmt.Appendf(nil, "ed25519 %x %x\n", []byte(key.Public().(ed25519.PublicKey)), ed25519.Sign(key, module)), nil
}

// Signer is the public key by which a module is signed, given its signature file. The error wraps ErrSignature.
func Signer(module, signature []byte) (ed25519.PublicKey, error) {
	fields := strings.Fields(string(signature))
	if len(fields) != 3 || fields[0] != "ed25519" {
		return nil, fmt.Errorf(`%w: the signature should be one line of "ed25519", a public key and a signature`, ErrSignature)
	}
	key, err := ParsePublicKey(fields[1])
	if err != nil {
		return nil, fmt.Errorf("%w: its key: %w", ErrSignature, err)
	}
	sig, err := hex.DecodeString(fields[2])
	if err != nil || !ed25519.Verify(key, module, sig) {
		return nil, fmt.Errorf("%w: the signature is not of these bytes: they have changed since they were signed", ErrSignature)
	}
	return key, nil
}

// by is the name of the trusted key that has signed a module.
func (keys TrustedKeys) by(module, signature []byte) (string, error) {
	signer, err := Signer(module, signature)
	if err != nil {
		return "", err
	}
	names := slices.Sorted(maps.Keys(keys))
	for _, name := range names {
		if keys[name].Equal(signer) {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: the key %x is not trusted; those that are: %s", ErrSignature, []byte(signer), strings.Join(names, ", "))
}

// checkSignature holds a module to the trusted keys, where there are any.
func (c *Config) checkSignature(module []byte) (signer string, signature []byte, err error) {
	if len(c.Trusted) == 0 {
		return "", nil, nil
	}
	path := c.Path + SignatureSuffix
	f, err := open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, fmt.Errorf("%w: there is no %s; chaperone plugin sign makes it", ErrSignature, path)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	defer f.Close()
	if signature, err = io.ReadAll(io.LimitReader(f, 1024)); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	signer, err = c.Trusted.by(module, signature)
	return signer, signature, err
}
