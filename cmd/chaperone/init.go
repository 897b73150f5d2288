package main

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"chaperone/engine/account"
	"chaperone/engine/sim/demo"
)

//go:embed starter
var starter embed.FS

// startOrganisation is the organisation that init makes.
const startOrganisation = "main"

func initCommand(out *printer) *cobra.Command {
	var dir string
	var simulated, force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a commented configuration to start from",
		Long: `Write a commented configuration, a catalog, a first policy of your own and a client key, which is printed once.

The configuration uses the catalog that ships: every provider of it can be used whose key is in the environment when the
router starts. The variables: ` + strings.Join(keyVariables(), ", ") + `.
A key's value is neither printed nor written.

With --simulated it writes a playground in place of that: the demo's ten simulated providers with fixed ports, two
organisations, policies and a plugin. It needs no provider key.`,
		Example: `  chaperone init
  chaperone init --dir /etc/chaperone
  chaperone init --simulated --dir playground`,
		Args: onlyFlags("--dir"),
		RunE: func(*cobra.Command, []string) error {
			var s start
			var err error
			if simulated {
				s, err = playground()
			} else {
				s, err = router(time.Now())
			}
			if err != nil {
				return err
			}
			if err := s.write(dir, force); err != nil {
				return err
			}
			return s.print(out, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "folder to write to; made where it is missing")
	cmd.Flags().BoolVar(&simulated, "simulated", false, "write a playground with simulated providers")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that exist")
	return cmd
}

// start is what init writes and says.
type start struct {
	files     map[string][]byte // by path below the folder
	newKey    bool              // make a key of startOrganisation
	Keys      map[string]string // organisation → client key
	Providers []foundProvider
	next      func(dir string) []string
}

type foundProvider struct {
	ID        string   `json:"id"`
	Variables []string `json:"variables"` // that it can be reached with
	Found     bool     `json:"found"`     // enough of them hold something
}

// router starts a configuration for real providers.
func router(now time.Time) (start, error) {
	s := start{newKey: true, Keys: map[string]string{}, next: func(dir string) []string {
		config := configFlag(dir)
		return []string{"chaperone check" + config, "chaperone serve" + config}
	}}
	s.Providers = startProviders()
	values := struct{ Today, NextYear string }{now.Format(time.DateOnly), now.AddDate(1, 0, 0).Format(time.DateOnly)}
	t, err := template.ParseFS(starter, "starter/*.tmpl")
	if err != nil {
		return s, err
	}
	s.files = map[string][]byte{}
	for _, name := range []string{"chaperone.toml", "catalog.toml"} {
		var b strings.Builder
		if err := t.ExecuteTemplate(&b, name+".tmpl", values); err != nil {
			return s, err
		}
		s.files[name] = []byte(b.String())
	}
	return s, s.addPolicy()
}

// playground starts one with simulated providers.
func playground() (start, error) {
	files, err := demo.Files(demo.Settings{Listen: "127.0.0.1:8080", PrivateListen: "127.0.0.1:9090"})
	s := start{
		files: files,
		Keys:  map[string]string{"open": demo.OpenKey, "strict": demo.StrictKey},
		next: func(dir string) []string {
			config := configFlag(dir)
			return []string{
				"chaperone explain --org strict --model " + demo.LargeModel + config,
				"chaperone sim --config " + filepath.Join(dir, "providers.toml"),
				"chaperone serve" + config + "    (in a second terminal)",
			}
		},
	}
	if err != nil {
		return s, err
	}
	s.files["chaperone.toml"] = append(files["chaperone.toml"], `
# One record a request, without content: what usage, journal, replay and report answer from.
[journal]
dir = "journal"
`...)
	return s, s.addPolicy()
}

func (s *start) addPolicy() error {
	text, err := starter.ReadFile("starter/own.rego")
	s.files[filepath.Join("policies", "own.rego")] = text
	return err
}

// configFlag is what names the configuration of that folder.
func configFlag(dir string) string {
	if filepath.Clean(dir) == "." {
		return ""
	}
	return " --config " + filepath.Join(dir, defaultConfig)
}

func (s *start) names() []string { return slices.Sorted(maps.Keys(s.files)) }

// write writes all files, or none where one is there already and force is not set.
func (s *start) write(dir string, force bool) error {
	var there []string
	for _, name := range s.names() {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			there = append(there, filepath.Join(dir, name))
		}
	}
	if len(there) > 0 && !force {
		return inputErrorf("nothing was written: %s already there; --force overwrites, --dir names another folder", isOrAre(there))
	}
	for _, name := range s.names() {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if filepath.Dir(name) == demo.KeyFolder {
			mode = 0o600
		}
		if err := os.WriteFile(path, s.files[name], mode); err != nil {
			return err
		}
	}
	if !s.newKey {
		return nil
	}
	secret, k := account.NewKey(startOrganisation, "", "made by init", time.Time{}, time.Now())
	s.Keys[startOrganisation] = secret
	return account.AppendKey(filepath.Join(dir, defaultConfig), k)
}

func isOrAre(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}

func (s *start) print(out *printer, dir string) error {
	v := struct {
		Files     []string          `json:"files"`
		Keys      map[string]string `json:"keys"` // of clients, by organisation
		Providers []foundProvider   `json:"providers,omitempty"`
	}{Keys: s.Keys, Providers: s.Providers}
	for _, name := range s.names() {
		v.Files = append(v.Files, filepath.Join(dir, name))
	}
	return out.print(v, func(w io.Writer) {
		fmt.Fprintln(w, "wrote:")
		for _, name := range v.Files {
			fmt.Fprintf(w, "  %s\n", name)
		}
		var found, missing []string
		for _, p := range s.Providers {
			if p.Found {
				found = append(found, p.ID)
			} else {
				missing = append(missing, p.ID)
			}
		}
		if len(found) > 0 {
			fmt.Fprintf(w, "\nproviders with a key: %s\n", strings.Join(found, ", "))
		}
		if len(missing) > 0 {
			fmt.Fprintf(w, "\nproviders without one: %s; chaperone init --help names the variables\n", strings.Join(missing, ", "))
		}
		fmt.Fprintln(w, "\nkeys of clients:")
		for _, organisation := range slices.Sorted(maps.Keys(s.Keys)) {
			fmt.Fprintf(w, "  %s\t%s\n", organisation, s.Keys[organisation])
		}
		if s.newKey {
			fmt.Fprintln(w, "This is the only time that the key is shown: the configuration keeps its hash.")
		}
		fmt.Fprintln(w, "\nnext:")
		for _, command := range s.next(dir) {
			fmt.Fprintf(w, "  %s\n", command)
		}
	})
}
