package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/policy/author"
	"chaperone/engine/wire"
)

func policyCommand(out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Write, test and compare policies, and see what they leave to whom",
		Long: `Write, test and compare policies, and see what they leave to whom.

The exit code is 3 where a command has done its work and the answer is no: a test fails, somebody's model falls short, a row
may not serve.`,
		Example: `  chaperone policy new acme.vision --dir rego
  chaperone policy try --watch rego/acme/vision.rego --org acme --model openai/gpt-4o-mini
  chaperone policy test rego
  chaperone policy matrix --min-providers 2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, sub := range policyCommands {
		cmd.AddCommand(sub(out))
	}
	return cmd
}

// policyCommands make the commands below policy, each of which stands in the file of its name.
var policyCommands = []func(*printer) *cobra.Command{
	policyNewCommand, policyListCommand, policyCheckCommand, policyFormatCommand, policyTestCommand, policyTryCommand,
	policyMatrixCommand, policyWhyNotCommand, policyCostCommand, policyDiffCommand,
}

// asker is whose request is judged, and which.
type asker struct {
	config                  string
	organisation, team, key string
	api, body               string
	at                      string
}

func (a *asker) flags(cmd *cobra.Command, organisation bool) {
	f := cmd.Flags()
	f.StringVar(&a.config, "config", defaultConfig, "configuration file")
	if organisation {
		f.StringVar(&a.organisation, "org", "", "organisation that asks")
	}
	f.StringVar(&a.team, "team", "", "team that asks")
	f.StringVar(&a.key, "key", "", "id of the key that asks")
	f.StringVar(&a.body, "body", "", "file with the request as JSON, in which the model and what is asked may be left out (default: plain text)")
	f.StringVar(&a.api, "api", "", "API that the request is of: "+strings.Join(wire.Shapes(), ", ")+" (default: the one that the model is for)")
	f.StringVar(&a.at, "at", "", "time of the request, such as 2027-01-31T09:00:00Z (default: now)")
	cmd.MarkFlagsMutuallyExclusive("team", "key")
}

// asked is what an asker asks, in its world.
type asked struct {
	world *author.World
	who   *account.Principal
	model *catalog.Model
	req   *wire.Request
	at    time.Time
}

func (a *asker) ask(cmd *cobra.Command, model string) (*asked, error) {
	q := &asked{}
	var err error
	if q.at, err = requestTime(a.at); err != nil {
		return nil, err
	}
	if q.world, err = engine.Policies(cmd.Context(), a.config, os.LookupEnv); err != nil {
		return nil, err
	}
	if q.who, err = q.world.Who(a.organisation, a.team, a.key, q.at); err != nil {
		return nil, inputErrorf("%s: %v", a.config, err)
	}
	if q.model, err = q.world.Model(q.who, model); err != nil {
		return nil, inputErrorf("%s: %v", a.config, err)
	}
	text, err := a.text(cmd)
	if err != nil {
		return nil, err
	}
	api, err := author.API(a.api, q.model)
	if err != nil {
		return nil, inputErrorf("--api: %v", err)
	}
	if q.req, err = author.Request(api, model, text); err != nil {
		return nil, inputErrorf("--body: %v", err)
	}
	return q, nil
}

func (a *asker) text(cmd *cobra.Command) (string, error) {
	if a.body == "" {
		return "", nil
	}
	if a.body == "-" {
		text, err := io.ReadAll(cmd.InOrStdin())
		return string(text), err
	}
	text, err := os.ReadFile(a.body)
	if err != nil {
		return "", inputErrorf("--body: %v", err)
	}
	return string(text), nil
}

func requestTime(at string) (time.Time, error) {
	if at == "" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return t, inputErrorf("--at: found %q; expected a time such as 2027-01-31T09:00:00Z", at)
	}
	return t, nil
}

// reasonText is one reason in a line, with its place.
func reasonText(r *policy.Reason) string {
	text := r.Message + " (" + author.Place(r) + ")"
	switch {
	case r.Waiver != nil:
		text = "waived until " + r.Waiver.Until + " (" + r.Waiver.Ticket + "): " + text
	case r.Enforcement == "warn" || r.Enforcement == "dryrun":
		text = r.Enforcement + " only: " + text
	}
	return text
}

func reasonTexts(reasons []policy.Reason) string {
	var texts []string
	for i := range reasons {
		if text := reasonText(&reasons[i]); !slices.Contains(texts, text) { // two bindings of one package say the same
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "; ")
}
