package demo

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"text/template"

	"chaperone/engine/config"
	"chaperone/engine/sim"
	"chaperone/plugins"
)

// KeyFolder is where Files puts the providers' keys.
const KeyFolder = "keys"

// firstPort of 127.0.0.1 is the first provider's.
const firstPort = 9101

var (
	providerName = regexp.MustCompile(`(?m)^name *= "([^"]+)".*$`)
	keyVariable  = regexp.MustCompile(`key_env( *) = "([A-Z_]+)"`)
)

// Files are the world as files, by slash-separated path: providers.toml with a fixed port for each provider, for
// `chaperone sim`, and a configuration for `chaperone serve` that expects them there, has the best row always first and
// binds the package own of the folder policies, which is the caller's to write.
func Files(s Settings) (map[string][]byte, error) {
	file, problems := sim.Parse("providers.toml", providersFile)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	files := map[string][]byte{"carbon-aware.wasm": plugins.CarbonAware}
	addresses, keyFiles := map[string]string{}, map[string]string{}
	for i, p := range file.Providers {
		addresses[p.Name] = fmt.Sprintf("127.0.0.1:%d", firstPort+i)
		for _, c := range p.Credentials {
			name := path.Join(KeyFolder, p.Name+"-"+c.Name)
			files[name] = []byte(c.Key + "\n")
			keyFiles[variable(p.Name, c.Name)] = name
		}
	}

	_, profiles, _ := strings.Cut(string(providersFile), "\nseed") // below the comment about where this file stands
	files["providers.toml"] = []byte("# The simulated providers, for chaperone sim.\nseed" +
		providerName.ReplaceAllStringFunc(profiles, func(line string) string {
			name := providerName.FindStringSubmatch(line)[1]
			return line + "\nlisten        = " + config.Quote(addresses[name])
		}))

	functions := template.FuncMap{
		"quote": config.Quote, "sha256": digest,
		"id":  func(key string) string { return "key_" + digest(key)[:12] },
		"url": func(provider string) string { return "http://" + addresses[provider] + "/v1" },
	}
	values := struct {
		Settings
		OpenKey, StrictKey string
	}{s, OpenKey, StrictKey}
	for name, text := range map[string]string{"catalog.toml": catalogFile, "chaperone.toml": configFile + ownPolicy} {
		t, err := template.New(name).Funcs(functions).Parse(text)
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		if err := t.Execute(&b, values); err != nil {
			return nil, err
		}
		files[name] = []byte(keyVariable.ReplaceAllStringFunc(b.String(), func(line string) string {
			m := keyVariable.FindStringSubmatch(line)
			return "key_file" + strings.TrimPrefix(m[1], " ") + " = " + config.Quote(keyFiles[m[2]])
		}))
	}
	return files, nil
}

const ownPolicy = `
[routing]
upstream_user = "plain" # the simulated providers know by it whose requests should never reach them
temperature = 0    # the best row is always tried first, so that what a change does to the order can be seen
exploration = 0

[[policy.sources]]
name = "own"
path = "policies"

[[policy.bindings]]
package = "own"
for     = "everyone"
`
