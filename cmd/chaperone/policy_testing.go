package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/config"
	"chaperone/engine/policy/author"
)

func policyTestCommand(out *printer) *cobra.Command {
	var path string
	var threshold float64
	var verbose bool
	cmd := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Run tests of policies: OPA's, and tables of cases",
		Long: `Run the tests below each PATH, the present folder if there is none.

In *_test.rego they are OPA's: rules whose name starts with test_, run with OPA's own runner together with the other .rego
files. The share of the other files' lines that they reach is shown, with those that they do not.

In *_test.toml they are cases, for which no Rego has to be written. They say what the configuration's policies, as bound, leave
somebody of a model:

    [[case]]
    org       = "acme"                    # team = and key = say it more narrowly
    model     = "openai/gpt-4o-mini"
    request   = { tools = [{ type = "web_search" }] }  # or JSON as text; left out: plain text
    at        = 2027-01-31T09:00:00Z      # left out: now
    permitted = ["openai"]                # providers, tags or rows; [] means that nothing is
    denied    = ["example"]
    because   = "trains"                  # of what is denied: a code, a package, or words of the reason

A provider is permitted where one of its rows is, and denied where none is. What stands in neither list is not looked at.

The exit code is 3 where a test fails or --threshold is not reached, and 2 where a file is not right.`,
		Example: `  chaperone policy test
  chaperone policy test rego --threshold 100
  chaperone policy test cases_test.toml --config /etc/chaperone/chaperone.toml --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			r, err := runTests(cmd, args, path)
			if err != nil {
				return err
			}
			r.Threshold = threshold
			if err := out.print(r, func(w io.Writer) { r.write(w, verbose) }); err != nil {
				return err
			}
			if r.Failed > 0 || r.below() {
				return errRefused
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration whose policies the cases are about")
	cmd.Flags().Float64Var(&threshold, "threshold", 0, "least share of lines, in percent, that Rego tests must reach")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what passed too")
	return cmd
}

// testReport is what policy test prints.
type testReport struct {
	Passed    int                  `json:"passed"`
	Failed    int                  `json:"failed"`
	Skipped   int                  `json:"skipped"`
	Rego      []author.RegoResult  `json:"rego"`
	Coverage  *author.RegoCoverage `json:"coverage"` // null where no Rego test ran
	Cases     []author.CaseResult  `json:"cases"`
	Threshold float64              `json:"threshold"`
}

// below says whether less is covered than was asked for; where nothing was measured, less is.
func (r *testReport) below() bool {
	return r.Threshold > 0 && (r.Coverage == nil || r.Coverage.Percent < r.Threshold)
}

func runTests(cmd *cobra.Command, paths []string, configuration string) (*testReport, error) {
	r := &testReport{Rego: []author.RegoResult{}, Cases: []author.CaseResult{}}
	texts, tables := map[string][]byte{}, map[string][]byte{}
	var modules []string
	var order []string
	for _, path := range paths {
		rego, cases, err := author.TestFiles(path)
		if err != nil {
			return nil, inputError{err.Error()}
		}
		modules, order = append(modules, rego...), append(order, cases...)
		for into, files := range map[*map[string][]byte][]string{&texts: rego, &tables: cases} {
			for _, file := range files {
				if (*into)[file], err = os.ReadFile(file); err != nil {
					return nil, err
				}
			}
		}
	}
	if !author.HasTests(modules) && len(order) == 0 {
		return nil, inputErrorf("%s: no tests; expected *_test.rego or *_test.toml (chaperone policy new writes a first one)", strings.Join(paths, ", "))
	}
	if author.HasTests(modules) {
		results, coverage, problems := author.TestRego(cmd.Context(), texts)
		if err := problems.Err(); err != nil {
			return nil, err
		}
		r.Rego, r.Coverage = results, coverage
	}
	if err := r.runCases(cmd, order, tables, configuration); err != nil {
		return nil, err
	}
	for _, t := range r.Rego {
		r.count(t.OK, t.Skip)
	}
	for _, c := range r.Cases {
		r.count(c.OK, false)
	}
	return r, nil
}

func (r *testReport) runCases(cmd *cobra.Command, files []string, tables map[string][]byte, configuration string) error {
	if len(files) == 0 {
		return nil
	}
	world, err := engine.Policies(cmd.Context(), configuration, os.LookupEnv)
	if err != nil {
		return err
	}
	var problems config.Problems
	now := time.Now()
	for _, file := range files {
		results, found := world.Cases(cmd.Context(), file, tables[file], now)
		problems, r.Cases = append(problems, found...), append(r.Cases, results...)
	}
	return problems.Err()
}

func (r *testReport) count(ok, skipped bool) {
	switch {
	case skipped:
		r.Skipped++
	case ok:
		r.Passed++
	default:
		r.Failed++
	}
}

func (r *testReport) write(w io.Writer, verbose bool) {
	for _, t := range r.Rego {
		if t.OK && !verbose {
			continue
		}
		fmt.Fprintf(w, "%s  %s  %s\n", mood(t.OK, t.Skip), t.Place, t.Name)
		writeIndented(w, t.Why)
		if !t.OK {
			writeIndented(w, t.Output)
		}
	}
	for _, c := range r.Cases {
		if c.OK && !verbose {
			continue
		}
		fmt.Fprintf(w, "%s  %s  %s\n", mood(c.OK, false), c.Place, c.Name)
		writeIndented(w, strings.Join(c.Diff, "\n"))
	}
	fmt.Fprintf(w, "%d passed, %d failed", r.Passed, r.Failed)
	if r.Skipped > 0 {
		fmt.Fprintf(w, ", %d skipped", r.Skipped)
	}
	fmt.Fprintln(w)
	if c := r.Coverage; c != nil {
		fmt.Fprintf(w, "coverage %.1f %%", c.Percent)
		if r.below() {
			fmt.Fprintf(w, ", less than --threshold %g", r.Threshold)
		}
		fmt.Fprintln(w)
		for _, place := range c.NotCovered {
			fmt.Fprintf(w, "  not reached: %s\n", place)
		}
	} else if r.below() {
		fmt.Fprintf(w, "no Rego test ran, so no coverage was measured, and --threshold is %g\n", r.Threshold)
	}
}

func mood(ok, skipped bool) string {
	switch {
	case skipped:
		return "SKIP"
	case ok:
		return "PASS"
	}
	return "FAIL"
}

func writeIndented(w io.Writer, text string) {
	if text == "" {
		return
	}
	for _, line := range strings.Split(text, "\n") {
		fmt.Fprintln(w, "      "+line)
	}
}
