// Package catalog holds what Chaperone knows of providers, models and endpoints: terms, prices, limits and the
// credentials that they are reached with. TOML goes in, an immutable Catalog with dense rows comes out.
package catalog

import (
	"maps"
	"slices"
	"strings"
	"time"

	"chaperone/engine/wire"
)

// Catalog is one immutable state of all catalog files.
type Catalog struct {
	Digest    string // SHA-256, hex, of the canonical content without secrets: the epoch of every verdict
	Providers map[string]*Provider
	Models    map[string]*Model
	Aliases   map[string]string // name as sent → model id
	Rows      []*Row            // Row.Index is the place in it; ordered by model id, then file order
	KeyFiles  []string          // paths of all key_file, sorted, whether they exist or not: a change in one calls for a reload

	rows  map[string]*Row
	names map[string]*Model // see Named; nil values are names of several models
}

// Row finds a row by its ID; nil where there is none.
func (c *Catalog) Row(id string) *Row { return c.rows[id] }

// Model finds a model by its id or one of the catalog's aliases.
func (c *Catalog) Model(name string) (*Model, bool) {
	if id, ok := c.Aliases[name]; ok {
		name = id
	}
	m, ok := c.Models[name]
	return m, ok
}

// Named finds a model by any name that programs send: its id, an alias, its id without the author, or what a provider calls it.
// The last two only where one model alone has the name.
func (c *Catalog) Named(name string) *Model {
	if m, ok := c.Model(name); ok {
		return m
	}
	return c.names[name]
}

// nameModels fills names.
func (c *Catalog) nameModels() {
	c.names = map[string]*Model{}
	note := func(name string, m *Model) {
		if other, taken := c.names[name]; taken && other != m {
			m = nil
		}
		c.names[name] = m
	}
	for id, m := range c.Models {
		_, slug, _ := strings.Cut(id, "/")
		note(slug, m)
	}
	slugs := maps.Clone(c.names) // an id without its author is not lost to another model's name at some provider
	for _, row := range c.Rows {
		note(row.UpstreamModel, row.Model)
	}
	maps.Copy(c.names, slugs)
}

// ModelIDs are the ids of all models, sorted.
func (c *Catalog) ModelIDs() []string { return slices.Sorted(maps.Keys(c.Models)) }

// Provider is a company (or a machine of one's own) that serves models.
type Provider struct {
	ID             string // lower case, as in slugs: "deepinfra"
	Name           string // as shown: "DeepInfra"
	Dialect        string // key of the provider dialect: "openai"
	BaseURL        string // without a trailing slash: "https://api.deepinfra.com/v1/openai"
	Headquarters   string // ISO 3166-1 alpha-2, upper case; "unknown"
	Jurisdiction   string // whose law reaches the data; ISO 3166-1 alpha-2, "EU", or "unknown"
	Certifications []string
	TermsURL       string
	PrivacyURL     string
	StatusURL      string
	Unprobed       bool               // the router's own probes never ask it
	Sources        map[string]Source  // by one of Statements
	Missing        []string           // variables of the base URL that hold nothing: why it still has their names in it
	Groups         []*CredentialGroup // sorted by name
}

// CredentialGroup is credentials of one provider that share terms.
type CredentialGroup struct {
	Name        string // "paid", "free"
	Provider    *Provider
	DataPolicy  DataPolicy
	Labels      map[string]string
	Free        bool // the provider bills nothing under it
	Credentials []Credential
	Missing     []string // names of key_env/key_file that hold nothing: why Credentials may be empty
	NoAuth      bool     // the provider needs no credential (self-hosted)
}

// Usable says whether a request can be sent under the group: the provider's address is known, and it has a credential or
// needs none.
func (g *CredentialGroup) Usable() bool {
	return len(g.Provider.Missing) == 0 && (g.NoAuth || len(g.Credentials) > 0)
}

// Credential is one provider key. Secret never prints itself.
type Credential struct {
	Name   string // the environment variable or the file's base name: safe to show
	Secret Secret
	Weight int // share of the group's requests relative to its other credentials; at least 1
}

// Model is a model as callers name it.
type Model struct {
	ID               string // author/slug
	Name             string
	Description      string
	Created          time.Time
	ContextLength    int64
	MaxOutputTokens  int64    // 0: no limit but the context
	InputModalities  []string // sorted: audio file image text video
	OutputModalities []string
	Distillation     Distillation
	Rows             []*Row
}

// API is the one that the model is for: embeddings, rerank, or chat.
func (m *Model) API() wire.Shape {
	for _, r := range m.Rows {
		for _, api := range []wire.Shape{wire.Embeddings, wire.Rerank} { // which are modalities of output too
			if slices.Contains(r.OutputModalities, string(api)) {
				return api
			}
		}
	}
	return wire.Chat
}

// Expected are the catalog's own figures for an endpoint, used while there is little live data; 0: not stated.
type Expected struct {
	TTFTMillis float64
	TPS        float64
}

// Row is what policy judges and a scorer ranks: an endpoint under the terms of one group of credentials.
type Row struct {
	Index             int
	ID                string // model@tag#group, stable over reloads and replicas
	Model             *Model
	Provider          *Provider
	Group             *CredentialGroup
	Tag               string // provider, provider/variant or either with a service tier, as in OpenRouter: "deepinfra/fp8", "openai/priority"
	UpstreamModel     string // the model's name at the provider
	BaseURL           string // the deployment's own address or the provider's
	Dialect           string
	Quantization      string   // "unknown" where not stated
	ProcessingRegions []string // sorted, lower case: "eu", "us"; every region there is for a global deployment
	Jurisdiction      string
	Headquarters      string
	DataPolicy        DataPolicy
	Distillation      Distillation // the model's, or stricter
	Certifications    []string     // sorted
	ContextLength     int64
	MaxOutputTokens   int64 // 0: no limit but the context
	InputModalities   []string
	OutputModalities  []string
	Parameters        map[string]bool // request parameters that it supports, OpenRouter's names
	Prices            Prices          // where no override holds; all zero under a free group
	PriceOverrides    PriceOverrides
	Free              bool
	Sources           map[string]Source // the provider's, under the endpoint's own
	Attributes        map[string]float64
	Labels            map[string]string // the group's, under the endpoint's own
	Expected          Expected
	InFlight          int // the most requests at once; 0: load.in_flight_endpoint
	Disabled          bool
	ServiceTier       string        // what the provider is asked to serve it as, "priority", "flex" …; "": its standard
	Only              []string      // whom a provider that is itself a router may pass requests on to, by its own names; nil: anybody
	CacheTTL          time.Duration // how long the provider keeps a prompt for the cache, from its last use; 0: not stated
	Continues         string        // how it is asked to continue a given beginning of its answer, Prefill, Prefix or ContinueFinalMessage; "": it cannot be
}

// Account is where a row's requests are charged: "provider#group".
func (r *Row) Account() string { return r.Provider.ID + "#" + r.Group.Name }
