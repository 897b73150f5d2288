package policy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/wire"
)

var today = time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)

// rows are of one model: what varies is what the library's policies look at.
func rows() []*catalog.Row {
	model := &catalog.Model{ID: "acme/large"}
	row := func(provider string, change func(*catalog.Row)) *catalog.Row {
		p := &catalog.Provider{ID: provider}
		r := &catalog.Row{
			ID: "acme/large@" + provider + "#paid", Model: model, Provider: p, Group: &catalog.CredentialGroup{Name: "paid", Provider: p},
			Tag: provider, Quantization: "fp8", ProcessingRegions: []string{"eu"}, Jurisdiction: "DE", Headquarters: "DE",
			DataPolicy: catalog.DataPolicy{
				Training: catalog.No, RetainsPrompts: catalog.No, ZDR: catalog.Yes, Publishes: catalog.No,
				AsOf: today.AddDate(0, 0, -30),
			},
			Certifications: []string{"iso27001", "soc2"}, ContextLength: 128_000, MaxOutputTokens: 8192,
			InputModalities: []string{"text"}, OutputModalities: []string{"text"}, Parameters: map[string]bool{"tools": true},
			Prices: catalog.Prices{Prompt: 500_000, Completion: 1_500_000}, Labels: map[string]string{"tier": "gold"},
			Attributes: map[string]float64{"quality": 0.9},
		}
		change(r)
		return r
	}
	all := []*catalog.Row{
		row("alpha", func(*catalog.Row) {}),
		row("trainer", func(r *catalog.Row) { r.DataPolicy.Training = catalog.Yes }),
		row("silent", func(r *catalog.Row) {
			r.DataPolicy = catalog.UnknownDataPolicy()
			r.ProcessingRegions, r.Certifications, r.Labels, r.Attributes = nil, nil, nil, nil
			r.Jurisdiction, r.Headquarters, r.Quantization = "", "", ""
		}),
		row("american", func(r *catalog.Row) {
			r.ProcessingRegions, r.Jurisdiction, r.Headquarters = []string{"eu", "us"}, "US", "US"
			r.DataPolicy.RetainsPrompts, r.DataPolicy.RetentionDays, r.DataPolicy.ZDR = catalog.Yes, 30, catalog.No
			r.Prices = catalog.Prices{Prompt: 3_000_000, Completion: 15_000_000}
		}),
	}
	for i, r := range all {
		r.Index = i
	}
	return all
}

func principal() *account.Principal {
	org := &account.Organisation{ID: "acme", DataClass: "public", Teams: map[string]*account.Team{"fraud": {ID: "fraud"}}}
	return &account.Principal{
		Organisation: org,
		Team:         org.Teams["fraud"],
		Key:          &account.Key{ID: "key_0123456789ab", Organisation: "acme", Team: "fraud"},
		Labels:       map[string]string{"stage": "production"},
		DataClass:    "public",
	}
}

func request() *wire.Request {
	return &wire.Request{
		Digest: [32]byte{1, 2, 3}, Model: "acme/large", N: 1, ResponseFormat: "text",
		InputModalities: []string{"text"}, OutputModalities: []string{"text"}, Parameters: []string{"messages", "model"},
		PromptTokens: 100, Claims: wire.Claims{Metadata: map[string]string{}},
		Preferences: wire.Preferences{AllowFallbacks: true, DataCollection: "allow", Partition: "model"},
	}
}

func query() *Query {
	return &Query{Principal: principal(), Request: request(), Rows: rows(), Now: today}
}

// files is a directory: chaperone.toml, teams' files and modules, by path.
type files map[string]string

func (f files) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// config is what Load compiles of f.
func (f files) config(t testing.TB, honoured ...string) Config {
	t.Helper()
	dir := f.write(t)
	c := Config{Generation: 7, Accounts: &account.Accounts{Organisations: map[string]*account.Organisation{
		"acme":  principal().Organisation,
		"other": {ID: "other", DataClass: "public", Teams: map[string]*account.Team{"fraud": {ID: "fraud"}}},
	}}, Catalog: &catalog.Catalog{Rows: rows()}, Honoured: honoured}
	for _, name := range []string{"chaperone.toml", "team.toml"} {
		text, ok := f[name]
		if !ok {
			continue
		}
		doc, problems := config.Parse(filepath.Join(dir, name), []byte(text))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		c.Documents = append(c.Documents, doc)
	}
	return c
}

// load loads every .toml of f; problems show paths relative to its directory.
func (f files) load(t testing.TB, honoured ...string) (*Set, config.Problems) {
	t.Helper()
	c := f.config(t, honoured...)
	dir := filepath.Dir(c.Documents[0].Path())
	set, problems := Load(context.Background(), c)
	for i := range problems {
		problems[i].File = strings.TrimPrefix(strings.TrimPrefix(problems[i].File, dir), "/")
		problems[i].Message = strings.ReplaceAll(problems[i].Message, dir+"/", "")
	}
	return set, problems
}

func (f files) mustLoad(t testing.TB, honoured ...string) *Set {
	t.Helper()
	set, problems := f.load(t, honoured...)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

// one is a configuration that binds one module of package org.p to everyone.
func one(rego string) files {
	if !strings.Contains(rego, "package ") {
		rego = "package org.p\n\n" + rego
	}
	return files{
		"chaperone.toml": "[policy]\n[[policy.sources]]\nname = \"own\"\npath = \"rego\"\n\n[[policy.bindings]]\npackage = \"org.p\"\nfor = \"everyone\"\n",
		"rego/p.rego":    rego,
	}
}

// within is f with an evaluation_timeout.
func (f files) within(timeout string) files {
	f["chaperone.toml"] = strings.Replace(f["chaperone.toml"], "[policy]\n", "[policy]\nevaluation_timeout = \""+timeout+"\"\n", 1)
	return f
}

func permitted(j *Judgement) string {
	var ids []string
	for _, v := range j.Verdicts {
		if row := v.Permit.Row(); row != nil {
			ids = append(ids, row.Provider.ID)
		}
	}
	return strings.Join(ids, " ")
}
