package wasm_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine/wasm"
)

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, module []byte, key ed25519.PrivateKey) []byte {
	t.Helper()
	signature, err := wasm.Sign(module, key)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// TestWhereKeysAreTrustedOnlyWhatTheySignedLoads tries every way not to have a signature.
func TestWhereKeysAreTrustedOnlyWhatTheySignedLoads(t *testing.T) {
	h, _ := newHost(t)
	release, ci, stranger := newKey(t), newKey(t), newKey(t)
	trusted := wasm.TrustedKeys{"release": release.Public().(ed25519.PublicKey), "ci": ci.Public().(ed25519.PublicKey)}
	module := fixture(t, "sum")
	other := fixture(t, "sum", "0.1.0", "0.1.1")
	good := sign(t, module, ci)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-2] ^= 1
	for name, c := range map[string]struct {
		module, signature []byte // nil: there is no file
		says              string // "": it loads
	}{
		"signed":                        {module, good, ""},
		"signed by another trusted key": {module, sign(t, module, release), ""},
		"not signed":                    {module, nil, "plugin.wasm.sig; chaperone plugin sign makes it"},
		"signed by a stranger":          {module, sign(t, module, stranger), "is not trusted; those that are: ci, release"},
		"the signature of another":      {other, good, "the signature is not of these bytes: they have changed since they were signed"},
		"a changed signature":           {module, flipped, "the signature is not of these bytes"},
		"a stranger's as if by ci": {module, bytes.Replace(sign(t, module, stranger),
			[]byte(strings.Fields(string(sign(t, module, stranger)))[1]), []byte(strings.Fields(string(good))[1]), 1), "the signature is not of these bytes"},
		"an empty file":           {module, []byte{}, "should be one line"},
		"something else":          {module, []byte("untrusted comment: minisign\nRW\n"), "should be one line"},
		"another algorithm":       {module, bytes.Replace(good, []byte("ed25519"), []byte("none"), 1), "should be one line"},
		"a key that is too short": {module, []byte("ed25519 00 00\n"), "its key: found \"00\""},
		"something behind it":     {module, append(bytes.Clone(good), good...), "should be one line"},
		"a byte behind it all":    {append(bytes.Clone(module), 0), good, "the signature is not of these bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "plugin.wasm")
			write := func(path string, content []byte) {
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(path, c.module)
			if c.signature != nil {
				write(path+wasm.SignatureSuffix, c.signature)
			}
			p, err := wasm.Load(context.Background(), h, wasm.Config{Path: path, Trusted: trusted, Pool: 1})
			if err == nil {
				if signer, signature := p.Signature(); trusted[signer] == nil || !bytes.Equal(signature, c.signature) {
					t.Errorf("signed by %q: %q", signer, signature)
				}
				if err := p.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}
			if c.says == "" && err != nil || c.says != "" && (!errors.Is(err, wasm.ErrSignature) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, should say %q", err, c.says)
			}
		})
	}
	if _, err := wasm.Sign(file(t, fixtures+"/sum.wasm"), ci); err == nil || !strings.Contains(err.Error(), "has no valid manifest") {
		t.Errorf("signing what is no plugin: %v", err)
	}
}
