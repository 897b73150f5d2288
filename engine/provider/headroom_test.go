package provider_test

import (
	"net/http"
	"testing"
	"time"

	"chaperone/engine/provider"
	"chaperone/engine/telemetry"
)

func TestHeadroomIsReadInEveryForm(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	in := func(left int64, d time.Duration) telemetry.Quota {
		return telemetry.Quota{Known: true, Left: left, Reset: now.Add(d)}
	}
	for name, c := range map[string]struct {
		header map[string]string
		want   telemetry.Headroom
	}{
		"openai": {map[string]string{"x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s",
			"x-ratelimit-remaining-tokens": "149984", "x-ratelimit-reset-tokens": "6m0s"},
			telemetry.Headroom{Requests: in(59, time.Second), Tokens: in(149984, 6*time.Minute)}},
		"azure": {map[string]string{"x-ratelimit-remaining-requests": "9", "x-ratelimit-remaining-tokens": "0"},
			telemetry.Headroom{Requests: in(9, time.Minute), Tokens: in(0, time.Minute)}},
		"anthropic": {map[string]string{"anthropic-ratelimit-requests-remaining": "3", "anthropic-ratelimit-requests-reset": "2026-03-01T12:00:20Z",
			"anthropic-ratelimit-input-tokens-remaining": "1000", "anthropic-ratelimit-input-tokens-reset": "2026-03-01T12:01:00Z"},
			telemetry.Headroom{Requests: in(3, 20*time.Second), Tokens: in(1000, time.Minute)}},
		"openrouter": {map[string]string{"x-ratelimit-remaining": "7", "x-ratelimit-reset": "1772366430000"}, // 12:00:30
			telemetry.Headroom{Requests: in(7, 30*time.Second)}},
		"ietf":     {map[string]string{"ratelimit-remaining": "1", "ratelimit-reset": "12"}, telemetry.Headroom{Requests: in(1, 12*time.Second)}},
		"none":     {nil, telemetry.Headroom{}},
		"nonsense": {map[string]string{"x-ratelimit-remaining-requests": "many", "ratelimit-remaining": "-4"}, telemetry.Headroom{}},
		"far away": {map[string]string{"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9999h"}, telemetry.Headroom{Requests: in(0, time.Minute)}},
	} {
		h := http.Header{}
		for k, v := range c.header {
			h.Set(k, v)
		}
		got := provider.Headroom(h, now)
		if got.Requests.Known != c.want.Requests.Known || got.Tokens.Known != c.want.Tokens.Known ||
			got.Requests.Left != c.want.Requests.Left || got.Tokens.Left != c.want.Tokens.Left ||
			!got.Requests.Reset.Equal(c.want.Requests.Reset) || !got.Tokens.Reset.Equal(c.want.Tokens.Reset) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// FuzzHeadroom: whatever a provider writes into these headers, what is left is no less than nothing, and is filled up again
// within a day.
func FuzzHeadroom(f *testing.F) {
	for _, reset := range []string{"", "1s", "6m0s", "12", "-3", "1772366430000", "2026-03-01T12:00:20Z", "1e300", "NaN", "0x1p4"} {
		f.Add("59", reset)
		f.Add("1e14", reset)
		f.Add("-0", reset)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, left, reset string) {
		h := http.Header{"X-Ratelimit-Remaining-Requests": {left}, "X-Ratelimit-Reset-Requests": {reset}}
		q := provider.Headroom(h, now).Requests
		if !q.Known {
			return
		}
		if q.Left < 0 || q.Reset.Before(now) || q.Reset.After(now.Add(24*time.Hour)) {
			t.Errorf("%q until %q is read as %+v", left, reset, q)
		}
	})
}
