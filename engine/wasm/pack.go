package wasm

import (
	"fmt"

	"chaperone/engine/wasm/binary"
)

// Pack returns the module with manifest as its custom section chaperone.plugin, in place of one that it may already have.
// The manifest is checked first; the error is config.Problems where it is at fault.
func Pack(module, manifest []byte) ([]byte, error) {
	if len(manifest) > maxManifest {
		return nil, fmt.Errorf("the manifest has %d bytes, should have at most %d", len(manifest), maxManifest)
	}
	if _, err := parseManifest("manifest", manifest); err != nil {
		return nil, err
	}
	all, err := binary.Sections(module)
	if err != nil {
		return nil, fmt.Errorf("the module %w", err)
	}
	out := []byte(binary.Preamble)
	for _, s := range all {
		if s.ID != binary.Custom || s.Name != manifestSection {
			out = append(out, s.Raw...)
		}
	}
	return binary.AppendCustom(out, manifestSection, manifest), nil
}
