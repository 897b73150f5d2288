package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
)

// unconfigured is what the router runs with where nobody has written a configuration.
type unconfigured struct {
	name      string
	text      []byte
	Providers []string `json:"providers"` // that can be reached
	Key       string   `json:"key"`       // of clients
}

func absent(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}

// configure makes a configuration of one organisation with a new key, for the providers that the environment has keys of.
func configure() (*unconfigured, error) {
	u := &unconfigured{name: "the shipped catalog"}
	c, problems := catalog.Load(catalog.Shipped(), os.LookupEnv)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(c.Providers)) {
		if slices.ContainsFunc(c.Providers[id].Groups, (*catalog.CredentialGroup).Usable) {
			u.Providers = append(u.Providers, id)
		}
	}
	if len(u.Providers) == 0 {
		return nil, inputErrorf("there is no %s here, and no provider's key in the environment; set one of %s, or write a configuration with chaperone init",
			defaultConfig, strings.Join(keyVariables(), ", "))
	}
	secret, k := account.NewKey(startOrganisation, "", "", time.Time{}, time.Now())
	u.Key = secret
	u.text = fmt.Appendf(nil, "shipped_catalog = true\n\n[organisations.%s]\n\n[[keys]]\nid = %q\norganisation = %q\nsha256 = \"%x\"\n",
		startOrganisation, k.ID, startOrganisation, k.SHA256)
	return u, nil
}

func (u *unconfigured) print(w io.Writer) {
	fmt.Fprintf(w, "providers with a key: %s\nkey of clients, until this router ends: %s\n", strings.Join(u.Providers, ", "), u.Key)
}
