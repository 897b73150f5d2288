package account_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func hash(secret string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(secret))) }

func parse(t testing.TB, sources ...string) []*config.Document {
	t.Helper()
	var docs []*config.Document
	for i, src := range sources {
		name := "chaperone.toml"
		if i > 0 {
			name = fmt.Sprintf("more%d.toml", i)
		}
		doc, problems := config.Parse(name, []byte(src))
		if problems != nil {
			t.Fatal(problems)
		}
		docs = append(docs, doc)
	}
	return docs
}

func load(t testing.TB, sources ...string) *account.Accounts {
	t.Helper()
	a, problems := account.Load(parse(t, sources...), nil)
	if problems != nil {
		t.Fatal(problems.Err())
	}
	return a
}

const organisations = `
[organisations.acme]
name = "Acme"
labels = { tier = "gold", site = "hq" }
data_class = "internal"
error_detail = "codes"
value_of_time = 2.5

[organisations.acme.teams.fraud]
name = "Fraud"
labels = { site = "annex", cost_centre = "7" }
data_class = "restricted"

[organisations.open]
`

func keys(entries ...string) string {
	var b strings.Builder
	for _, entry := range entries {
		b.WriteString("\n[[keys]]\n" + entry + "\n")
	}
	return b.String()
}

func TestAPrincipalUnitesWhatOrganisationTeamAndKeySay(t *testing.T) {
	a := load(t, organisations+keys(
		`organisation = "acme"
		team = "fraud"
		name = "batch"
		labels = { cost_centre = "8" }
		data_class = "confidential"
		sha256 = "`+hash("one")+`"`,
		`organisation = "open"
		sha256 = "`+strings.ToUpper(hash("two"))+`"`))

	p, err := a.Authenticate("one", now)
	if err != nil {
		t.Fatal(err)
	}
	if p.Organisation.ID != "acme" || p.Organisation.Name != "Acme" || p.Organisation.ErrorDetail != "codes" || *p.Organisation.ValueOfTime != 2.5 {
		t.Errorf("organisation %+v", p.Organisation)
	}
	if p.Team == nil || p.Team.ID != "fraud" || p.Team.Name != "Fraud" || p.Key.Name != "batch" {
		t.Errorf("team %+v, key %+v", p.Team, p.Key)
	}
	if want := map[string]string{"tier": "gold", "site": "annex", "cost_centre": "8"}; !reflect.DeepEqual(p.Labels, want) {
		t.Errorf("labels %v, want %v: the narrower wins", p.Labels, want)
	}
	if p.DataClass != "restricted" {
		t.Errorf("data class %q, want the highest floor", p.DataClass)
	}

	p, err = a.Authenticate("two", now)
	if err != nil {
		t.Fatal(err)
	}
	if p.Organisation.Name != "open" || p.Organisation.ErrorDetail != "full" || p.Team != nil || p.DataClass != "public" || p.Labels == nil ||
		p.Organisation.ValueOfTime != nil {
		t.Errorf("defaults: %+v of %+v", p, p.Organisation)
	}
	if want := "key_" + hash("two")[:12]; p.Key.ID != want || a.ByKeyID(want, now) != p {
		t.Errorf("key id %q, want %q and found by it", p.Key.ID, want)
	}
}

func TestAuthenticateTellsUnknownExpiredAndRevokedApart(t *testing.T) {
	a := load(t, organisations+keys(
		`organisation = "acme"
		expires = 2026-11-23T12:00:00Z
		sha256 = "`+hash("expires now")+`"`,
		`organisation = "acme"
		expires = 2026-11-24
		sha256 = "`+hash("expires tomorrow")+`"`,
		`organisation = "acme"
		disabled = true
		expires = 2020-01-01
		sha256 = "`+hash("revoked")+`"`))
	for _, c := range []struct {
		secret string
		want   error
		text   string
	}{
		{"expires tomorrow", nil, ""},
		{"expires now", account.ErrExpiredKey, "the API key has expired: ask your operator for a new one (chaperone key new)"},
		{"revoked", account.ErrDisabledKey, "the API key has been revoked: ask your operator for a new one (chaperone key new)"},
		{"", account.ErrUnknownKey, `the API key is unknown: check that all of it was sent, as "Authorization: Bearer sk-ch-…"`},
		{"expires tomorrow ", account.ErrUnknownKey, account.ErrUnknownKey.Error()},
		{hash("expires tomorrow"), account.ErrUnknownKey, account.ErrUnknownKey.Error()},
		{strings.Repeat("x", 1<<20), account.ErrUnknownKey, account.ErrUnknownKey.Error()},
	} {
		p, err := a.Authenticate(c.secret, now)
		if !errors.Is(err, c.want) || (p == nil) == (err == nil) {
			t.Errorf("%.20q: principal %v, error %v, want %v", c.secret, p, err, c.want)
		}
		if err != nil && err.Error() != c.text {
			t.Errorf("%.20q says %q, want %q", c.secret, err, c.text)
		}
		id := "key_" + hash(c.secret)[:12]
		if (a.ByKeyID(id, now) != nil) != (c.want == nil) {
			t.Errorf("ByKeyID disagrees with Authenticate about %.20q", c.secret)
		}
	}
	if got := a.ByKeyID("key_"+hash("expires tomorrow")[:12], now.Add(12*time.Hour)); got != nil {
		t.Errorf("found %v a moment after it expired", got)
	}
	if got := len(a.Keys()); got != 3 {
		t.Errorf("%d keys listed, want all 3, whatever their state", got)
	}
}

func TestAuthenticateAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	secret, key := account.NewKey("acme", "fraud", "", time.Time{}, now)
	a := load(t, organisations+keys(`organisation = "acme"
		sha256 = "`+fmt.Sprintf("%x", key.SHA256)+`"`))
	wrong := secret[:len(secret)-1]
	if n := testing.AllocsPerRun(200, func() {
		if _, err := a.Authenticate(secret, now); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Authenticate(wrong, now); err != account.ErrUnknownKey {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestDataClassesAreOrdered(t *testing.T) {
	for i, a := range account.DataClasses {
		for j, b := range account.DataClasses {
			if got := account.DataClassAtLeast(a, b); got != (i >= j) {
				t.Errorf("DataClassAtLeast(%q, %q) = %v", a, b, got)
			}
			if got, want := account.HigherDataClass(a, b), account.DataClasses[max(i, j)]; got != want {
				t.Errorf("HigherDataClass(%q, %q) = %q, want %q", a, b, got, want)
			}
		}
	}
	if !account.DataClassAtLeast("top secret", "restricted") || account.DataClassAtLeast("confidential", "top secret") {
		t.Error("a class that does not exist does not count as the highest")
	}
}

// Every mistake that the accounts can hold, with the whole of what is said about it.
func TestEachMistakeHasItsOwnMessage(t *testing.T) {
	const start = "[organisations.acme]\n[organisations.acme.teams.fraud]\n[[keys]]\n" // three lines
	good := `sha256 = "` + hash("k") + `"`
	for _, c := range []struct{ name, src, want string }{
		{"organisation's id", "[organisations.Acme]\n",
			`chaperone.toml:1: organisations.Acme: found "Acme"; the id of the organisation is of lower-case letters, digits, ".", "_" and "-"`},
		{"team's id", "[organisations.acme.teams.\"a b\"]\n",
			`chaperone.toml:1: organisations.acme.teams."a b": found "a b"; the id of the team is of lower-case letters, digits, ".", "_" and "-"`},
		{"empty id", "[organisations.\"\"]\n",
			`chaperone.toml:1: organisations."": found no id; expected one for the organisation`},
		{"misspelt key", "[organisations.acme]\ndata_clas = \"public\"\n",
			`chaperone.toml:2: organisations.acme.data_clas: unknown key "data_clas"; did you mean "data_class"?`},
		{"data class", "[organisations.acme]\ndata_class = \"secret\"\n",
			`chaperone.toml:2: organisations.acme.data_class: found "secret"; expected public, internal, confidential or restricted`},
		{"data class of a team", "[organisations.acme.teams.a]\ndata_class = \"intern\"\n",
			`chaperone.toml:2: organisations.acme.teams.a.data_class: found "intern"; did you mean "internal"?`},
		{"error detail", "[organisations.acme]\nerror_detail = \"code\"\n",
			`chaperone.toml:2: organisations.acme.error_detail: found "code"; did you mean "codes"?`},
		{"value of time", "[organisations.acme]\nvalue_of_time = -1\n",
			`chaperone.toml:2: organisations.acme.value_of_time: found -1; expected at least 0`},
		{"alias to nowhere", "[organisations.acme]\n[organisations.acme.aliases]\nfast = \"demo/chat-smal\"\n",
			`chaperone.toml:3: organisations.acme.aliases.fast: unknown model "demo/chat-smal"; did you mean "demo/chat-small"?`},
		{"alias over a model", "[organisations.acme.aliases]\n\"demo/chat-small\" = \"demo/chat-small\"\n",
			`chaperone.toml:2: organisations.acme.aliases."demo/chat-small": hides the model "demo/chat-small"; expected a name that no model has`},
		{"no organisation", "[[keys]]\n" + good,
			`chaperone.toml:1: keys[0].organisation: missing; expected a string`},
		{"unknown organisation", start + good + "\norganisation = \"acne\"",
			`chaperone.toml:5: keys[0].organisation: unknown organisation "acne"; did you mean "acme"?`},
		{"no organisations at all", "[[keys]]\n" + good + "\norganisation = \"acme\"",
			`chaperone.toml:3: keys[0].organisation: unknown organisation "acme"; there is none here`},
		{"unknown team", start + good + "\norganisation = \"acme\"\nteam = \"sales\"",
			`chaperone.toml:6: keys[0].team: unknown team of acme "sales"; expected fraud`},
		{"no hash", start + "organisation = \"acme\"",
			`chaperone.toml:3: keys[0].sha256: missing; expected a string`},
		{"the key itself for its hash", start + "organisation = \"acme\"\nsha256 = \"sk-ch-verysecret\"",
			`chaperone.toml:5: keys[0].sha256: found 16 characters; expected the 64 hexadecimal digits of the key's SHA-256`},
		{"no hexadecimal", start + "organisation = \"acme\"\nsha256 = \"" + strings.Repeat("g", 64) + "\"",
			`chaperone.toml:5: keys[0].sha256: found a character that is no hexadecimal digit; expected the 64 of the key's SHA-256`},
		{"another key's id", start + good + "\norganisation = \"acme\"\nid = \"key_000000000000\"",
			`chaperone.toml:6: keys[0].id: found "key_000000000000"; the id that belongs to this sha256 is "key_` + hash("k")[:12] + `"`},
		{"the key in the file", start + good + "\norganisation = \"acme\"\nkey = \"sk-ch-verysecret\"",
			`chaperone.toml:6: keys[0].key: a client key does not stand in a file; only its sha256 does, as "chaperone key new" writes it`},
		{"the secret in the file", start + good + "\norganisation = \"acme\"\nsecret = \"sk-ch-verysecret\"",
			`chaperone.toml:6: keys[0].secret: a client key does not stand in a file; only its sha256 does, as "chaperone key new" writes it`},
		{"expired before it began", start + good + "\norganisation = \"acme\"\ncreated = 2026-05-01\nexpires = 2026-04-01",
			`chaperone.toml:7: keys[0].expires: found 2026-04-01T00:00:00Z, before created = 2026-05-01T00:00:00Z; expected a later date`},
		{"expires as text", start + good + "\norganisation = \"acme\"\nexpires = \"90d\"",
			`chaperone.toml:6: keys[0].expires: found string "90d"; expected a date such as 2027-01-31 or 2027-01-31T12:00:00Z`},
		{"the same key twice", start + good + "\norganisation = \"acme\"\n[[keys]]\norganisation = \"acme\"\n" + good,
			`chaperone.toml:8: keys[1].sha256: key "key_` + hash("k")[:12] + `" is already in chaperone.toml:3; one of the two must go`},
		{"one table for all keys", "[keys]\n" + good,
			`chaperone.toml:1: keys: found a table; expected an array`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, problems := account.Load(parse(t, c.src), demoCatalog(t))
			if a != nil || problems == nil {
				t.Fatalf("accepted")
			}
			if got := problems.Err().Error(); got != c.want {
				t.Errorf("says\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func demoCatalog(t *testing.T) *catalog.Catalog {
	t.Helper()
	cat, problems := catalog.Load(parse(t, "[models.\"demo/chat-small\"]\ncontext_length = 4096\n"), func(string) (string, bool) { return "", false })
	if problems != nil {
		t.Fatal(problems)
	}
	return cat
}

func TestAnOrganisationHasOnePlace(t *testing.T) {
	_, problems := account.Load(parse(t, "[organisations.acme]\n", "\n[organisations.acme]\n"), nil)
	if want := `more1.toml:2: organisations.acme: organisation "acme" is already in chaperone.toml:1; one of the two must go`; problems.Error() != want {
		t.Errorf("says %q, want %q", problems.Error(), want)
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, problems := account.Load(parse(t, `[organisations.acme]
data_class = "secret"
error_detail = 3
[[keys]]
organisation = "acme"
sha256 = "abc"
[[keys]]
organisation = "nobody"
`), nil)
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	slices.Sort(lines)
	if want := []int{2, 3, 6, 7, 8}; !slices.Equal(lines, want) {
		t.Errorf("problems in lines %v, want %v:\n%v", lines, want, problems)
	}
}

func TestAFileWithEveryKey(t *testing.T) {
	var docs []*config.Document
	for _, name := range []string{"accounts.toml", "catalog.toml"} {
		src := read(t, "../../testdata/config/"+name)
		doc, problems := config.Parse(name, []byte(src))
		if problems != nil {
			t.Fatal(problems)
		}
		docs = append(docs, doc)
	}
	cat, problems := catalog.Load(docs, func(string) (string, bool) { return "", false })
	if problems != nil {
		t.Fatal(problems)
	}
	a, problems := account.Load(docs, cat)
	if problems != nil {
		t.Fatal(problems)
	}
	p, err := a.Authenticate("sk-test-fraud", now)
	if err != nil {
		t.Fatal(err)
	}
	want := account.Key{
		ID: "key_" + hash("sk-test-fraud")[:12], Name: "batch", Organisation: "acme", Team: "fraud", SHA256: sha256.Sum256([]byte("sk-test-fraud")),
		Labels: map[string]string{"job": "nightly"}, DataClass: "restricted",
		Created: time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC), Expires: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
	}
	if !reflect.DeepEqual(*p.Key, want) {
		t.Errorf("key\n%+v\nwant\n%+v", *p.Key, want)
	}
	if p.Organisation.Aliases["fast"] != "meta/llama-3.3-70b" {
		t.Errorf("aliases %v", p.Organisation.Aliases)
	}
	if _, err := a.Authenticate("sk-test-gone", now); err != account.ErrDisabledKey {
		t.Errorf("the disabled key gets %v", err)
	}
}

func TestKeysMayStandInAFileOfTheirOwn(t *testing.T) {
	a := load(t, organisations, keys(`organisation = "acme"
		sha256 = "`+hash("k")+`"`))
	p, err := a.Authenticate("k", now)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.File(p.Key.ID); got != "more1.toml" {
		t.Errorf("the key is said to stand in %q", got)
	}
	if got := a.File("key_000000000000"); got != "" {
		t.Errorf("a key that does not exist is said to stand in %q", got)
	}
}

func TestPresetsAreReadAsPartsOfRequests(t *testing.T) {
	a := load(t, "[presets.one]\nmodel = 'a/b'\n[presets.two]\nsystem = 's'\n[organisations.acme.presets.one]\nmodel = 'c/d'\n[organisations.other]\n")
	for _, c := range []struct{ org, slug, want string }{{"acme", "one", `"c/d"`}, {"other", "one", `"a/b"`}, {"acme", "none", ""}} {
		p := a.Preset(a.Organisations[c.org], c.slug)
		if got := p != nil; got != (c.want != "") || got && string(p.Fields[0].Value) != c.want {
			t.Errorf("%s of %s is %+v", c.slug, c.org, p)
		}
	}
	if got := a.PresetSlugs(a.Organisations["acme"]); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("slugs %q", got)
	}
	for src, want := range map[string]string{
		"[presets.One]\n":                                          "the id of the preset is of lower-case letters",
		"[presets.p]\nmodle = 'a/b'\n":                             `did you mean "model"?`,
		"[presets.p]\nparameters = { messages = [] }\n":            "parameters.messages: is not a parameter",
		"[presets.p]\nprovider = { onyl = ['x'] }\n":               `provider.onyl: unknown key "onyl"; did you mean "only"?`,
		"[presets.p]\nparameters = { max_tokens = 'x' }\n":         "max_tokens: found a string",
		"[presets.p]\ntools = [ { function = {} } ]\n":             "found a tool without a type",
		"[presets.p]\ncache_ttl_seconds = 0\n":                     "expected at least 1",
		"[organisations.a.presets.p]\nprovider = { sort = 'x' }\n": "provider.sort",
	} {
		_, problems := account.Load(parse(t, src), nil)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", src, err, want)
		}
	}
}
