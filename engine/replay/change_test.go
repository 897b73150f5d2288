package replay_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/journal"
	"chaperone/engine/replay"
)

// kept is an office that has decided some requests and closed.
func kept(t *testing.T, settings string) *office {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	o := open(t, "", settings, 3)
	o.ask(t, rand.New(rand.NewPCG(seed, 0)), 400)
	o.close(t)
	return o
}

func TestAChangeIsWorkedOut(t *testing.T) {
	o := kept(t, "")
	stricter := o.write(t, "new/rules.rego", "# METADATA\n# schemas:\n#   - data.params: {type: object, additionalProperties: false, properties: {provider: {type: string}}, required: [provider]}\npackage acme.strict\n\nimport rego.v1\n\ndeny contains \"never p0\" if input.endpoint.provider == data.params.provider\n")
	laxer := o.write(t, "lax/own.rego", "package own\n\nimport rego.v1\n\n# METADATA\n# custom: { waivable: true }\ndeny contains {\"code\": \"trains\", \"message\": \"x\"} if input.request.tool_count > 1000\n")
	params := o.write(t, "params.toml", "[\"acme.strict\"]\nprovider = \"p0\"\n")
	last := o.write(t, "last.toml", "[\"acme.strict\"]\nprovider = \"p5\"\n")
	config, err := os.ReadFile(filepath.Join(o.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	dearer := o.write(t, "catalog.toml", onlyCatalog(strings.ReplaceAll(string(config), "price = { prompt = 1,", "price = { prompt = 1000,")))
	enforced := o.write(t, "next/chaperone.toml", strings.ReplaceAll(strings.Replace(string(config), "enforcement = \"dryrun\"\nuntil = 2027-01-31\n", "", 1), `path = "rego"`, `path = "../rego"`))
	for name, c := range map[string]struct {
		change engine.Change
		holds  func(r *replay.Result) bool
	}{
		"a new package": {engine.Change{Policy: filepath.Dir(stricter), Params: params}, func(r *replay.Result) bool {
			return r.Denied > 50 && r.Permitted == 0 && r.Provider > 10 && r.Served == 0 && example(r, "denied", "never p0")
		}},
		"a new package against who seldom comes first": {engine.Change{Policy: filepath.Dir(stricter), Params: last}, func(r *replay.Result) bool {
			return r.Denied > 50 && r.Order < r.Denied/10
		}},
		"a new package for some": {engine.Change{Policy: filepath.Dir(stricter), Params: params, For: "org:beta"}, func(r *replay.Result) bool {
			for _, g := range r.Groups {
				if g.Organisation == "acme" && g.Denied > 0 {
					return false
				}
			}
			return r.Denied > 20
		}},
		"a package in place of another": {engine.Change{Policy: filepath.Dir(laxer)}, func(r *replay.Result) bool {
			return r.Permitted > 50 && r.Denied == 0 && r.Served > 0 && r.Terms > 0 && example(r, "permitted", "permitted")
		}},
		"a configuration": {engine.Change{Policy: enforced}, func(r *replay.Result) bool {
			return r.Denied > 100 && r.Permitted == 0 && r.Refused > 0 && example(r, "refused", "refused with 404")
		}},
		"other prices": {engine.Change{Catalog: dearer}, func(r *replay.Result) bool {
			cheaper := false
			for _, g := range r.Groups {
				cheaper = cheaper || g.Compared > 0 && g.CostAfter.Cmp(g.CostBefore) != 0
			}
			return r.Denied+r.Permitted == 0 && r.Provider > 10 && cheaper && len(r.Undecidable) == 0
		}},
		"another scorer": {engine.Change{Scorer: "price"}, func(r *replay.Result) bool {
			return r.Denied+r.Permitted == 0 && r.Provider > 10 && len(r.Undecidable) == 0
		}},
		"a plugin": {engine.Change{Scorer: "../../plugins/ttft-target/ttft-target.wasm"}, func(r *replay.Result) bool {
			return r.Denied+r.Permitted == 0 && r.Provider > 10
		}},
		"a plugin that learns": {engine.Change{Scorer: "../../plugins/thompson/thompson.wasm"}, func(r *replay.Result) bool {
			return r.Denied+r.Permitted+r.Provider == 0 && unknown(r, replay.Order, "what it had learned")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, replay.Options{Dir: o.journal(), Change: c.change})
			if !c.holds(r) {
				t.Errorf("%+v\n%+v", r, r.Examples)
				for _, u := range r.Undecidable {
					t.Logf("%+v", u)
				}
			}
		})
	}
}

func TestAChangeThatIsNoneIsRefused(t *testing.T) {
	o := kept(t, "")
	bad := o.write(t, "bad/own.rego", "package own\n\nimport rego.v1\n\ndeny contains \"x\" if input.endpoint.pprovider == \"a\"\n")
	params := o.write(t, "params.toml", "[\"no.such\"]\na = 1\n")
	for want, change := range map[string]engine.Change{
		"own.rego:5":                 {Policy: filepath.Dir(bad)},
		"no such folder":             {Policy: filepath.Join(o.dir, "nowhere")},
		`no binding is of a package`: {Params: params},
		"neither a plugin":           {Scorer: "fastest"},
		"nowhere.toml: there is no":  {Catalog: filepath.Join(o.dir, "nowhere.toml")},
		"holds no .rego file":        {Policy: t.TempDir()},
	} {
		if _, err := replay.Run(t.Context(), replay.Options{Dir: o.journal(), Change: change}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: found %v; expected %q", change, err, want)
		}
	}
}

// onlyCatalog is what of a configuration is its catalog.
func onlyCatalog(config string) string {
	return config[strings.Index(config, "[aliases]"):]
}

func example(r *replay.Result, kind, after string) bool {
	for _, e := range r.Examples {
		if e.Kind == kind && strings.Contains(e.After, after) {
			return true
		}
	}
	return false
}

func unknown(r *replay.Result, what, why string) bool {
	for _, u := range r.Undecidable {
		if u.What == what && strings.Contains(u.Why, why) && u.Requests > 0 && len(u.Examples) > 0 {
			return true
		}
	}
	return false
}

func TestWhatTheRecordDoesNotTellIsNotGuessed(t *testing.T) {
	o := kept(t, "")
	for _, organisation := range []string{"acme", "beta"} {
		if err := journal.Erase(o.journal(), organisation, "2026-11"); err != nil {
			t.Fatal(err)
		}
	}
	gone, aside := 0, 0 // what policies could have read, and what only says which program has asked
	for e, err := range journal.Records(o.journal(), time.Time{}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Record.Sealed != nil && e.Record.Sealed.Undeciding:
			aside++
		case e.Record.Sealed != nil:
			gone++
		}
	}
	r := run(t, replay.Options{Dir: o.journal()})
	if r.Changed() || !unknown(r, replay.Verdict, "has been erased") || gone == 0 || aside == 0 {
		t.Errorf("claims that are gone, in %d records, and in %d that decide nothing: %+v", gone, aside, r)
	}
	for _, u := range r.Undecidable {
		if strings.Contains(u.Why, "has been erased") && u.Requests != gone {
			t.Errorf("%d are undecidable for lack of claims, of %d", u.Requests, gone)
		}
	}
	// A policy that reads no claims is decided all the same.
	laxer := o.write(t, "lax/own.rego", "package own\n\nimport rego.v1\n\n# METADATA\n# custom: { waivable: true }\ndeny contains {\"code\": \"trains\", \"message\": \"x\"} if input.request.data_class == \"restricted\"\n")
	if r := run(t, replay.Options{Dir: o.journal(), Change: engine.Change{Policy: filepath.Dir(laxer)}}); len(r.Undecidable) > 0 || r.Permitted == 0 {
		t.Errorf("claims that nobody reads: %+v", r)
	}
	// An endpoint that there was not.
	config, err := os.ReadFile(filepath.Join(o.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	more := onlyCatalog(string(config)) + "[[endpoints]]\nmodel = \"m/one\"\nprovider = \"p0\"\nvariant = \"new\"\nupstream_model = \"x\"\nprice = { prompt = 1, completion = 1 }\n"
	r = run(t, replay.Options{Dir: o.journal(), Change: engine.Change{Policy: filepath.Dir(laxer), Catalog: o.write(t, "more.toml", more)}})
	if !unknown(r, replay.Order, "not among the candidates") || r.Permitted == 0 {
		t.Errorf("a new endpoint: %+v", r)
	}
	// What decided is gone.
	if err := os.RemoveAll(filepath.Join(o.journal(), "artefacts")); err != nil {
		t.Fatal(err)
	}
	if r := run(t, replay.Options{Dir: o.journal()}); r.Verdicts > 0 || !unknown(r, replay.Verdict, "cannot be made again") {
		t.Errorf("artefacts that are gone: %+v", r)
	}
}

func TestPluginsDecideAgain(t *testing.T) {
	dir, err := filepath.Abs("../../plugins")
	if err != nil {
		t.Fatal(err)
	}
	scorers := "\n[[scorers]]\nname = \"ttft\"\nplugin = \"" + dir + "/ttft-target/ttft-target.wasm\"\n[[scorers]]\nname = \"value\"\n" +
		"[[scorers]]\nname = \"learns\"\nplugin = \"" + dir + "/thompson/thompson.wasm\"\nweight = 0.5\n"
	o := kept(t, scorers)
	r := run(t, replay.Options{Dir: o.journal()})
	if r.Changed() || r.Order+r.Reasons+r.Terms > 0 {
		t.Errorf("%+v", r.Examples)
	}
	if r.Rankings < 100 {
		t.Errorf("only %d rankings", r.Rankings)
	}
	for _, u := range r.Undecidable {
		t.Errorf("%+v", u)
	}
}
