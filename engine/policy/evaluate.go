package policy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
)

// policy is one package under given parameters, ready to evaluate. Bindings that agree on both share it.
type policy struct {
	pkg      string // data.library.training
	store    storage.Store
	txn      storage.Transaction
	patterns cache.InterQueryValueCache // compiled regular expressions and globs
	timeout  time.Duration
	allow    *ast.Location // of the first rule allow; nil where the package has none

	metadata  map[ruleKey]*metadata
	rules     []Rule
	places    []place[read] // where it reads the input
	constants constants     // with which it compares

	demands bool // the package has rules require

	row     *question // deny, allow, require; nil where the package has none of them
	request *question // reject
	prefer  *question
}

// question is one prepared query.
type question struct {
	compiler *ast.Compiler
	body     ast.Body
	query    ast.QueryCompiler
	reads    readSet
	memo     *memo

	unindexed bool // evaluated without OPA's rule index
}

// evaluation is an answer to one of a policy's questions, on the input document that holds what the question reads.
type evaluation func(context.Context, ast.Value) *outcome

const answerVar = ast.Var("answer")

// newQuestion prepares a query for the values of rules, each in an array that is empty where the rule is undefined.
func newQuestion(c *compiled, pkg string, rules ...string) (*question, error) {
	rules = slices.DeleteFunc(slices.Clone(rules), func(rule string) bool {
		return !slices.ContainsFunc(c.graph.packages[pkg], func(n *ruleNode) bool { return n.name() == rule })
	})
	if len(rules) == 0 {
		return nil, nil
	}
	reads, err := c.reads(pkg, rules...)
	if err != nil {
		return nil, err
	}
	answer := ast.NewObject()
	for _, rule := range rules {
		ref := ast.MustParseRef(pkg).Append(ast.StringTerm(rule))
		v := ast.VarTerm("value")
		answer.Insert(ast.StringTerm(rule), ast.ArrayComprehensionTerm(v, ast.NewBody(ast.Equality.Expr(v, ast.NewTerm(ref)))))
	}
	q := &question{compiler: c.compiler, query: c.compiler.QueryCompiler(), reads: reads, memo: newMemo(reads)}
	q.body, err = q.query.Compile(ast.NewBody(ast.Equality.Expr(ast.VarTerm(string(answerVar)), ast.NewTerm(answer))))
	return q, err
}

func newStore(params map[string]any) (storage.Store, storage.Transaction, error) {
	if params == nil {
		params = map[string]any{}
	}
	store := inmem.NewFromObjectWithOpts(map[string]any{"params": params}, inmem.OptReturnASTValuesOnRead(true))
	txn, err := store.NewTransaction(context.Background()) // reads, for as long as the store lives: nobody writes
	return store, txn, err
}

var errUndefined = errors.New("the query has no answer")

// errOverrun is an evaluation that was stopped.
type errOverrun struct {
	why   string
	at    *ast.Location // in the policy; nil: at no place in particular
	spent bool          // its allowance, which it will be again on this input; else it did not end in time, which says nothing
}

func (e *errOverrun) Error() string { return e.why }

// ask evaluates q on input. Whatever goes wrong is an error, a panic too.
func (p *policy) ask(ctx context.Context, q *question, input ast.Value, tracer topdown.QueryTracer) (answer ast.Object, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("evaluation failed: %v", r)
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, &errOverrun{why: "the request ended before it was judged: " + err.Error()}
	}
	m := newMeter()
	timer := time.AfterFunc(p.timeout, m.Cancel)
	defer timer.Stop()
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, m.Cancel)()
	}
	query := topdown.NewQuery(q.body).
		WithQueryCompiler(q.query).
		WithCompiler(q.compiler).
		WithStore(p.store).
		WithTransaction(p.txn).
		WithCancel(m).
		WithBuiltins(metered).
		WithInput(ast.NewTerm(input)).
		WithMetrics(metrics.NoOp()).
		WithInterQueryBuiltinValueCache(p.patterns).
		WithTime(time.Unix(0, 0)).
		WithSeed(zeroReader{}).
		WithIndexing(!q.unindexed).
		WithStrictBuiltinErrors(true)
	if tracer != nil {
		query = query.WithQueryTracer(tracer)
	}
	err = query.Iter(ctx, func(r topdown.QueryResult) error {
		if answer != nil {
			return errors.New("the query has more than one answer")
		}
		answer, _ = r[answerVar].Value.(ast.Object)
		return nil
	})
	switch {
	case m.spent():
		return nil, &errOverrun{why: m.why, at: m.at, spent: true}
	case topdown.IsCancel(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		if ctx.Err() != nil {
			return nil, &errOverrun{why: "the request ended while it was judged: " + ctx.Err().Error()}
		}
		return nil, &errOverrun{why: fmt.Sprintf("evaluation took longer than %s", p.timeout)}
	case err != nil:
		return nil, err
	case answer == nil:
		return nil, errUndefined
	}
	return answer, nil
}

// zeroReader stands in for randomness, which no allowed builtin reads.
type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// outcome is what a policy says of one row or of one request.
type outcome struct {
	reasons     []Reason // without their binding; none: permitted
	obligations Obligations
	weights     map[string]float64
	overran     bool // the evaluation was stopped
	transient   bool // it, or the one that finds the rules, was stopped and would perhaps not be another time: true of this one only
}

func failed(err error) *outcome {
	r := Reason{Rule: ruleError, Message: err.Error()}
	var te *topdown.Error
	if errors.As(err, &te) {
		r.Message = strings.Join(strings.Fields(te.Message), " ")
		r.Code = te.Code
		if te.Location != nil {
			r.File, r.Line = te.Location.File, te.Location.Row
		}
	}
	o := &outcome{}
	var overrun *errOverrun
	if errors.As(err, &overrun) {
		o.overran, o.transient = true, !overrun.spent
		if o.transient {
			r.Code = CodeOverrun
		}
		if overrun.at != nil {
			r.File, r.Line = overrun.at.File, overrun.at.Row
		}
	}
	o.reasons = []Reason{r}
	return o
}

// judgeRow evaluates deny, allow and require.
func (p *policy) judgeRow(ctx context.Context, input ast.Value) *outcome {
	answer, err := p.ask(ctx, p.row, input, nil)
	if err != nil {
		return failed(err)
	}
	o := &outcome{}
	if values, ok := elements(answer, ruleDeny); ok {
		p.denials(ctx, o, p.row, ruleDeny, values, input)
	}
	if values, ok := elements(answer, ruleAllow); ok && (len(values) != 1 || !values[0].Equal(ast.InternedTerm(true))) {
		r := Reason{Rule: ruleAllow, Message: "no rule allow holds for it"}
		r.at(p.allow, p.metadata[keyOfRule(p.allow)])
		if len(values) == 1 && !values[0].Equal(ast.InternedTerm(false)) {
			r.Message = fmt.Sprintf("allow is %s, which is not true", values[0])
		}
		o.reasons = append(o.reasons, r)
	}
	if values, ok := elements(answer, ruleRequire); ok {
		for _, v := range members(values) {
			if err := o.obligations.tighten(v.Value); err != nil {
				o.reasons = append(o.reasons, Reason{Rule: ruleError, Message: err.Error()})
			}
		}
	}
	return o
}

// judgeRequest evaluates reject.
func (p *policy) judgeRequest(ctx context.Context, input ast.Value) *outcome {
	answer, err := p.ask(ctx, p.request, input, nil)
	if err != nil {
		return failed(err)
	}
	o := &outcome{}
	if values, ok := elements(answer, ruleReject); ok {
		p.denials(ctx, o, p.request, ruleReject, values, input)
	}
	return o
}

// weigh evaluates prefer.
func (p *policy) weigh(ctx context.Context, input ast.Value) *outcome {
	answer, err := p.ask(ctx, p.prefer, input, nil)
	if err != nil {
		return failed(err)
	}
	o := &outcome{}
	values, _ := elements(answer, rulePrefer)
	if len(values) == 0 {
		return o
	}
	weights, ok := values[0].Value.(ast.Object)
	if !ok {
		return failed(fmt.Errorf("prefer is %s; expected an object of weights", values[0]))
	}
	o.weights = make(map[string]float64, weights.Len())
	err = weights.Iter(func(k, v *ast.Term) error {
		name, isString := k.Value.(ast.String)
		number, isNumber := v.Value.(ast.Number)
		if !isString || !isNumber {
			return fmt.Errorf("prefer[%s] is %s; expected a scorer's name and a number", k, v)
		}
		w, ok := number.Float64()
		if !ok || w < 0 || math.IsInf(w, 0) {
			return fmt.Errorf("prefer[%s] is %s; expected a weight of 0 or more", k, v)
		}
		o.weights[string(name)] = w
		return nil
	})
	if err != nil {
		return failed(err)
	}
	return o
}

// elements are what the array of that rule in answer holds; ok is false where the rule was not asked for.
func elements(answer ast.Object, rule string) (values []*ast.Term, ok bool) {
	t := answer.Get(ast.InternedTerm(rule))
	if t == nil {
		return nil, false
	}
	array, ok := t.Value.(*ast.Array)
	if !ok {
		return []*ast.Term{t}, true
	}
	for i := range array.Len() {
		values = append(values, array.Elem(i))
	}
	return values, true
}

// members are those of the sets among values; what is no set stands for itself, to be refused.
func members(values []*ast.Term) []*ast.Term {
	var all []*ast.Term
	for _, v := range values {
		if set, ok := v.Value.(ast.Set); ok {
			all = append(all, set.Slice()...)
		} else {
			all = append(all, v)
		}
	}
	return all
}

// denials turns the elements of a rule into reasons. Which rule put them there takes a second, traced evaluation.
func (p *policy) denials(ctx context.Context, o *outcome, q *question, rule string, values []*ast.Term, input ast.Value) {
	found := members(values)
	if len(found) == 0 {
		return
	}
	trace := &firings{rule: p.pkg + "." + rule, metadata: p.metadata, fired: map[string]*firing{}}
	if _, err := p.ask(ctx, q, input, trace); err != nil {
		// The denials stand, and nobody knows whose they are: a rule that was not reached may be one that must not be waived. Where
		// it was only the time that ran out, or the request that went, another evaluation will know.
		clear(trace.fired)
		var overrun *errOverrun
		o.transient = o.transient || errors.As(err, &overrun) && !overrun.spent
	}
	for _, v := range found[:min(len(found), maxReasons)] {
		r, err := parseReason(v.Value)
		r.Rule = rule
		if err != nil {
			r = Reason{Rule: ruleError, Message: rule + ": " + err.Error()}
		}
		if f := trace.fired[v.String()]; f != nil {
			r.at(f.loc, f.metadata)
			r.waivable = f.waivable && r.Rule == ruleDeny
		}
		o.reasons = append(o.reasons, r)
	}
	if more := len(found) - maxReasons; more > 0 {
		o.reasons = append(o.reasons, Reason{Rule: rule, Message: fmt.Sprintf("and %d more reasons", more)})
	}
}
