package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"chaperone/engine/config"
)

// literalKeys are the names under which people write a key into a file, where it must not stand.
var literalKeys = func() map[string]string {
	const why = "a provider's key does not stand in a TOML file; name the environment variable (key_env) or the file (key_file) that holds it"
	return map[string]string{"key": why, "api_key": why, "apikey": why, "token": why, "secret": why, "password": why}
}()

func (*providerTable) Refused() map[string]string { return literalKeys }
func (*groupTable) Refused() map[string]string    { return literalKeys }
func (*keyTable) Refused() map[string]string      { return literalKeys }

type groupTable struct {
	config.Origin
	KeyEnv     string            `toml:"key_env"`
	KeyFile    string            `toml:"key_file"`
	Keys       []*keyTable       `toml:"keys"`
	Auth       string            `toml:"auth"`
	Free       bool              `toml:"free"`
	Labels     map[string]string `toml:"labels"`
	DataPolicy claims            `toml:"data_policy"`
}

type keyTable struct {
	config.Origin
	KeyEnv  string `toml:"key_env"`
	KeyFile string `toml:"key_file"`
	Weight  int    `toml:"weight" check:"min=1,max=1000"`
}

var (
	groupName    = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// readGroup resolves a group's credentials. holders knows which group of the provider has which key: one key has the
// terms of one contract.
func (l *loader) readGroup(p *Provider, name string, t *groupTable, holders map[string]string) *CredentialGroup {
	g := &CredentialGroup{Name: name, Provider: p, Labels: t.Labels, Free: t.Free, NoAuth: t.Auth == "none"}
	if g.Labels == nil {
		g.Labels = map[string]string{}
	}
	if !groupName.MatchString(name) {
		l.add(t.Problem("", `found %q; a group's name is of lower-case letters, digits, "_" and "-"`, name))
	}
	l.add(t.DataPolicy.problems()...)
	t.DataPolicy.imply()

	keys := t.Keys
	if t.KeyEnv != "" || t.KeyFile != "" {
		keys = append([]*keyTable{{Origin: t.Origin, KeyEnv: t.KeyEnv, KeyFile: t.KeyFile}}, keys...)
	}
	switch {
	case t.Auth != "" && t.Auth != "none": // what stands here may be a key: do not show it
		l.add(t.Problem("auth", `found another word; expected "none", or no auth and a key_env or key_file`))
	case g.NoAuth && len(keys) > 0:
		l.add(t.Problem("auth", `found "none" beside a key; expected one of the two`))
	case !g.NoAuth && len(keys) == 0:
		l.add(t.Problem("", `has no key; expected key_env, key_file, keys = [{ key_env = … }, …], or auth = "none" for a server that needs none`))
	case len(t.Keys) > 0 && len(keys) > len(t.Keys):
		l.add(t.Problem("keys", "found beside key_env or key_file; expected all of them in keys"))
	}
	for _, key := range keys {
		l.readKey(g, key, holders)
	}
	return g
}

// keyPrefixes are how providers' keys begin. Some are legal names of variables, so that a pasted key would be shown as one.
var keyPrefixes = []string{"sk-", "sk_", "gsk_", "hf_", "r8_", "AIza", "xai-", "pplx-", "fw_"}

func pasted(name string) bool {
	return slices.ContainsFunc(keyPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func (l *loader) readKey(g *CredentialGroup, t *keyTable, holders map[string]string) {
	var name, value, key string
	var err error
	switch {
	case t.KeyEnv != "" && t.KeyFile != "":
		l.add(t.Problem("key_file", "found beside key_env; expected one of the two"))
		return
	case t.KeyEnv != "":
		key, name = "key_env", t.KeyEnv
		if !variableName.MatchString(name) { // it may be the key itself: do not show it
			l.add(t.Problem(key, "found what is no name of an environment variable; expected letters, digits and underscores, such as OPENAI_API_KEY"))
			return
		}
		if pasted(name) {
			l.add(t.Problem(key, "found what looks like a key itself; expected the name of an environment variable, such as OPENAI_API_KEY"))
			return
		}
		value, _ = l.env(name)
	case t.KeyFile != "":
		key, name = "key_file", filepath.Base(t.KeyFile)
		if pasted(t.KeyFile) {
			l.add(t.Problem(key, "found what looks like a key; expected the path of a file that holds it"))
			return
		}
		value, err = l.readKeyFile(t.Document(), t.KeyFile)
	default:
		l.add(t.Problem("", "has no key; expected key_env or key_file"))
		return
	}
	if err == nil {
		value, err = cleanKey(value)
	}
	if err != nil {
		l.add(t.Problem(key, "%v", err))
		return
	}
	if value == "" {
		g.Missing = append(g.Missing, name)
		return
	}
	if holder, ok := holders[value]; ok {
		l.add(t.Problem(key, "%s holds the same key as %s; one key has the terms of one contract, so it belongs into one place", name, holder))
		return
	}
	holders[value] = fmt.Sprintf("%s of the group %q", name, g.Name)
	g.Credentials = append(g.Credentials, Credential{Name: name, Secret: NewSecret(value), Weight: max(t.Weight, 1)})
}

// readKeyFile takes a path that is not absolute from the folder of the TOML file. A file that does not exist holds nothing.
func (l *loader) readKeyFile(doc *config.Document, path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(doc.Path()), path)
	}
	l.cat.KeyFiles = append(l.cat.KeyFiles, path)
	if l.keyless {
		return "", nil
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("found a file that cannot be read: %w", err)
	}
	return string(content), nil
}

// cleanKey removes blanks around a key and refuses what could not stand in a header.
func cleanKey(value string) (string, error) {
	value = strings.TrimSpace(value)
	for i := 0; i < len(value); i++ {
		if value[i] <= ' ' || value[i] >= 0x7f {
			return "", fmt.Errorf("found a key with a blank or a special character at byte %d; expected one key of printable ASCII and nothing else", i)
		}
	}
	return value, nil
}
