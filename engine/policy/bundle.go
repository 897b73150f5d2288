package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"

	"chaperone/engine/config"
)

// Bounds of a bundle in bytes: compressed, and of one file in it.
const (
	maxBundleBytes = 64 << 20
	maxBundleFile  = 16 << 20
)

// verification is what a source demands of its bundles; nil: nothing.
type verification struct {
	key       string // PEM, or the shared secret
	algorithm string
	scope     string
}

// verificationKeyID is how the one key of a source is called: what the bundle says of key ids does not count.
const verificationKeyID = "verification_key"

// readBundle opens an OPA bundle (.tar.gz), verifies it with OPA's own code, and parses what policies it holds. shown is what
// file names in messages start with.
func readBundle(name string, text []byte, shown string, v *verification) (s *source, problems config.Problems) {
	refuse := func(format string, args ...any) (*source, config.Problems) {
		return nil, config.Problems{{File: shown, Message: fmt.Sprintf(format, args...)}}
	}
	defer func() {
		if r := recover(); r != nil {
			s, problems = refuse("the bundle cannot be read: %v", r)
		}
	}()
	reader := bundle.NewCustomReader(bundle.NewTarballLoader(bytes.NewReader(text))).
		WithSizeLimitBytes(maxBundleFile).
		WithLazyLoadingMode(false).
		WithProcessAnnotations(true).
		WithCapabilities(ast.CapabilitiesForThisVersion()).
		WithRegoVersion(ast.RegoV1)
	if v == nil {
		reader = reader.WithSkipBundleVerification(true)
	} else {
		reader = reader.WithBundleVerificationConfig(bundle.NewVerificationConfig(
			map[string]*bundle.KeyConfig{verificationKeyID: {Key: v.key, Algorithm: v.algorithm}}, verificationKeyID, v.scope, nil))
	}
	b, err := reader.Read()
	var parsing ast.Errors
	switch {
	case errors.As(err, &parsing):
		problems := regoProblems(shown, err)
		for i := range problems {
			if problems[i].File != shown {
				problems[i].File = within(shown, problems[i].File)
			}
		}
		return nil, problems
	case err != nil && v != nil:
		return refuse("the bundle is refused: %v; it must be signed whole with the key of verification_key (opa build --signing-key … or opa sign)", err)
	case err != nil:
		return refuse("the bundle cannot be read: %v; expected what `opa build` writes", err)
	case b.Type() == bundle.DeltaBundleType:
		return refuse("it is a delta bundle, which carries no signature and no rules; expected a whole one")
	case v != nil && len(b.Signatures.Signatures) == 0:
		// The reader has refused it already. What decides here is that there is a key, never what the bundle says of itself.
		return refuse("the bundle is not signed, and a verification_key is set")
	case len(b.WasmModules) > 0 || len(b.PlanModules) > 0:
		return refuse("it holds compiled policies; expected Rego: opa build -t rego")
	case len(b.Data) > 0:
		return refuse("it holds data (%s), which policies here do not read; put values into params of the binding", strings.Join(sortedKeys(b.Data), ", "))
	}
	texts, tests := map[string][]byte{}, map[string][]byte{}
	for _, m := range b.Modules {
		inside := strings.TrimPrefix(filepath.ToSlash(m.Path), "/")
		if file := within(shown, inside); isTest(inside) {
			tests[file] = m.Raw
		} else {
			texts[file] = m.Raw // parsed as every module is, whatever version of Rego the bundle's manifest asks for
		}
	}
	s, problems = newSource(name, texts)
	problems = append(problems, misfiled(tests)...)
	s.digest, s.revision = bundleDigest(text), b.Manifest.Revision
	if len(problems) == 0 && len(s.modules) == 0 {
		return refuse("the bundle holds no .rego file (tests, _test.rego, do not count)")
	}
	return s, problems
}

func bundleDigest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// readBundleFile is readBundle from disk.
func readBundleFile(sc sourceConfig, v *verification) (*source, config.Problems) {
	file := sc.beside(sc.Bundle)
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, config.Problems{sc.Problem("bundle", "found %q: %s; expected a bundle that `opa build` wrote, or an address with https://", sc.Bundle, message(err))}
	case info.IsDir():
		return nil, config.Problems{sc.Problem("bundle", "found %q, which is a directory; name it with path, or expected a .tar.gz", sc.Bundle)}
	case info.Size() > maxBundleBytes:
		return nil, config.Problems{sc.Problem("bundle", "found %q of %d bytes; expected at most %d", sc.Bundle, info.Size(), maxBundleBytes)}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, config.Problems{sc.Problem("bundle", "found %q: %s", sc.Bundle, message(err))}
	}
	return readBundle(sc.Name, text, file, v)
}

// within names a file inside a bundle. What is shown of the bundle stays as it is: it may be an address.
func within(shown, inside string) string { return shown + path.Clean("/"+inside) }
