//go:build !unix

package wasm

import "io/fs"

// owned has nothing to ask where files have no owning user id.
func owned(fs.FileInfo) error { return nil }
