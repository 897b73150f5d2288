package account

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chaperone/engine/config"
	"chaperone/engine/wire"
)

// Preset is a named part of requests, kept by operators so that programs need not repeat it
// (https://openrouter.ai/docs/guides/features/presets).
type Preset struct {
	wire.Preset
	Cache    *bool         // answers are cached though the request does not ask for it, or are not; nil: as the request says
	CacheTTL time.Duration // 0: as configured
}

type presetTable struct {
	config.Origin
	Model           string         `toml:"model"`
	Models          []string       `toml:"models"`
	System          string         `toml:"system"`
	Provider        map[string]any `toml:"provider"`
	Parameters      map[string]any `toml:"parameters"`
	Tools           []any          `toml:"tools"`
	CacheEnabled    *bool          `toml:"cache_enabled"`
	CacheTTLSeconds int64          `toml:"cache_ttl_seconds" check:"min=1,max=86400"`
}

// notParameters are fields of a request that a preset has a key of its own for, or that are each request's own.
var notParameters = []string{"messages", "model", "models", "provider", "tools", "preset", "stream", "stream_options", "session_id", "user", "trace"}

// Preset finds a preset by its slug: the organisation's own, else one for everyone; nil where there is none.
func (a *Accounts) Preset(org *Organisation, slug string) *Preset {
	if p := org.Presets[slug]; p != nil {
		return p
	}
	return a.presets[slug]
}

// PresetSlugs are those that an organisation may name, sorted.
func (a *Accounts) PresetSlugs(org *Organisation) []string {
	all := maps.Clone(a.presets)
	maps.Copy(all, org.Presets)
	return slices.Sorted(maps.Keys(all))
}

func (l *loader) presets(tables map[string]*presetTable, aliases map[string]string) map[string]*Preset {
	presets := map[string]*Preset{}
	for _, slug := range slices.Sorted(maps.Keys(tables)) {
		t := tables[slug]
		l.checkID(t.Origin, "preset", slug)
		for _, name := range append([]string{t.Model}, t.Models...) {
			l.checkModel(t, name, aliases)
		}
		for _, name := range notParameters {
			if _, ok := t.Parameters[name]; ok {
				l.add(t.Problem("parameters."+name, "is not a parameter; expected it beside parameters, or in each request"))
			}
		}
		if p := t.read(); p != nil {
			presets[slug] = p
			l.try(t, p)
		}
	}
	return presets
}

func (l *loader) checkModel(t *presetTable, name string, aliases map[string]string) {
	if l.cat == nil || name == "" {
		return
	}
	bare := name
	for _, suffix := range []string{":nitro", ":floor", ":exacto", ":free"} {
		bare = strings.ReplaceAll(bare, suffix, "")
	}
	if _, alias := aliases[bare]; !alias && l.cat.Named(name) == nil && l.cat.Named(bare) == nil {
		l.add(t.Problem("model", "%s", config.UnknownName("model", name, l.cat.ModelIDs())))
	}
}

// read puts the table into fields of a request.
func (t *presetTable) read() *Preset {
	p := &Preset{Cache: t.CacheEnabled, CacheTTL: time.Duration(t.CacheTTLSeconds) * time.Second}
	p.Instructions = t.System
	set := func(name string, value any) {
		p.Fields = append(p.Fields, wire.Edit{Field: name, Value: jsonOf(value)})
	}
	if t.Model != "" {
		set("model", t.Model)
	}
	if len(t.Models) > 0 {
		set("models", t.Models)
	}
	if t.Provider != nil {
		set("provider", t.Provider)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
		set(name, t.Parameters[name])
	}
	for _, tool := range t.Tools {
		p.Tools = append(p.Tools, jsonOf(tool))
	}
	return p
}

// modelFields is what a request that names no model is given: model, and models where there are more; nil where there is none.
func modelFields(names []string) *wire.Preset {
	if len(names) == 0 {
		return nil
	}
	p := &wire.Preset{Fields: []wire.Edit{{Field: "model", Value: jsonOf(names[0])}}}
	if len(names) > 1 {
		p.Fields = append(p.Fields, wire.Edit{Field: "models", Value: jsonOf(names[1:])})
	}
	return p
}

// jsonOf is a TOML value as JSON: dates are text there.
func jsonOf(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the reader of TOML lets no number in that JSON has not
	}
	return b
}

// try reads a request that leaves everything to the preset, so that a mistake is found before the first real one.
func (l *loader) try(t *presetTable, p *Preset) {
	probe := []byte(`{"model":"a/b","messages":[{"role":"user","content":"."}]}`)
	req, refused := wire.Skim(wire.Chat, wire.Head{}, probe)
	if refused == nil {
		var merged []byte
		if merged, refused = req.WithPreset("a/b", &p.Preset); refused == nil {
			_, refused = wire.Skim(wire.Chat, wire.Head{}, merged)
		}
	}
	if refused != nil {
		what := refused.Message
		if _, message, found := strings.Cut(what, "): "); found {
			what = message // the byte is of a body that nobody has written
		}
		l.add(t.Problem("", "%s", fmt.Sprintf("cannot be read as a part of a request: %s: %s", refused.Param, what)))
	}
}
