package catalog

import (
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"chaperone/engine/config"
)

func loadWhole(t *testing.T, key string) *Catalog {
	t.Helper()
	const path = "../../testdata/config/catalog.toml"
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	doc, problems := config.Parse(path, src)
	if problems != nil {
		t.Fatal(problems)
	}
	c, problems := Load([]*config.Document{doc}, func(name string) (string, bool) { return key + name, key != "" })
	if problems != nil {
		t.Fatal(problems)
	}
	return c
}

func TestTheDigestIsOfTheContentAndNotOfTheKeys(t *testing.T) {
	digest := loadWhole(t, "sk-a").Digest
	if len(digest) != 64 {
		t.Errorf("digest %q", digest)
	}
	for _, key := range []string{"sk-a", "sk-b", ""} {
		if got := loadWhole(t, key).Digest; got != digest {
			t.Errorf("with the keys %q it is %s, and %s before", key, got, digest)
		}
	}
}

// Every exported field of everything that a policy or scorer can read changes the digest: also those that are added later.
func TestTheDigestChangesWithEveryField(t *testing.T) {
	excluded := map[string]bool{"CredentialGroup.Credentials": true, "CredentialGroup.Missing": true, "Provider.Missing": true}
	before := loadWhole(t, "sk-").Digest
	for _, pick := range []func(*Catalog) any{
		func(c *Catalog) any { return c.Rows[1] },
		func(c *Catalog) any { return c.Models["demo/see"] },
		func(c *Catalog) any { return c.Providers["deepinfra"] },
		func(c *Catalog) any { return c.Providers["deepinfra"].Groups[1] },
	} {
		typ := reflect.TypeOf(pick(loadWhole(t, "sk-"))).Elem()
		for i := range typ.NumField() {
			field := typ.Name() + "." + typ.Field(i).Name
			for n := 0; ; n++ {
				c := loadWhole(t, "sk-")
				what, changed := change(reflect.ValueOf(pick(c)).Elem().Field(i), n)
				if !changed {
					break
				}
				if (digest(c) != before) == excluded[field] {
					t.Errorf("changing %s%s: digest changes %v", field, what, digest(c) != before)
				}
			}
		}
	}
	for what, mutate := range map[string]func(*Catalog){
		"an alias": func(c *Catalog) { c.Aliases["x"] = "demo/see" },
		"a row":    func(c *Catalog) { c.Rows = c.Rows[:3] },
		"the order of rows": func(c *Catalog) {
			c.Rows[0], c.Rows[1] = c.Rows[1], c.Rows[0]
		},
		"the group of a row": func(c *Catalog) { c.Rows[1].Group = c.Rows[2].Group },
		"the model of a row": func(c *Catalog) { c.Rows[1].Model = c.Rows[0].Model },
		"a provider":         func(c *Catalog) { delete(c.Providers, "rack") },
	} {
		c := loadWhole(t, "sk-")
		mutate(c)
		if digest(c) == before {
			t.Errorf("changing %s does not change the digest", what)
		}
	}
}

// change alters the nth part of a value, false where there is none. References to other entries are tested by hand.
func change(v reflect.Value, n int) (string, bool) {
	if _, isTime := v.Interface().(time.Time); v.Kind() == reflect.Struct && !isTime {
		if n >= v.NumField() {
			return "", false
		}
		_, changed := change(v.Field(n), 0)
		return "." + v.Type().Field(n).Name, changed
	}
	if n > 0 {
		return "", false
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Struct:
		v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(time.Second)))
	case reflect.Map:
		v.SetMapIndex(reflect.ValueOf("added"), addable(v.Type().Elem()))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Pointer {
			return "", false
		}
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Pointer:
		return "", false
	default:
		panic(fmt.Sprintf("the test cannot change a %s", v.Type()))
	}
	return "", true
}

func addable(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	if t.Kind() == reflect.Bool {
		v.SetBool(true)
	}
	return v
}
