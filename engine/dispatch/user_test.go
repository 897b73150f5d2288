package dispatch_test

import (
	"fmt"
	"strings"
	"testing"

	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// Who the user is goes out as routing.upstream_user says, whichever API is asked and whichever serves.
func TestProvidersAreToldOfUsersAsConfigured(t *testing.T) {
	const name = "alice@example.com"
	for _, how := range []string{"hash", "none", "plain"} {
		for _, dialect := range []string{"openai", "anthropic"} {
			w := openWorld(t, fmt.Sprintf("[routing]\nupstream_user = %q\n", how), back{dialect, sim.Profile{}})
			pseudonym := ""
			for _, c := range []struct {
				front  wire.Shape
				fields string
			}{
				{wire.Chat, `"user":%q,"messages":[{"role":"user","content":"hi"}]`},
				{wire.Chat, `"user":%q,"metadata":{"user_id":"alice@example.com","team":"blue"},"messages":[{"role":"user","content":"hi"}]`},
				{wire.Messages, `"max_tokens":20,"metadata":{"user_id":%q},"messages":[{"role":"user","content":"hi"}]`},
				{wire.Messages, `"max_tokens":20,"user":%q,"messages":[{"role":"user","content":"hi"}]`},
				{wire.Responses, `"user":%q,"input":"hi"`},
				{wire.Completions, `"user":%q,"prompt":"hi"`},
			} {
				if _, e := w.ask(t, c.front, false, fmt.Sprintf(c.fields, name)); e != nil {
					t.Fatal(e)
				}
				body := w.sent(t, 0).Body
				told := at(t, body, map[string]string{"openai": "user", "anthropic": "metadata.user_id"}[dialect])
				if strings.Contains(string(body), name) != (how == "plain") {
					t.Errorf("%s, %s over %s: sent %s", how, c.front, dialect, body)
				}
				if pseudonym == "" {
					pseudonym = told
				}
				if nobody := told == "null" || told == "nothing"; told != pseudonym || (how == "none") != nobody {
					t.Errorf("%s, %s over %s: the user is %s, elsewhere %s", how, c.front, dialect, told, pseudonym)
				}
			}
		}
	}
}
