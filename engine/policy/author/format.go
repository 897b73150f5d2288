package author

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"chaperone/engine/config"
)

// Format lays a module out as opa fmt does.
func Format(file string, text []byte) ([]byte, config.Problems) {
	out, err := format.SourceWithOpts(file, text, format.Opts{RegoVersion: ast.RegoV1, ParserOptions: &ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true}})
	if err != nil {
		return nil, regoProblems(file, err)
	}
	return out, nil
}
