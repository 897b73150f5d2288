package catalog_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"chaperone/engine/catalog"
)

func TestASecretNeverPrints(t *testing.T) {
	const key = "sk-verysecret"
	secret := catalog.NewSecret(key)
	if secret.Reveal() != key || (catalog.Secret{}).Reveal() != "" {
		t.Fatal("Reveal does not return the key")
	}
	type hidden struct{ secret catalog.Secret } // fmt finds no methods in there
	type holder struct{ Inner *catalog.Credential }
	credential := catalog.Credential{Name: "K", Secret: secret, Weight: 1}
	group := &catalog.CredentialGroup{Credentials: []catalog.Credential{credential}}

	var out bytes.Buffer
	for _, verb := range strings.Split("v +v #v s q x X d o O b c U e E f F g G t p T w 10.3s -20v", " ") {
		for _, value := range []any{secret, &secret, credential, &credential, holder{&credential}, hidden{secret}, &hidden{secret}, []any{secret}, map[string]any{"k": secret}, group} {
			fmt.Fprintf(&out, "%"+verb+"\n", value)
		}
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("m", "secret", secret, "pointer", &secret, "credential", credential, "hidden", hidden{secret}, "group", *group)
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, toml.Marshal, xml.Marshal} {
		for _, value := range []any{credential, holder{&credential}} {
			text, err := marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(text)
		}
	}
	fmt.Fprint(&out, errors.Join(fmt.Errorf("wrapped %v", secret)), secret.String(), secret.GoString())
	if strings.Contains(out.String(), "verysecret") || strings.Contains(out.String(), fmt.Sprintf("%x", "verysecret")) {
		t.Errorf("a secret is shown:\n%s", out.String())
	}
	for _, want := range []string{fmt.Sprint(secret), fmt.Sprintf("%d", secret), fmt.Sprintf("%#v", secret)} {
		if want != "[redacted]" {
			t.Errorf("prints %q", want)
		}
	}
}
