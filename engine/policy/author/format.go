package author

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"chaperone/engine/config"
	"chaperone/engine/policy"
)

// Format lays a module out as opa fmt does.
func Format(file string, text []byte) (out []byte, problems config.Problems) {
	defer func() {
		if r := recover(); r != nil {
			out, problems = nil, config.Problems{{File: file, Message: fmt.Sprintf("OPA's formatter failed on this file: %v", r)}}
		}
	}()
	out, err := format.SourceWithOpts(file, text, format.Opts{RegoVersion: ast.RegoV1, ParserOptions: &ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true}})
	if err != nil {
		return nil, policy.RegoProblems(file, err)
	}
	return out, nil
}
