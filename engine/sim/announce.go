package sim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// announcements are the ways in which servers tell how long to wait; see Fault.Announce.
var announcements = []string{"both", "seconds", "ms", "date", "azure", "openai", "anthropic", "openrouter", "google"}

// announce states a wait in the header, or in the error where that is the server's way. Where a header has no room for parts of
// a second, it is rounded up.
func (f *Fault) announce(h http.Header, e *apiError, wait time.Duration, now time.Time) {
	whole := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	ms := strconv.FormatInt(int64(math.Ceil(float64(wait)/float64(time.Millisecond))), 10)
	ends := now.Add(wait)
	switch f.Announce {
	case "", "both": // OpenAI
		h.Set("Retry-After", whole)
		h.Set("retry-after-ms", ms)
	case "seconds": // RFC 9110 10.2.3, as most
		h.Set("Retry-After", whole)
	case "ms":
		h.Set("retry-after-ms", ms)
	case "date": // RFC 9110 10.2.3
		h.Set("Retry-After", ends.Add(time.Second-1).UTC().Format(http.TimeFormat))
	case "azure":
		h.Set("x-ms-retry-after-ms", ms)
	case "openai": // platform.openai.com/docs/guides/rate-limits, without Retry-After
		h.Set("x-ratelimit-limit-requests", "60")
		h.Set("x-ratelimit-remaining-requests", "0")
		h.Set("x-ratelimit-reset-requests", wait.Round(time.Millisecond).String())
	case "anthropic": // docs.anthropic.com/en/api/rate-limits
		h.Set("anthropic-ratelimit-requests-remaining", "0")
		h.Set("anthropic-ratelimit-requests-reset", ends.Add(time.Second-1).UTC().Format(time.RFC3339))
	case "openrouter":
		h.Set("X-RateLimit-Remaining", "0")
		h.Set("X-RateLimit-Reset", strconv.FormatInt(ends.UnixMilli()+1, 10))
	case "google": // google.rpc.RetryInfo, and in words
		e.Message += fmt.Sprintf(" Please retry in %gs.", wait.Seconds())
		e.Details = []any{map[string]string{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": fmt.Sprintf("%gs", wait.Seconds())}}
	}
}

// retryAfter states a wait as OpenAI does.
func retryAfter(h http.Header, wait time.Duration) { (&Fault{}).announce(h, nil, wait, time.Time{}) }
