package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

const about = `Chaperone is a self-hosted router for language models. Policies decide which providers may serve a request,
scorers which of them should, and a request falls back from one to the next until it is answered.

Every command prints a table, or one JSON object with --json. Messages about what went wrong go to standard error.

Exit codes:
  0  done
  1  it could not be done: a listener, file or provider failed
  2  the command line or an input file is not right; the message says where and what would be
  3  the answer is no: nothing may serve the request, a policy's test fails, a model falls short, a request is lost needlessly`

// commands makes the subcommands, each of which stands in the file of its name.
var commands = []func(*printer) *cobra.Command{versionCommand, simCommand, checkCommand, serveCommand, keyCommand, explainCommand, initCommand, demoCommand, pluginCommand,
	policyCommand, journalCommand, ledgerCommand, usageCommand, replayCommand, reportCommand, catalogCommand, chaosCommand}

// run carries out a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root, reached := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if message := err.Error(); message != "" {
		fmt.Fprintln(stderr, message)
	}
	if !*reached {
		fmt.Fprintln(stderr, "\nchaperone --help shows the commands, chaperone COMMAND --help what each takes.")
		return exitInput
	}
	return exitCode(err)
}

// newRoot makes the command line; reached tells afterwards whether arguments were good enough for a command to start.
func newRoot(stdout, stderr io.Writer) (root *cobra.Command, reached *bool) {
	out := &printer{w: stdout}
	reached = new(bool)
	root = &cobra.Command{
		Use:   "chaperone",
		Short: "Route requests for language models by policy, rank and fallback",
		Long:  about,
		Example: `  chaperone init --dir router
  chaperone serve --config router/chaperone.toml
  chaperone explain --config router/chaperone.toml --model openai/gpt-4o-mini
  chaperone check --config chaperone.toml
  chaperone sim --config providers.toml --seed 1`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.PersistentFlags().BoolVar(&out.json, "json", false, "print one JSON object in place of tables")
	for _, command := range commands {
		c := command(out)
		mark(c, reached)
		root.AddCommand(c)
	}
	return root, reached
}

// mark has a command and those below it tell that they were reached. A hook such as PersistentPreRun would not do: cobra
// checks required flags after it.
func mark(c *cobra.Command, reached *bool) {
	if does := c.RunE; does != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			*reached = true
			return does(c, args)
		}
	}
	for _, sub := range c.Commands() {
		mark(sub, reached)
	}
}
