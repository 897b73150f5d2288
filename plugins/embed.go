// Package plugins holds the scorers that ship, as bytes, for programs that run them without a toolchain.
package plugins

import _ "embed"

//go:generate go run ./build

// CarbonAware is the module of plugins/carbon-aware.
//
//go:embed carbon-aware/carbon-aware.wasm
var CarbonAware []byte
