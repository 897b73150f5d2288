package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/account"
	"chaperone/engine/config"
	"chaperone/engine/journal"
	"chaperone/engine/wire"
)

// question is what explain is asked.
type question struct {
	config                  string
	organisation, team, key string // whose request it is
	url, keyEnv             string // of a running router
	body                    string // file of the request; "" makes one of the rest
	api                     string // that the body is of
	model                   string
	promptTokens, maxTokens int64
	stream                  bool
	rows                    string // file for the table that scorers ranked by; "": none
}

func explainCommand(out *printer) *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "explain [DECISION]",
		Short: "Show for every candidate whether it is permitted, by which rule it is not, and what it scores",
		Long: `Decide a request without sending it anywhere, and show every candidate: its place in the plan and its score in dollars, or
the rule that denies it with file and line.

Without --url the configuration decides, with the catalog's expectations in place of measurements. With --url a running
router decides, with what it has measured; or it shows a decision that it has made, by the id that an answer carries in its
X-Generation-Id header.

PRICE, TIME and RISK are what the request is expected to cost there, what waiting for it costs, and what failed attempts
are expected to cost. SHARE is the probability of the first place, which is drawn; the rest follow by UTILITY.
Where several scorers decide, what each says by itself comes last; PRICE, TIME and RISK make way for it where the line would
be too long. Those in brackets are shadows, which move nothing. Below the table stands what each shadow would have put first,
and how likely it would have chosen likewise.

With --rows the numbers that scorers ranked by go into a file, for chaperone plugin run; of a running router --url is then the
private address, its server.private_listen.

The exit code is 3 where nothing may serve the request.`,
		Example: `  chaperone explain --org acme --model openai/gpt-4o-mini
  chaperone explain --key key_c8fe1d39082e --body request.json
  chaperone explain --org acme --api messages --body request.json
  chaperone explain --url http://127.0.0.1:8080 --model openai/gpt-4o-mini
  chaperone explain --model openai/gpt-4o-mini --rows rows.json && chaperone plugin run my-scorer --input rows.json
  chaperone explain gen-01J9ZB3V5T0Q4W --url http://127.0.0.1:8080 --key-env CHAPERONE_KEY --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, table, err := q.answer(cmd, args)
			if err != nil {
				return err
			}
			if q.rows != "" {
				if len(table) == 0 || string(table) == "null" {
					return inputErrorf("--rows: nothing was ranked, so there are no rows")
				}
				if err := os.WriteFile(q.rows, append(table, '\n'), 0o666); err != nil {
					return err
				}
			}
			var rec journal.Record
			if err := json.Unmarshal(text, &rec); err != nil {
				return fmt.Errorf("the decision cannot be read: %w", err)
			}
			if out.json {
				fmt.Fprintf(out.w, "%s\n", text)
			} else {
				writeDecision(out.w, &rec)
			}
			if !rec.Dispatched && rec.Outcome.Status != 0 {
				return errRefused
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.config, "config", defaultConfig, "configuration file")
	f.StringVar(&q.organisation, "org", "", "organisation that asks (the only one, if there is only one)")
	f.StringVar(&q.team, "team", "", "team that asks")
	f.StringVar(&q.key, "key", "", "id of the key that asks, in place of --org and --team")
	f.StringVar(&q.url, "url", "", "a running router to ask in place of a configuration")
	f.StringVar(&q.keyEnv, "key-env", "CHAPERONE_KEY", "environment variable with an API key of that router")
	f.StringVar(&q.rows, "rows", "", "file for the numbers that scorers ranked by, as chaperone plugin run --input reads them")
	f.StringVar(&q.body, "body", "", "file with the whole request, - for standard input")
	f.StringVar(&q.api, "api", string(wire.Chat), "API that the body is of: "+strings.Join(wire.Shapes(), ", "))
	f.StringVar(&q.model, "model", "", "model of the request")
	f.Int64Var(&q.promptTokens, "prompt-tokens", 1000, "length of its prompt")
	f.Int64Var(&q.maxTokens, "max-tokens", 0, "the most output tokens that it asks for; 0: no limit")
	f.BoolVar(&q.stream, "stream", false, "it asks for a stream")
	cmd.MarkFlagsMutuallyExclusive("key", "org")
	cmd.MarkFlagsMutuallyExclusive("key", "team")
	for _, made := range []string{"model", "prompt-tokens", "max-tokens", "stream"} {
		cmd.MarkFlagsMutuallyExclusive("body", made)
		cmd.MarkFlagsMutuallyExclusive("api", made)
	}
	for _, local := range []string{"config", "org", "team", "key"} {
		cmd.MarkFlagsMutuallyExclusive("url", local)
	}
	return cmd
}

// answer is the decision's record as JSON, with the table of its rows where that is wanted.
func (q *question) answer(cmd *cobra.Command, args []string) (record, table []byte, err error) {
	if len(args) == 1 {
		switch {
		case q.url == "":
			return nil, nil, inputErrorf("%s: a decision is kept by the router that made it; name that with --url", args[0])
		case q.rows != "":
			return nil, nil, inputErrorf("--rows is of a decision that is made now: a record has what scorers said, not what they saw")
		}
		record, err = q.past(cmd.Context(), args[0])
		return record, nil, err
	}
	if !slices.Contains(wire.Shapes(), q.api) {
		return nil, nil, inputErrorf("--api: %s", config.UnknownName("API", q.api, wire.Shapes()))
	}
	body, err := q.request(cmd.InOrStdin())
	if err != nil {
		return nil, nil, err
	}
	switch {
	case q.url == "":
		return q.decide(cmd.Context(), body, cmd.ErrOrStderr())
	case q.rows != "":
		return q.askRows(cmd.Context(), body)
	}
	record, err = q.ask(cmd.Context(), body)
	return record, nil, err
}

// request is the body to decide on.
func (q *question) request(stdin io.Reader) ([]byte, error) {
	switch {
	case q.body == "-":
		return io.ReadAll(stdin)
	case q.body != "":
		text, err := os.ReadFile(q.body)
		if err != nil {
			return nil, inputErrorf("--body: %v", err)
		}
		return text, nil
	case q.model == "":
		return nil, inputErrorf("no request: name a model with --model, or a file with the whole request with --body")
	case q.promptTokens < 1 || q.promptTokens > mostPromptTokens:
		return nil, inputErrorf("--prompt-tokens: found %d; expected 1 to %d", q.promptTokens, mostPromptTokens)
	case q.maxTokens < 0:
		return nil, inputErrorf("--max-tokens: found %d; expected 1 or more, or 0 for no limit", q.maxTokens)
	}
	request := map[string]any{
		"model":    q.model,
		"messages": []map[string]string{{"role": "user", "content": prompt(q.promptTokens)}},
		"stream":   q.stream,
	}
	if q.maxTokens > 0 {
		request["max_tokens"] = q.maxTokens
	}
	return json.Marshal(request)
}

const mostPromptTokens = 5_000_000

// prompt is a text with which a request is estimated to have that many prompt tokens, or the fewest that it can have.
func prompt(tokens int64) string {
	const perMessage = 4
	n := max(tokens-perMessage, 1)
	return strings.Repeat("word", int(n/wire.EstimateTokens(len("word"))))
}

// decide asks an engine of its own.
func (q *question) decide(ctx context.Context, body []byte, stderr io.Writer) (record, table []byte, err error) {
	key, err := q.asker()
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) { // Open reports these with all others
		return nil, nil, err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	e, err := engine.Open(ctx, engine.Options{ConfigPath: q.config, Log: log, DecideOnly: true})
	if err != nil {
		return nil, nil, err
	}
	defer e.Close(context.WithoutCancel(ctx))
	plan, err := e.Decide(ctx, engine.Call{As: key, Shape: wire.Shape(q.api), Body: body})
	if err != nil {
		return nil, nil, inputError{err.Error()}
	}
	if plan.Refusal != nil && len(plan.Candidates) == 0 && len(plan.Rejections) == 0 { // nothing was considered
		return nil, nil, inputError{plan.Refusal.Message}
	}
	if record, err = json.Marshal(journal.Of(plan)); err != nil {
		return nil, nil, err
	}
	table, err = e.Table(plan)
	return record, table, err
}

// asker is the id of the key that asks.
func (q *question) asker() (string, error) {
	accounts, err := engine.Accounts(q.config)
	if err != nil {
		return "", err
	}
	now := time.Now()
	if q.key != "" {
		return q.key, checkKey(accounts, q.config, q.key, now)
	}
	organisation := q.organisation
	if names := slices.Sorted(maps.Keys(accounts.Organisations)); organisation == "" {
		if len(names) != 1 {
			return "", inputErrorf("who asks? Name one with --org: %s has %s", q.config, orNone(names))
		}
		organisation = names[0]
	}
	if err := checkOwner(accounts, q.config, organisation, q.team); err != nil {
		return "", err
	}
	others := 0 // of the organisation's teams
	for _, k := range accounts.Keys() {
		if k.Organisation != organisation || show(k, now).State != inForce {
			continue
		}
		if k.Team == q.team {
			return k.ID, nil
		}
		others++
	}
	who := owner(organisation, q.team)
	if others > 0 {
		return "", inputErrorf("%s: %s has no key of its own in force, but there are others of %s (chaperone key list): name one with --key or --team",
			q.config, who, organisation)
	}
	made := "chaperone key new --org " + organisation
	if q.team != "" {
		made += " --team " + q.team
	}
	return "", inputErrorf("%s: %s has no key in force; %s makes one", q.config, who, made)
}

func checkKey(accounts *account.Accounts, path, id string, now time.Time) error {
	var ids []string
	for _, k := range accounts.Keys() {
		if k.ID == id {
			if state := show(k, now).State; state != inForce {
				return inputErrorf("--key: %s: %s is %s; expected a key in force (chaperone key list)", path, id, state)
			}
			return nil
		}
		ids = append(ids, k.ID)
	}
	return inputErrorf("--key: %s: %s", path, config.UnknownName("key", id, ids))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
