// Package demo is the world that `chaperone demo` shows: ten simulated providers, the catalog and configuration that
// describe them, two organisations, and their traffic.
package demo

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"chaperone/engine/config"
	"chaperone/engine/sim"
	"chaperone/plugins"
)

// The client keys of the two organisations, and the models.
const (
	OpenKey    = "sk-demo-open"   // of the organisation open, without restrictions
	StrictKey  = "sk-demo-strict" // of the organisation strict: no training, EU only
	LargeModel = "demo/chat-large"
	SmallModel = "demo/chat-small"
)

var (
	//go:embed providers.toml
	providersFile []byte
	//go:embed catalog.toml.tmpl
	catalogFile string
	//go:embed chaperone.toml.tmpl
	configFile string
)

// plainUsers: by the user field providers know whose requests should never reach them.
const plainUsers = "\n[routing]\nupstream_user = \"plain\"\n"

// World is the running providers.
type World struct {
	Providers []*sim.Provider
}

// Start starts the providers on free ports of 127.0.0.1; they run until Close or the end of ctx.
func Start(ctx context.Context, seed uint64) (*World, error) {
	file, problems := sim.Parse("providers.toml", providersFile)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	file.Seed = seed
	providers, err := file.Start(ctx)
	if err != nil {
		return nil, err
	}
	return &World{Providers: providers}, nil
}

// Close ends every provider.
func (w *World) Close() error {
	var all []error
	for _, p := range w.Providers {
		all = append(all, p.Close())
	}
	return errors.Join(all...)
}

// Denied is how many requests reached a provider that their organisation's policy excludes, as the providers counted them.
func (w *World) Denied() int64 {
	var n int64
	for _, p := range w.Providers {
		n += p.Denied()
	}
	return n
}

// Env holds the providers' keys under the names by which the catalog asks for them; it is for engine.Options.
func (w *World) Env(name string) (string, bool) {
	for _, p := range w.Providers {
		for _, c := range p.Profile().Credentials {
			if name == variable(p.Name(), c.Name) {
				return c.Key, true
			}
		}
	}
	return "", false
}

func variable(provider, credential string) string {
	return strings.ToUpper(strings.ReplaceAll("demo_"+provider+"_"+credential+"_key", "-", "_"))
}

// Settings is what the configuration leaves open.
type Settings struct {
	Listen        string // of the server
	PrivateListen string // "" switches it off
	// WithoutPolicy leaves out what binds the organisation strict, so that the providers' own count of requests that should
	// never have come can be seen to rise.
	WithoutPolicy bool
}

// Write writes chaperone.toml, catalog.toml with the providers' addresses and the carbon-aware plugin to a directory and
// returns the path of the first.
func (w *World) Write(dir string, s Settings) (string, error) {
	urls := map[string]string{}
	for _, p := range w.Providers {
		urls[p.Name()] = p.URL()
	}
	functions := template.FuncMap{
		"quote":  config.Quote,
		"sha256": digest,
		"id":     func(key string) string { return "key_" + digest(key)[:12] },
		"url": func(provider string) (string, error) {
			if u, ok := urls[provider]; ok {
				return u, nil
			}
			return "", fmt.Errorf("there is no simulated provider %s", provider)
		},
	}
	values := struct {
		Settings
		OpenKey, StrictKey string
	}{s, OpenKey, StrictKey}
	if err := os.WriteFile(filepath.Join(dir, "carbon-aware.wasm"), plugins.CarbonAware, 0o600); err != nil {
		return "", err
	}
	for name, text := range map[string]string{"catalog.toml": catalogFile, "chaperone.toml": configFile + plainUsers} {
		t, err := template.New(name).Funcs(functions).Parse(text)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		if err := t.Execute(&b, values); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o600); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "chaperone.toml"), nil
}

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}
