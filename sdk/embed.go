// Package sdk holds the guest SDKs and their examples, as the files from which plugin projects are made.
package sdk

import "embed"

// Files is the SDKs, one folder a language: go, rust, assemblyscript and c.
//
//go:embed go/scorer/abi_other.go go/scorer/abi_wasip1.go go/scorer/manifest.go go/scorer/numbers.go go/scorer/scorer.go
//go:embed go/example rust/Cargo.toml rust/src rust/example
//go:embed assemblyscript/chaperone assemblyscript/example
//go:embed c/chaperone.h c/example
var Files embed.FS
