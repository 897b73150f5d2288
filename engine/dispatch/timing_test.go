package dispatch_test

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

func TestTheTimingNamesEveryAttempt(t *testing.T) {
	const ms = `;dur=\d+\.\d`
	body := func(stream bool) engine.Call {
		return engine.Call{Key: "sk-acme", Body: fmt.Appendf(nil,
			`{"model":"m/one","stream":%t,"provider":{"order":["p0","p1"]},"messages":[{"role":"user","content":"hi"}]}`, stream)}
	}
	for name, c := range map[string]struct {
		second sim.Profile
		stream bool
		want   string
	}{
		"whole":         {sim.Profile{}, false, `attempt;desc="p1 ok"` + ms},
		"stream":        {sim.Profile{}, true, `attempt;desc="p1 ttft"` + ms},
		"early headers": {takes(3 * time.Second), true, ``},
		"error":         {always(sim.Fault{Kind: sim.Status, Status: 401}), false, `attempt;desc="p1 credential"` + ms},
	} {
		t.Run(name, func(t *testing.T) {
			early := time.Minute
			if name == "early headers" {
				early = time.Second
			}
			f := open(t, fmt.Sprintf("[timeouts]\nearly_headers = \"%v\"\n", early), always(sim.Fault{Kind: sim.Status, Status: 503}), c.second)
			resp, err := f.engine.Do(t.Context(), body(c.stream))
			got := ""
			if refused := (*wire.Error)(nil); errors.As(err, &refused) {
				got = refused.Timing
			} else {
				got = resp.Timing
			}
			want := `^policy` + ms + `, attempt;desc="p0 overloaded"` + ms
			if c.want != "" {
				want += ", " + c.want
			}
			if !regexp.MustCompile(want + "$").MatchString(got) {
				t.Errorf("the timing is %s, want %s", got, want)
			}
			if err == nil && resp.Stream != nil {
				io.Copy(io.Discard, resp.Stream)
			}
		})
	}
}
