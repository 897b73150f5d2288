// Package plugins holds the scorers that ship, as bytes, for programs that run them without a toolchain.
package plugins

import _ "embed"

//go:generate go run chaperone/cmd/chaperone plugin build cache-affine
//go:generate go run chaperone/cmd/chaperone plugin build carbon-aware
//go:generate go run chaperone/cmd/chaperone plugin build committed-spend
//go:generate go run chaperone/cmd/chaperone plugin build cost-latency
//go:generate go run chaperone/cmd/chaperone plugin build thompson
//go:generate go run chaperone/cmd/chaperone plugin build ttft-target

// CarbonAware is the module of plugins/carbon-aware.
//
//go:embed carbon-aware/carbon-aware.wasm
var CarbonAware []byte
