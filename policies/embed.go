// Package policies is the Rego library that ships with Chaperone.
package policies

import "embed"

//go:generate go test -run TestSchemasAreCurrent -update

// FS holds the library's modules.
//
//go:embed *.rego
var FS embed.FS
