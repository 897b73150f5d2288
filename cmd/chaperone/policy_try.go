package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"chaperone/engine/config"
	"chaperone/engine/policy"
	"chaperone/engine/policy/author"
)

func policyTryCommand(out *printer) *cobra.Command {
	var a asker
	var model, params string
	var watch bool
	cmd := &cobra.Command{
		Use:   "try FILE --org ORG --model MODEL",
		Short: "Show which rows a policy would leave while it is being written",
		Long: `Show for every row of a model whether it could serve if the policy in FILE were bound to everyone, beside the policies that
the configuration binds already. FILE need not be part of the configuration; the other .rego files of its folder are compiled
with it. With --watch the table is drawn again whenever a file is saved, and rows that flipped are marked with *.`,
		Example: `  chaperone policy try rego/acme/vision.rego --org acme --model openai/gpt-4o-mini --params '{ providers = ["openai"] }'
  chaperone policy try --watch rego/acme/vision.rego --org acme --model openai/gpt-4o-mini --body request.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t := &trying{asker: &a, cmd: cmd, out: out, file: args[0], model: model, params: params}
			if !watch {
				return t.draw()
			}
			return t.watch()
		},
	}
	a.flags(cmd, true)
	cmd.Flags().StringVar(&model, "model", "", "model whose rows are shown (required)")
	cmd.Flags().StringVar(&params, "params", "", "parameters of the policy as TOML, such as { max_days = 30 }")
	cmd.Flags().BoolVar(&watch, "watch", false, "draw again whenever a file is saved")
	cmd.MarkFlagRequired("model")
	cmd.MarkFlagsOneRequired("org", "key")
	return cmd
}

// trying is a policy that is being written.
type trying struct {
	*asker
	cmd                 *cobra.Command
	out                 *printer
	file, model, params string

	last  map[string]bool // which rows were permitted when last drawn
	files []string        // that the configuration was read from
}

// triedRow is a row as it is printed.
type triedRow struct {
	Row       string          `json:"row"`
	Permitted bool            `json:"permitted"`
	Flipped   bool            `json:"flipped"`
	Denials   []policy.Reason `json:"denials"`  // the tried policy's first
	Warnings  []policy.Reason `json:"warnings"` // of bindings that only warn or run dry
}

// draw reads everything anew and prints the rows.
func (t *trying) draw() error {
	q, err := t.ask(t.cmd, t.model)
	if err != nil {
		return err
	}
	t.files = q.world.Files
	text, err := os.ReadFile(t.file)
	if err != nil {
		return inputError{err.Error()}
	}
	trial, problems := author.NewTrial(t.cmd.Context(), q.world, t.file, text, t.params)
	if err := problems.Err(); err != nil {
		return err
	}
	rows := []triedRow{}
	now := map[string]bool{}
	left := 0
	for _, r := range trial.Judge(t.cmd.Context(), q.who, q.req, q.model.Rows, q.at) {
		id := r.Bound.Row.ID
		now[id] = r.Permitted()
		if now[id] {
			left++
		}
		before, known := t.last[id]
		rows = append(rows, triedRow{id, now[id], known && before != now[id],
			append(append([]policy.Reason{}, r.Trial.Denials...), r.Bound.Denials...), append([]policy.Reason{}, r.Bound.Warnings...)})
	}
	t.last = now
	v := struct {
		Package  string          `json:"package"`
		Model    string          `json:"model"`
		Rows     []triedRow      `json:"rows"`
		Warnings config.Problems `json:"warnings"` // what of the policy would be better
	}{trial.Package, q.model.ID, rows, append(config.Problems{}, trial.Warnings(q.at)...)}
	return t.out.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "%s leaves %d of %d rows of %s\n\n", trial.Package, left, len(rows), q.model.ID)
		row(w, " ", "ROW", "VERDICT", "WHY")
		for i := range rows {
			writeTried(w, &rows[i])
		}
		for i, warning := range v.Warnings {
			if i == 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, "warning: "+warning.String())
		}
	})
}

func writeTried(w io.Writer, r *triedRow) {
	mark, verdict := " ", "denied"
	if r.Permitted {
		verdict = "permitted"
	}
	if r.Flipped {
		mark = "*"
		if r.Permitted {
			verdict += ", was denied"
		} else {
			verdict += ", was permitted"
		}
	}
	row(w, mark, r.Row, verdict, reasonTexts(append(append([]policy.Reason{}, r.Denials...), r.Warnings...)))
}

// quiet is how long files must have been quiet before they are read: an editor writes in several steps.
const quiet = 100 * time.Millisecond

// watch draws until it is interrupted. A file with a mistake is shown as such, and the last table counts for what flips next.
func (t *trying) watch() error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(t.file)); err != nil {
		return inputErrorf("%s: cannot be watched: %v", t.file, err)
	}
	if err := t.redraw(); err != nil {
		return err
	}
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	for {
		for _, file := range append([]string{t.config, t.file}, t.files...) {
			for _, name := range config.Trail(file) {
				if info, err := os.Lstat(name); err != nil || !info.IsDir() {
					name = filepath.Dir(name)
				}
				w.Add(name) // what cannot be watched is read at the next save of FILE
			}
		}
		select {
		case <-t.cmd.Context().Done():
			return nil
		case e := <-w.Events:
			if e.Op != fsnotify.Chmod {
				settled.Reset(quiet)
			}
			continue
		case err := <-w.Errors:
			return fmt.Errorf("watching %s: %w", t.file, err)
		case <-settled.C:
		}
		if err := t.redraw(); err != nil {
			return err
		}
	}
}

// redraw draws on an empty screen, where there is one. Mistakes of the input are drawn too.
func (t *trying) redraw() error {
	if f, ok := t.out.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !t.out.json {
		fmt.Fprint(t.out.w, "\x1b[H\x1b[2J")
	}
	err := t.draw()
	var problems config.Problems
	var input inputError
	if !errors.As(err, &problems) && !errors.As(err, &input) {
		return err
	}
	if t.cmd.Context().Err() != nil {
		return nil
	}
	if t.out.json {
		return t.out.print(map[string]any{"error": err.Error()}, nil)
	}
	_, err = fmt.Fprintln(t.out.w, err)
	return err
}
