package provider

import (
	"net/http"
	"strconv"
	"time"

	"chaperone/engine/telemetry"
)

// limitHeaders are the names under which providers say what is left and when it is filled up again, the more telling first.
var limitHeaders = struct{ requests, tokens []limitHeader }{
	requests: []limitHeader{
		{"X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},                 // OpenAI, Azure, Groq
		{"Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset"}, // Anthropic
		{"X-Ratelimit-Remaining", "X-Ratelimit-Reset"},                                   // OpenRouter and many others
		{"Ratelimit-Remaining", "Ratelimit-Reset"},                                       // IETF draft-ietf-httpapi-ratelimit-headers
	},
	tokens: []limitHeader{
		{"X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
		{"Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"},
		{"Anthropic-Ratelimit-Input-Tokens-Remaining", "Anthropic-Ratelimit-Input-Tokens-Reset"},
	},
}

type limitHeader struct{ left, reset string }

// unknownReset is how long a remainder holds whose header does not say: limits are set by the minute.
const unknownReset = time.Minute

// Headroom reads what an answer says is left of its provider's limits.
func Headroom(h http.Header, now time.Time) telemetry.Headroom {
	return telemetry.Headroom{Requests: quota(h, limitHeaders.requests, now), Tokens: quota(h, limitHeaders.tokens, now)}
}

func quota(h http.Header, names []limitHeader, now time.Time) telemetry.Quota {
	for _, n := range names {
		left, err := strconv.ParseFloat(h.Get(n.left), 64)
		if err != nil || !(left >= 0 && left < 1e15) {
			continue
		}
		reset, ok := resetTime(h.Get(n.reset), now)
		if !ok {
			reset = now.Add(unknownReset)
		}
		return telemetry.Quota{Known: true, Left: int64(left), Reset: reset}
	}
	return telemetry.Quota{}
}

// resetTime reads the forms that are in use: "6m0s", seconds from now, seconds or milliseconds since 1970, and RFC 3339. A
// moment more than a day away is taken for a mistake.
func resetTime(s string, now time.Time) (time.Time, bool) {
	var at time.Time
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case n >= 1e11:
			at = time.UnixMilli(int64(min(n, 1e15)))
		case n >= 1e9:
			at = time.Unix(int64(n), 0)
		case n >= 0:
			at = now.Add(time.Duration(n * float64(time.Second)))
		}
	} else if d, err := time.ParseDuration(s); err == nil {
		at = now.Add(d)
	} else if at, err = time.Parse(time.RFC3339, s); err != nil {
		return time.Time{}, false
	}
	in := at.Sub(now)
	return at, in >= 0 && in <= 24*time.Hour
}
