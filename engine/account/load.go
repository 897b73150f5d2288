package account

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// Accounts is one immutable state of organisations, teams and keys.
type Accounts struct {
	Organisations map[string]*Organisation

	presets map[string]*Preset // for everyone
	byHash  map[[32]byte]*Principal
	byID    map[string]*Principal
	files   map[string]string // key id → the file that it stands in
}

// Keys are all keys, also those that are expired or disabled, by organisation, team and creation.
func (a *Accounts) Keys() []*Key {
	keys := make([]*Key, 0, len(a.byID))
	for _, p := range a.byID {
		keys = append(keys, p.Key)
	}
	slices.SortFunc(keys, func(x, y *Key) int {
		if c := strings.Compare(x.Organisation, y.Organisation); c != 0 {
			return c
		}
		if c := strings.Compare(x.Team, y.Team); c != 0 {
			return c
		}
		if c := x.Created.Compare(y.Created); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return keys
}

// File is the path of the file that a key stands in, "" where there is no such key.
func (a *Accounts) File(keyID string) string { return a.files[keyID] }

type organisationTable struct {
	config.Origin
	Name        string                  `toml:"name"`
	Labels      map[string]string       `toml:"labels"`
	DataClass   string                  `toml:"data_class" check:"oneof=public|internal|confidential|restricted"`
	ErrorDetail string                  `toml:"error_detail" check:"oneof=full|codes|none"`
	Aliases     map[string]string       `toml:"aliases"`
	Defaults    []string                `toml:"default_models"`
	Fallbacks   []string                `toml:"fallback_models"`
	Presets     map[string]*presetTable `toml:"presets"`
	Teams       map[string]*teamTable   `toml:"teams"`
	ValueOfTime *float64                `toml:"value_of_time" check:"min=0,max=1000000"`
	InFlight    int                     `toml:"in_flight" check:"min=1"`
	LogContent  bool                    `toml:"log_content"`
}

type teamTable struct {
	config.Origin
	Name      string            `toml:"name"`
	Labels    map[string]string `toml:"labels"`
	DataClass string            `toml:"data_class" check:"oneof=public|internal|confidential|restricted"`
}

type keyTable struct {
	config.Origin
	ID           string            `toml:"id"`
	Name         string            `toml:"name"`
	Organisation string            `toml:"organisation" check:"required"`
	Team         string            `toml:"team"`
	SHA256       string            `toml:"sha256" check:"required"`
	Labels       map[string]string `toml:"labels"`
	DataClass    string            `toml:"data_class" check:"oneof=public|internal|confidential|restricted"`
	Created      time.Time         `toml:"created"`
	Expires      time.Time         `toml:"expires"`
	Disabled     bool              `toml:"disabled"`
}

func (*keyTable) Refused() map[string]string {
	const why = "a client key does not stand in a file; only its sha256 does, as \"chaperone key new\" writes it"
	return map[string]string{"key": why, "secret": why, "api_key": why}
}

// Load reads [organisations.*] and [[keys]] of the given documents. The catalog is for the targets of aliases; where it is
// nil, because it has problems of its own, they are not checked. Where there is a problem there are no accounts.
func Load(docs []*config.Document, cat *catalog.Catalog) (*Accounts, config.Problems) {
	l := loader{
		cat:    cat,
		places: map[string]string{},
		accounts: &Accounts{
			Organisations: map[string]*Organisation{}, presets: map[string]*Preset{},
			byHash: map[[32]byte]*Principal{}, byID: map[string]*Principal{}, files: map[string]string{},
		},
	}
	for _, doc := range docs {
		var presets map[string]*presetTable
		l.add(doc.Decode("presets", &presets)...)
		maps.Copy(l.accounts.presets, l.presets(presets, nil))
		l.readOrganisations(doc)
	}
	for _, doc := range docs {
		l.readKeys(doc)
	}
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return l.accounts, nil
}

type loader struct {
	cat      *catalog.Catalog
	accounts *Accounts
	places   map[string]string // "organisation x" or "key x" → where it was first written
	problems config.Problems
}

func (l *loader) add(ps ...config.Problem) { l.problems = append(l.problems, ps...) }

func (l *loader) readOrganisations(doc *config.Document) {
	var tables map[string]*organisationTable
	l.add(doc.Decode("organisations", &tables)...)
	for _, id := range slices.Sorted(maps.Keys(tables)) {
		t := tables[id]
		if first, ok := l.places["organisation "+id]; ok {
			l.add(t.Problem("", "organisation %q is already in %s; one of the two must go", id, first))
			continue
		}
		l.places["organisation "+id] = t.String()
		l.checkID(t.Origin, "organisation", id)
		l.checkAliases(t)
		l.checkModels(t, "default_models", t.Defaults)
		l.checkModels(t, "fallback_models", t.Fallbacks)
		org := &Organisation{
			ID: id, Name: orElse(t.Name, id), Labels: t.Labels,
			DataClass: orElse(t.DataClass, DataClasses[0]), ErrorDetail: orElse(t.ErrorDetail, "full"),
			Aliases: t.Aliases, Presets: l.presets(t.Presets, t.Aliases), Teams: map[string]*Team{}, ValueOfTime: t.ValueOfTime, InFlight: t.InFlight, LogContent: t.LogContent,
			Defaults: modelFields(t.Defaults), Fallbacks: t.Fallbacks,
		}
		for teamID, team := range t.Teams {
			l.checkID(team.Origin, "team", teamID)
			org.Teams[teamID] = &Team{
				ID: teamID, Name: orElse(team.Name, teamID), Labels: team.Labels, DataClass: orElse(team.DataClass, DataClasses[0]),
			}
		}
		l.accounts.Organisations[id] = org
	}
}

// checkID keeps ids writable in bindings ("team:acme/fraud"), headers and metrics.
func (l *loader) checkID(o config.Origin, kind, id string) {
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', i > 0 && (c == '-' || c == '_' || c == '.'):
		default:
			l.add(o.Problem("", `found %q; the id of the %s is of lower-case letters, digits, ".", "_" and "-"`, id, kind))
			return
		}
	}
	if id == "" {
		l.add(o.Problem("", "found no id; expected one for the %s", kind))
	}
}

// checkModels reports names that are no model's, nor an alias of the organisation's.
func (l *loader) checkModels(t *organisationTable, key string, names []string) {
	for i, name := range names {
		if _, alias := t.Aliases[name]; l.cat != nil && !alias && l.cat.Models[name] == nil {
			l.add(t.Problem(fmt.Sprintf("%s[%d]", key, i), "%s", config.UnknownName("model", name, l.cat.ModelIDs())))
		}
	}
}

func (l *loader) checkAliases(t *organisationTable) {
	if l.cat == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(t.Aliases)) {
		key := config.Dotted("aliases", name)
		if _, ok := l.cat.Models[name]; ok {
			l.add(t.Problem(key, "hides the model %q; expected a name that no model has", name))
		}
		if target := t.Aliases[name]; l.cat.Models[target] == nil {
			l.add(t.Problem(key, "%s", config.UnknownName("model", target, l.cat.ModelIDs())))
		}
	}
}

func (l *loader) readKeys(doc *config.Document) {
	var tables []*keyTable
	l.add(doc.Decode("keys", &tables)...)
	for _, t := range tables {
		org, team := l.owner(t)
		hash, ok := l.hash(t)
		if org == nil || !ok {
			continue
		}
		id := KeyID(hash)
		if t.ID != "" && t.ID != id {
			l.add(t.Problem("id", "found %q; the id that belongs to this sha256 is %q", t.ID, id))
		}
		if !t.Expires.IsZero() && t.Expires.Before(t.Created) {
			l.add(t.Problem("expires", "found %s, before created = %s; expected a later date", t.Expires.Format(time.RFC3339), t.Created.Format(time.RFC3339)))
		}
		if first, ok := l.places["key "+id]; ok {
			l.add(t.Problem("sha256", "key %q is already in %s; one of the two must go", id, first))
			continue
		}
		l.places["key "+id] = t.String()
		key := &Key{
			ID: id, Name: t.Name, Organisation: t.Organisation, Team: t.Team, SHA256: hash, Labels: t.Labels,
			DataClass: orElse(t.DataClass, DataClasses[0]), Created: t.Created, Expires: t.Expires, Disabled: t.Disabled,
		}
		p := principal(org, team, key)
		l.accounts.byHash[hash] = p
		l.accounts.byID[id] = p
		l.accounts.files[id] = doc.Path()
	}
}

// owner finds the organisation and team of a key; the organisation is nil where one of them is unknown.
func (l *loader) owner(t *keyTable) (*Organisation, *Team) {
	if t.Organisation == "" {
		return nil, nil
	}
	org := l.accounts.Organisations[t.Organisation]
	if org == nil {
		l.add(t.Problem("organisation", "%s", config.UnknownName("organisation", t.Organisation, slices.Collect(maps.Keys(l.accounts.Organisations)))))
		return nil, nil
	}
	if t.Team == "" {
		return org, nil
	}
	team := org.Teams[t.Team]
	if team == nil {
		l.add(t.Problem("team", "%s", config.UnknownName("team of "+org.ID, t.Team, slices.Collect(maps.Keys(org.Teams)))))
		return nil, nil
	}
	return org, team
}

// hash never shows what it found: it may be the key itself.
func (l *loader) hash(t *keyTable) (sum [32]byte, ok bool) {
	if t.SHA256 == "" {
		return sum, false
	}
	if len(t.SHA256) != 2*len(sum) {
		l.add(t.Problem("sha256", "found %d characters; expected the 64 hexadecimal digits of the key's SHA-256", len(t.SHA256)))
		return sum, false
	}
	if _, err := hex.Decode(sum[:], []byte(t.SHA256)); err != nil {
		l.add(t.Problem("sha256", "found a character that is no hexadecimal digit; expected the 64 of the key's SHA-256"))
		return sum, false
	}
	return sum, true
}

// KeyID is the id of the key with that SHA-256.
func KeyID(sum [32]byte) string { return fmt.Sprintf("key_%x", sum[:6]) }

// orElse is what is stated or else what holds without.
func orElse(stated, otherwise string) string {
	if stated == "" {
		return otherwise
	}
	return stated
}
