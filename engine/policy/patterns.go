package policy

import (
	"context"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
)

// maxPatterns bounds how many compiled patterns a policy keeps: one that makes them of what callers write would keep any number.
const maxPatterns = 256

func newPatterns(ctx context.Context) cache.InterQueryValueCache {
	most := maxPatterns
	return cache.NewInterQueryValueCache(ctx, &cache.Config{InterQueryBuiltinValueCache: cache.InterQueryBuiltinValueCacheConfig{MaxNumEntries: &most}})
}

// OPA keeps a compiled glob under its pattern, a dash and its delimiters. To it "a-" between slashes is "a" between dashes and slashes,
// and whichever a policy has met first stands for both: a verdict would depend on the verdicts before it. So the pattern's length
// is made part of what a glob is kept under.

// globs is the patterns of a policy, seen by a glob.match whose pattern has that many bytes.
type globs struct {
	cache.InterQueryValueCache
	length int
}

func (g globs) under(k ast.Value) ast.Value {
	id, _ := k.(ast.String)
	return ast.String(strconv.Itoa(g.length)) + " " + id
}

func (g globs) Get(k ast.Value) (any, bool)   { return g.InterQueryValueCache.Get(g.under(k)) }
func (g globs) Insert(k ast.Value, v any) int { return g.InterQueryValueCache.Insert(g.under(k), v) }
func (g globs) Delete(k ast.Value)            { g.InterQueryValueCache.Delete(g.under(k)) }

// keptApart is OPA's glob.match, taking no glob for another.
func keptApart(plain topdown.BuiltinFunc) topdown.BuiltinFunc {
	return func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		bctx.InterQueryBuiltinValueCache = globs{bctx.InterQueryBuiltinValueCache, len(textOf(operands[0]))}
		return plain(bctx, operands, iter)
	}
}
