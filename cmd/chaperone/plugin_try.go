package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/wasm"
	"chaperone/sdk/workbench"
)

func pluginCheckCommand(out *printer) *cobra.Command {
	var golden, configuration string
	var seed uint64
	var limits limitFlags
	cmd := &cobra.Command{
		Use:   "check MODULE",
		Short: "Hold a module to what a scorer must do",
		Long: `Load a module as the router does and hold it to what a scorer must and should do: that it scores any number of rows, does the
same every time, keeps nothing that it should not, takes values that are not known or out of all measure, frees what it
allocates, refuses settings that it does not know, and gives the golden vectors' scores bit for bit.

The golden vectors are golden.json beside the module, where there is one. The exit code is 2 where a check has failed.

The limits of memory, code and fuel are the defaults, or with --limits those that a router's configuration sets for the module.`,
		Example: `  chaperone plugin check my-scorer
  chaperone plugin check my-scorer --limits /etc/chaperone/chaperone.toml
  chaperone plugin check plugin.wasm --golden vectors.json --seed 7`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			path, err := modulePath(args[0])
			if err != nil {
				return err
			}
			settings, err := parseConfiguration(configuration)
			if err != nil {
				return err
			}
			c := workbench.Conformance{Seed: seed}
			c.Plugin.Configuration = settings
			if c.Plugin.Limits, err = limits.read(path); err != nil {
				return err
			}
			if c.Plugin.Bytes, err = readModule(path); err != nil {
				return err
			}
			c.Plugin.Path = path
			vectors := golden
			if vectors == "" {
				vectors = beside(path, "golden.json")
			}
			text, err := os.ReadFile(vectors)
			if err != nil && (golden != "" || !errors.Is(err, os.ErrNotExist)) {
				return err
			}
			if err == nil {
				if c.Golden, err = wasm.ParseGolden(text); err != nil {
					return inputErrorf("%s: %v", vectors, err)
				}
			}
			h, done, err := pluginHost(cmd.Context(), io.Discard)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, done()) }()
			return reportChecks(out, path, seed, workbench.Check(cmd.Context(), h, c))
		},
	}
	cmd.Flags().StringVar(&golden, "golden", "", "file of golden vectors (golden.json beside the module)")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "seed of the batches that are made up")
	cmd.Flags().StringVar(&configuration, "config", "", "the plugin's configuration, as JSON; golden vectors have their own")
	limits.add(cmd)
	return cmd
}

func reportChecks(out *printer, path string, seed uint64, outcomes []workbench.Outcome) error {
	v := struct {
		OK     bool                `json:"ok"`
		Module string              `json:"module"`
		Seed   uint64              `json:"seed"`
		Checks []workbench.Outcome `json:"checks"`
	}{true, path, seed, outcomes}
	for _, o := range outcomes {
		v.OK = v.OK && o.Verdict != workbench.Failed
	}
	err := out.print(v, func(w io.Writer) {
		row(w, "CHECK", "", "")
		for _, o := range outcomes {
			row(w, o.Check, o.Verdict, o.Detail)
		}
	})
	if err == nil && !v.OK {
		return errInput
	}
	return err
}

// tryPlugin loads a module with a configuration and calls f.
func tryPlugin(cmd *cobra.Command, argument string, configuration map[string]any, limits *limitFlags, f func(p *wasm.Plugin) error) (err error) {
	path, err := modulePath(argument)
	if err != nil {
		return err
	}
	bounds, err := limits.read(path)
	if err != nil {
		return err
	}
	module, err := readModule(path)
	if err != nil {
		return err
	}
	h, done, err := pluginHost(cmd.Context(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	p, err := wasm.Load(cmd.Context(), h, wasm.Config{Path: path, Bytes: module, Configuration: configuration, Pool: 1, Limits: bounds})
	if err != nil {
		return inputErrorf("%v", err)
	}
	defer func() { err = errors.Join(err, p.Close(cmd.Context())) }()
	return f(p)
}

func pluginRunCommand(out *printer) *cobra.Command {
	var input, configuration string
	var limits limitFlags
	cmd := &cobra.Command{
		Use:   "run MODULE",
		Short: "Score a table of rows, best first",
		Long: `Score the rows of a JSON file:

    {"rows": [{"id": "a", "price.expected": 0.001}, {"id": "b", "price.expected": null}],
     "request": {"value_of_time": 1}, "configuration": {}, "now_ms": 0, "seed": 0}

chaperone explain --rows writes such a file of a decision. Names are those of the vocabulary; what the module's manifest does not
ask for is left out, and what it asks for and the file does not have is not known (NaN, null).`,
		Example: `  chaperone plugin run my-scorer
  chaperone plugin run plugin.wasm --input rows.json --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := modulePath(args[0])
			if err != nil {
				return err
			}
			if input == "" {
				input = beside(path, "rows.json")
			}
			text, err := os.ReadFile(input)
			if err != nil {
				return err
			}
			table, err := workbench.ParseTable(text)
			if err != nil {
				return inputErrorf("%s: %v", input, err)
			}
			settings, err := parseConfiguration(configuration)
			if err != nil {
				return err
			}
			if settings == nil {
				settings = table.Configuration
			}
			return tryPlugin(cmd, path, settings, &limits, func(p *wasm.Plugin) error {
				scored, err := workbench.Score(cmd.Context(), p, table)
				if errors.Is(err, wasm.ErrAbstained) {
					fmt.Fprintln(cmd.ErrOrStderr(), "the scorer abstains: it has no opinion on this request")
					scored, err = []workbench.Scored{}, nil
				}
				if err != nil {
					return err
				}
				if missing := table.Missing(p.Manifest()); len(missing) > 0 {
					if more := len(missing) - 10; more > 0 {
						missing = append(missing[:10], fmt.Sprintf("and %d more", more))
					}
					fmt.Fprintf(cmd.ErrOrStderr(), "not known in %s: %s\n", input, strings.Join(missing, ", "))
				}
				v := struct {
					Scores []workbench.Scored `json:"scores"`
				}{scored}
				return out.print(v, func(w io.Writer) {
					row(w, "ROW", "SCORE")
					for _, s := range scored {
						row(w, s.ID, shownScore(float64(s.Score)))
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&input, "input", "", "file of the rows (rows.json beside the module)")
	cmd.Flags().StringVar(&configuration, "config", "", "the plugin's configuration, as JSON (that of the file)")
	limits.add(cmd)
	return cmd
}

func shownScore(v float64) string {
	if math.IsNaN(v) {
		return "no opinion"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func pluginBenchCommand(out *printer) *cobra.Command {
	var each time.Duration
	var configuration string
	var limits limitFlags
	cmd := &cobra.Command{
		Use:   "bench MODULE",
		Short: "Measure what a call takes",
		Long: `Measure calls of 1, 20 and 200 made-up rows, one at a time, on this machine: gathering of the numbers, the scorer's own work
and reading of the scores. FUEL is the instructions of a call, of which the host allows a number.`,
		Example: `  chaperone plugin bench my-scorer
  chaperone plugin bench plugin.wasm --time 5s --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if each <= 0 {
				return inputErrorf("--time: found %s; expected more than 0s", each)
			}
			settings, err := parseConfiguration(configuration)
			if err != nil {
				return err
			}
			return tryPlugin(cmd, args[0], settings, &limits, func(p *wasm.Plugin) error {
				speeds, err := workbench.Bench(cmd.Context(), p, each, 1)
				if err != nil {
					return err
				}
				v := struct {
					Speeds []workbench.Speed `json:"speeds"`
				}{speeds}
				return out.print(v, func(w io.Writer) {
					row(w, "ROWS", "CALLS", "MEDIAN", "P99", "FUEL")
					for _, s := range speeds {
						row(w, s.Rows, s.Calls, time.Duration(s.Median), time.Duration(s.P99), s.Fuel)
					}
				})
			})
		},
	}
	cmd.Flags().DurationVar(&each, "time", time.Second, "how long each number of rows is measured")
	addConfiguration(cmd, &configuration)
	limits.add(cmd)
	return cmd
}

func pluginInspectCommand(out *printer) *cobra.Command {
	var configuration, router string
	var limits limitFlags
	cmd := &cobra.Command{
		Use:   "inspect MODULE",
		Short: "Show what a module is, wants to see and may do",
		Long: `Show what a module is, by whom it is signed, what it wants to see, what it may do, and the fuel that made-up batches take.

With --router, the private address of a router that runs it, also what became of its calls there and the fuel of the last.`,
		Example: `  chaperone plugin inspect plugins/ttft-target
  chaperone plugin inspect plugin.wasm --router http://127.0.0.1:9090
  chaperone plugin inspect plugin.wasm --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			settings, err := parseConfiguration(configuration)
			if err != nil {
				return err
			}
			path, err := modulePath(args[0])
			if err != nil {
				return err
			}
			bounds, err := limits.read(path)
			if err != nil {
				return err
			}
			module, err := readModule(path)
			if err != nil {
				return err
			}
			h, done, err := pluginHost(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, done()) }()
			d, err := workbench.Inspect(cmd.Context(), h, module, wasm.Config{Path: path, Configuration: settings, Limits: bounds})
			if err != nil {
				return inputErrorf("%v", err)
			}
			v := struct {
				*workbench.Description
				Signed  string                `json:"signed"`
				Running []engine.PluginReport `json:"running,omitempty"` // of that very module, in the router
			}{Description: d, Signed: signedBy(path, module)}
			if router != "" {
				if v.Running, err = running(cmd.Context(), router, d.SHA256); err != nil {
					return err
				}
			}
			return out.print(v, func(w io.Writer) {
				describeModule(w, d)
				row(w, "signed", v.Signed)
				for _, r := range v.Running {
					describeRuns(w, &r)
				}
			})
		},
	}
	addConfiguration(cmd, &configuration)
	limits.add(cmd)
	cmd.Flags().StringVar(&router, "router", "", "private address of a running router, its server.private_listen")
	return cmd
}

// running asks a router for the plugins of a module.
func running(ctx context.Context, router, digest string) ([]engine.PluginReport, error) {
	base, err := routerURL("--router", router)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/plugins", nil)
	if err != nil {
		return nil, inputErrorf("--router: %v", err)
	}
	text, err := fetch(request)
	if err != nil {
		return nil, err
	}
	var all struct{ Plugins []engine.PluginReport }
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s answered, and not as a router would: %w", request.URL, err)
	}
	own := slices.DeleteFunc(slices.Clone(all.Plugins), func(r engine.PluginReport) bool { return r.SHA256 != digest })
	if len(own) == 0 {
		var names []string
		for _, r := range all.Plugins {
			names = append(names, r.Name+" ("+r.SHA256[:12]+"…)")
		}
		return nil, inputErrorf("that router does not run this module; it runs %s", orNone(names))
	}
	return own, nil
}

func describeRuns(w io.Writer, r *engine.PluginReport) {
	state := "runs"
	switch {
	case r.Disabled:
		state = "disabled after repeated failures"
	case r.Shadow:
		state = "runs in the shadow"
	}
	row(w, "router", fmt.Sprintf("%s: %s; %d calls, %d abstentions, %d errors (%d traps, %d out of fuel, %d found no instance)", r.Name,
		state, r.Calls, r.Abstentions, r.Errors, r.Traps, r.OutOfFuel, r.Busy))
	row(w, "", fmt.Sprintf("%d of %d instances ready with %d KiB; %d calls waited for one; at most %d instructions", r.Instances, r.Pool,
		r.Memory>>10, r.Waits, r.MostFuel))
	for i, run := range r.Runs {
		label := ""
		if i == 0 {
			label = "last runs"
		}
		row(w, label, fmt.Sprintf("%s  %d instructions for %d rows, %s", run.At.UTC().Format("2006-01-02 15:04:05.000"), run.Fuel, run.Rows, run.Outcome))
	}
}

func describeModule(w io.Writer, d *workbench.Description) {
	list := func(names []string) string {
		if len(names) == 0 {
			return "-"
		}
		return strings.Join(names, ", ")
	}
	row(w, "name", d.Name)
	row(w, "version", d.Version)
	row(w, "sha256", d.SHA256)
	row(w, "bytes", d.Bytes)
	row(w, "columns", list(d.Columns))
	row(w, "request", list(d.Request))
	row(w, "rows", d.Rows)
	row(w, "scale", d.Scale)
	row(w, "observes", list(d.Observe))
	row(w, "imports", list(d.Imports))
	row(w, "exports", list(d.Exports))
	for _, f := range d.Fuel {
		rows := "a row"
		if f.Rows > 1 {
			rows = fmt.Sprintf("%d rows", f.Rows)
		}
		row(w, "fuel", fmt.Sprintf("%d instructions for %s", f.Instructions, rows))
	}
	for i, may := range d.May {
		label := ""
		if i == 0 {
			label = "may"
		}
		row(w, label, may)
	}
}

func addConfiguration(cmd *cobra.Command, text *string) {
	cmd.Flags().StringVar(text, "config", "", "the plugin's configuration, as JSON")
}

func parseConfiguration(text string) (map[string]any, error) {
	if text == "" {
		return nil, nil
	}
	var settings map[string]any
	if err := json.Unmarshal([]byte(text), &settings); err != nil {
		return nil, inputErrorf("--config: %v; it should be a JSON object", err)
	}
	return settings, nil
}
