package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"chaperone/engine/config"
)

// Profile is how a simulated provider behaves. Its zero value, given a name, answers everything at once and well.
type Profile struct {
	config.Origin

	Name   string `toml:"name" check:"required"`
	Listen string `toml:"listen"` // address; a free port of 127.0.0.1 where empty
	Seed   uint64 // of fates and texts; a file has one for all its providers
	// FateBy says what decides a request's fate besides the seed and the name: "order" (the default), its place in the
	// order of arrival, or "body", its user and messages and how often they have come before. The first suits a test that
	// sends one request after another, the second a concurrent one that must come out the same every time.
	FateBy string `toml:"fate_by"`
	// Down closes the listener and every connection, so that connecting is refused.
	Down bool `toml:"down"`

	Models      []string     `toml:"models"`      // names that it knows; empty: any
	Credentials []Credential `toml:"credentials"` // that it accepts; empty: any, or none
	Limit       Limit        `toml:"limit"`
	Denied      []Denial     `toml:"denied"`

	TTFT            Distribution `toml:"ttft_ms"`          // to the first token, milliseconds
	TPS             Distribution `toml:"tps"`              // output tokens a second; 0: at once
	OutputTokens    Distribution `toml:"output_tokens"`    // an answer's length where the request does not limit it; 0: max_tokens, or 64
	ReasoningTokens int          `toml:"reasoning_tokens"` // before the text
	CachedTokens    int          `toml:"cached_tokens"`    // that it says it had of each prompt, as far as that has so many
	// OwnAnswers makes the provider's texts its own. Without it every provider with the same seed answers a request with
	// the same text, whatever model name and other routing fields it is sent with.
	OwnAnswers bool `toml:"own_answers"`
	// Continues is how the provider can be asked to continue a beginning of its answer, the last message: "prefill" (that is
	// all), "prefix" (with "prefix": true in the message), "continue_final_message" (with that field true), or "any" of them. A request that asks
	// in a way that is not the provider's is refused; where it is empty, a last message without such a field is one like others.
	Continues string `toml:"continues"`
	// PreambleTokens of text come before the call of a request that has to call a tool.
	PreambleTokens int    `toml:"preamble_tokens"`
	Calls          int    `toml:"calls"`        // of how many tools a demanded call is, as far as there are so many; 1 where 0
	ReasoningIn    string `toml:"reasoning_in"` // the field that carries it: one of reasoningFields, the first where empty
	UsageIn        string `toml:"usage_in"`     // where usage stands: one of usagePlaces, the first where empty

	Faults []Fault `toml:"faults"`
	Drift  Drift   `toml:"drift"`
	Flap   Flap    `toml:"flap"`

	KeepRequests bool `toml:"keep_requests"` // records hold each request's header and body
	LogSize      int  `toml:"log_size"`      // latest records that are kept; 100,000 where 0
}

// Credential is an API key that a provider accepts.
type Credential struct {
	Name string `toml:"name"`
	Key  string `toml:"key"`
}

// Limit is a token bucket for each credential; 0 requests a second: no limit.
type Limit struct {
	RequestsPerSecond float64 `toml:"requests_per_second"`
	Burst             int     `toml:"burst"` // requests; 1 where 0
}

// Denial names requests that should never reach the provider, by the user field of their body up to its first slash, which
// carries the organisation that they are for. An empty Credential or Model means any.
type Denial struct {
	User       string `toml:"user"`
	Credential string `toml:"credential"` // its name
	Model      string `toml:"model"`      // as the provider is asked for it
}

// Distribution is log-normal by its median and 95th percentile, or fixed at P50 where P95 is 0.
type Distribution struct {
	P50 float64 `toml:"p50"`
	P95 float64 `toml:"p95"`
}

// z95 is the standard normal distribution's 95th percentile.
const z95 = 1.6448536269514722

// at is the distribution's value at a standard normal deviate.
func (d Distribution) at(z float64) float64 {
	if d.P95 == 0 || d.P50 == 0 {
		return d.P50
	}
	return d.P50 * math.Exp(z/z95*math.Log(d.P95/d.P50))
}

func (d Distribution) mistake() string {
	switch {
	case !(d.P50 >= 0) || math.IsInf(d.P50, 0) || math.IsInf(d.P95, 0) || math.IsNaN(d.P95):
		return fmt.Sprintf("p50 = %v, p95 = %v; both should be finite, p50 at least 0", d.P50, d.P95)
	case d.P95 != 0 && (d.P95 < d.P50 || d.P50 == 0):
		return fmt.Sprintf("p50 = %v, p95 = %v; p95 should be at least p50, which should be above 0", d.P50, d.P95)
	}
	return ""
}

// orders is what a request's fate can be decided by.
var orders = []string{"order", "body"}

// mistake is what is wrong with one key of a profile.
type mistake struct {
	origin  config.Origin
	key     string
	message string
}

// mistakes is everything that is wrong with a profile.
func (p *Profile) mistakes() []mistake {
	var found []mistake
	wrong := func(key, format string, args ...any) {
		found = append(found, mistake{p.Origin, key, fmt.Sprintf(format, args...)})
	}
	if p.Name == "" {
		wrong("name", "is missing; every provider needs a name")
	}
	if p.Listen != "" {
		if _, _, err := net.SplitHostPort(p.Listen); err != nil {
			wrong("listen", "found %q; should be an address such as 127.0.0.1:9101", p.Listen)
		}
	}
	if p.FateBy != "" && !slices.Contains(orders, p.FateBy) {
		wrong("fate_by", "%s", config.NotOneOf(p.FateBy, orders))
	}
	if p.Continues != "" && !slices.Contains(continuations, p.Continues) {
		wrong("continues", "%s", config.NotOneOf(p.Continues, continuations))
	}
	names := map[string]bool{}
	for i, c := range p.Credentials {
		switch {
		case c.Name == "" || c.Key == "":
			wrong("credentials", "number %d lacks a name or a key; both should be set", i+1)
		case names[c.Name]:
			wrong("credentials", "the name %q is there twice; names should be unique", c.Name)
		}
		names[c.Name] = true
	}
	if r := p.Limit.RequestsPerSecond; !(r >= 0) || math.IsInf(r, 0) {
		wrong("limit", "requests_per_second is %v; should be 0 (no limit) or above", r)
	}
	if p.Limit.Burst < 0 {
		wrong("limit", "burst is %d; should be 1 or above", p.Limit.Burst)
	}
	for i, d := range p.Denied {
		if d.User == "" {
			wrong("denied", "number %d lacks a user; should be the organisation, as user fields begin with it", i+1)
		}
		if d.Credential != "" && !names[d.Credential] {
			wrong("denied", "number %d names the credential %q, which is not among credentials", i+1, d.Credential)
		}
	}
	for _, d := range []struct {
		key string
		Distribution
	}{{"ttft_ms", p.TTFT}, {"tps", p.TPS}, {"output_tokens", p.OutputTokens}} {
		if m := d.mistake(); m != "" {
			wrong(d.key, "%s", m)
		}
	}
	for _, n := range []struct {
		key string
		n   int
	}{{"reasoning_tokens", p.ReasoningTokens}, {"cached_tokens", p.CachedTokens}, {"preamble_tokens", p.PreambleTokens}} {
		if n.n < 0 {
			wrong(n.key, "found %d; should be 0 or above", n.n)
		}
	}
	for _, c := range []struct {
		key, found string
		of         []string
	}{{"reasoning_in", p.ReasoningIn, reasoningFields}, {"usage_in", p.UsageIn, usagePlaces}} {
		if c.found != "" && !slices.Contains(c.of, c.found) {
			wrong(c.key, "%s", config.NotOneOf(c.found, c.of))
		}
	}
	if m := p.Drift.mistake(); m != "" {
		wrong("drift", "%s", m)
	}
	if m := p.Flap.mistake(); m != "" {
		wrong("flap", "%s", m)
	}
	if p.LogSize < 0 {
		wrong("log_size", "found %d; should be 1 or above", p.LogSize)
	}
	total := 0.0
	for i := range p.Faults {
		total += p.Faults[i].Share
		found = append(found, p.Faults[i].mistakes()...)
	}
	if total > 1+1e-9 {
		wrong("faults", "shares add up to %v; should be at most 1", total)
	}
	return found
}

// credential is the accepted credential with that key.
func (p *Profile) credential(key string) (name string, ok bool) {
	if len(p.Credentials) == 0 {
		return "", true
	}
	for _, c := range p.Credentials {
		if c.Key == key {
			return c.Name, true
		}
	}
	return "", false
}

// denies says whether a request should never have come.
func (p *Profile) denies(user, credential, model string) bool {
	return slices.ContainsFunc(p.Denied, func(d Denial) bool {
		return d.User == user && (d.Credential == "" || d.Credential == credential) && (d.Model == "" || d.Model == model)
	})
}

// fate is what one request meets: a fault or none, and the pace of the answer.
type fate struct {
	fault *Fault
	ttft  time.Duration
	tps   float64
}

// fate draws always the same numbers in the same order, so that changing one part of a profile changes no other draw. place is
// that of the request in the order of arrival, by which the provider drifts.
func (p *Profile) fate(r *rand.Rand, place uint64) fate {
	var f fate
	share, ttft, tps := r.Float64(), r.NormFloat64(), r.NormFloat64()
	f.ttft = milliseconds(p.TTFT.at(ttft) * p.Drift.factor(p.Drift.TTFT, place))
	f.tps = p.TPS.at(tps) * p.Drift.factor(p.Drift.TPS, place)
	more := p.Drift.factor(p.Drift.Faults, place)
	for i := range p.Faults {
		if share < p.Faults[i].Share*more {
			f.fault = &p.Faults[i]
			break
		}
		share -= p.Faults[i].Share * more
	}
	return f
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
