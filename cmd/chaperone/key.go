package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/account"
	"chaperone/engine/config"
)

func keyCommand(out *printer) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make, list and revoke the API keys of clients",
		Long: `Make, list and revoke the API keys of clients. The configuration file holds their hashes; a running router takes a change
up by itself.`,
		Example: `  chaperone key new --org acme --team fraud --expires 90d
  chaperone key list
  chaperone key revoke key_c8fe1d39082e`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&path, "config", defaultConfig, "configuration file")
	cmd.AddCommand(keyNewCommand(out, &path), keyListCommand(out, &path), keyRevokeCommand(out, &path))
	return cmd
}

func keyNewCommand(out *printer, path *string) *cobra.Command {
	var organisation, team, name, expires string
	cmd := &cobra.Command{
		Use:   "new --org ORGANISATION",
		Short: "Make a key, print it once and write its hash into the configuration",
		Example: `  chaperone key new --org acme
  chaperone key new --org acme --team fraud --name "nightly batch" --expires 90d
  chaperone key new --org acme --expires 2027-01-31 --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			accounts, err := engine.Accounts(*path)
			if err != nil {
				return err
			}
			if err := checkOwner(accounts, *path, organisation, team); err != nil {
				return err
			}
			now := time.Now()
			end, err := account.ParseExpiry(expires, now)
			if err != nil {
				return inputErrorf("--expires: %v", err)
			}
			secret, k := account.NewKey(organisation, team, name, end, now)
			if err := account.AppendKey(*path, k); err != nil {
				return err
			}
			v := struct {
				Key string `json:"key"`
				shownKey
			}{secret, show(&k, now)}
			return out.print(v, func(w io.Writer) {
				fmt.Fprintln(w, secret)
				fmt.Fprintf(w, "\nThis is the only time that the key is shown: %s keeps its hash, as %s of %s.\n", *path, k.ID, owner(k.Organisation, k.Team))
			})
		},
	}
	cmd.Flags().StringVar(&organisation, "org", "", "organisation that the key belongs to (required)")
	cmd.Flags().StringVar(&team, "team", "", "team of that organisation")
	cmd.Flags().StringVar(&name, "name", "", "what the key is for")
	cmd.Flags().StringVar(&expires, "expires", "never", "when it ends: a span such as 90d, a date such as 2027-01-31, or never")
	cmd.MarkFlagRequired("org")
	return cmd
}

// checkOwner says which organisation or team there is in place of one that there is not.
func checkOwner(accounts *account.Accounts, path, organisation, team string) error {
	org := accounts.Organisations[organisation]
	if org == nil {
		return inputErrorf("--org: %s: %s", path,
			config.UnknownName("organisation", organisation, slices.Collect(maps.Keys(accounts.Organisations))))
	}
	if team != "" && org.Teams[team] == nil {
		return inputErrorf("--team: %s: %s", path, config.UnknownName("team of "+org.ID, team, slices.Collect(maps.Keys(org.Teams))))
	}
	return nil
}

func keyListCommand(out *printer, path *string) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the keys, which are in force and which are not",
		Example: "  chaperone key list\n  chaperone key list --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			accounts, err := engine.Accounts(*path)
			if err != nil {
				return err
			}
			keys := []shownKey{}
			for _, k := range accounts.Keys() {
				keys = append(keys, show(k, time.Now()))
			}
			return out.print(map[string]any{"keys": keys}, func(w io.Writer) {
				row(w, "ID", "OWNER", "STATE", "EXPIRES", "CREATED", "NAME")
				for _, k := range keys {
					row(w, k.ID, owner(k.Organisation, k.Team), k.State, day(k.Expires, "never"), day(k.Created, "-"), k.Name)
				}
			})
		},
	}
}

func keyRevokeCommand(out *printer, path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Put a key out of force",
		Long: `Put a key out of force. Its entry stays in the configuration, disabled, so that the list goes on telling whose it was. A
running router refuses the key as soon as it has read the file, and ends no answer that has begun.`,
		Example: "  chaperone key revoke key_c8fe1d39082e",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			accounts, err := engine.Accounts(*path)
			if err != nil {
				return err
			}
			id := args[0]
			file := accounts.File(id)
			if file == "" {
				var ids []string
				for _, k := range accounts.Keys() {
					ids = append(ids, k.ID)
				}
				return inputErrorf("%s: %s", *path, config.UnknownName("key", id, ids))
			}
			if err := account.RevokeKey(file, id, time.Now()); err != nil {
				if errors.Is(err, account.ErrNoSuchKey) {
					return inputError{err.Error()}
				}
				return err
			}
			return out.print(map[string]any{"revoked": id, "config": file}, func(w io.Writer) {
				fmt.Fprintf(w, "%s is revoked in %s\n", id, file)
			})
		},
	}
}

// shownKey is what may be seen of a key.
type shownKey struct {
	ID           string     `json:"id"`
	Name         string     `json:"name,omitempty"`
	Organisation string     `json:"organisation"`
	Team         string     `json:"team,omitempty"`
	State        string     `json:"state"` // in force, expired, revoked
	Created      *time.Time `json:"created"`
	Expires      *time.Time `json:"expires"` // null: never
}

const inForce = "in force"

func show(k *account.Key, now time.Time) shownKey {
	s := shownKey{ID: k.ID, Name: k.Name, Organisation: k.Organisation, Team: k.Team, State: inForce}
	if !k.Created.IsZero() {
		s.Created = &k.Created
	}
	if !k.Expires.IsZero() {
		s.Expires = &k.Expires
	}
	switch {
	case k.Disabled:
		s.State = "revoked"
	case s.Expires != nil && !now.Before(k.Expires):
		s.State = "expired"
	}
	return s
}

func owner(organisation, team string) string {
	if team == "" {
		return organisation
	}
	return organisation + "/" + team
}

func day(t *time.Time, otherwise string) string {
	if t == nil {
		return otherwise
	}
	return t.UTC().Format(time.DateOnly)
}
