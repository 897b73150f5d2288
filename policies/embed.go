// Package policies is the Rego library that ships with Chaperone.
package policies

import "embed"

// FS holds the library's modules.
//
//go:embed *.rego
var FS embed.FS
