package dispatch

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"chaperone/engine/wire"
)

// Scope is what a fault says something about.
type Scope string

// The scopes. What is wrong with a request is never tried elsewhere; everything else is.
const (
	OfEndpoint   Scope = "endpoint"
	OfCredential Scope = "credential"
	OfModel      Scope = "model"
	OfRequest    Scope = "request"
	OfClient     Scope = "client"
	OfRouter     Scope = "router"
)

// Fault is why an attempt gave no answer.
type Fault struct {
	Kind       string // the journal's word
	Scope      Scope
	Status     int    // the provider's HTTP status; 0: none came
	Message    string // the provider's words, without secrets; for the client of this request alone, never kept
	RetryAfter time.Duration
}

// kind describes one kind of fault: whom it concerns, whether it speaks against the health of whom it concerns, whether the
// same endpoint is quickly tried once more, how it is said to a client when nothing else worked, and how telling it is beside
// others (higher wins).
type kind struct {
	scope   Scope
	health  bool
	again   bool
	status  int
	errType string
	telling int
	text    string
}

// kinds is the whole table. A kind that is not here does not exist.
var kinds = map[string]kind{
	"connect":         {OfEndpoint, true, false, 502, "provider_unavailable", 1, "could not be reached"},
	"tls":             {OfEndpoint, true, false, 502, "provider_unavailable", 1, "could not be reached over TLS"},
	"stale":           {OfEndpoint, false, true, 502, "provider_unavailable", 1, "closed a kept connection"},
	"server_error":    {OfEndpoint, true, true, 502, "provider_unavailable", 3, "answered with a server error"},
	"overloaded":      {OfEndpoint, true, false, 503, "provider_overloaded", 5, "is overloaded"},
	"timeout":         {OfEndpoint, true, false, 504, "timeout", 4, "did not answer in time"},
	"slow":            {OfEndpoint, true, false, 504, "timeout", 4, "was given up for being slow"},
	"redirect":        {OfEndpoint, true, true, 502, "provider_unavailable", 2, "answered with a redirect, which is never followed"},
	"bad_answer":      {OfEndpoint, true, true, 502, "provider_unavailable", 2, "gave an answer that cannot be read"},
	"empty_answer":    {OfEndpoint, true, true, 502, "provider_unavailable", 2, "gave an empty answer"},
	"cut":             {OfEndpoint, true, false, 502, "provider_unavailable", 3, "broke off in the middle of its answer"},
	"idle":            {OfEndpoint, true, false, 504, "timeout", 4, "fell silent in the middle of its answer"},
	"untranslatable":  {OfEndpoint, false, false, 502, "provider_unavailable", 2, "answered with what the API of the request has no words for"},
	"unknown_model":   {OfEndpoint, false, false, 502, "provider_unavailable", 2, "does not know the model"},
	"unsupported":     {OfEndpoint, false, false, 502, "provider_unavailable", 6, "does not support a parameter of the request"},
	"rate_limited":    {OfCredential, false, false, 429, "rate_limit_exceeded", 7, "is rate limited"},
	"credential":      {OfCredential, true, false, 502, "provider_unavailable", 2, "refused the router's credential"},
	"context_length":  {OfModel, false, false, 400, "context_length_exceeded", 8, "cannot take a request this long"},
	"content_policy":  {OfRequest, false, false, 0, "content_policy_violation", 10, "refused the content"},
	"invalid_request": {OfRequest, false, false, 0, "invalid_request", 9, "says that the request is wrong"},
	"newly_denied":    {OfRouter, false, false, 503, "provider_unavailable", 0, "is no longer permitted"},
	"too_dear":        {OfRouter, false, false, 402, "payment_required", 0, "could cost more than is left of what this request may cost"},
	"at_limit":        {OfRouter, false, false, 503, "provider_overloaded", 5, "has as many requests of this router in flight as it may"},
	"outpaced":        {OfRouter, false, false, 502, "provider_unavailable", 0, "was given up when another answered first"},
	"diverged":        {OfRouter, false, false, 502, "provider_unavailable", 0, "answers differently"},
	"deadline":        {OfRouter, false, false, 504, "timeout", 4, "had not answered when the time for this request was over"},
	"cancelled":       {OfClient, false, false, 499, "cancelled", 0, "was cancelled by the client"},
	"not_sent":        {OfRouter, false, false, 500, "server", 0, "could not be asked"},
}

func fault(kindName string, status int, message string) *Fault {
	return &Fault{Kind: kindName, Scope: kinds[kindName].scope, Status: status, Message: message}
}

// byStatus is what an HTTP status means where the body says nothing more telling; the default row is last in classify.
var byStatus = map[int]string{
	401: "credential", 402: "credential", 403: "credential",
	404: "unknown_model",
	408: "timeout", 504: "timeout", 524: "timeout",
	429: "rate_limited",
	498: "overloaded", // Groq, where the tier flex has no room
	503: "overloaded", 529: "overloaded",
}

// byWord is what providers write into code, type or message, in the order in which it is looked for.
var byWord = []struct{ kind, word string }{
	{"context_length", "context_length_exceeded"}, {"context_length", "maximum context length"},
	{"context_length", "context window"}, {"context_length", "prompt is too long"},
	{"context_length", "exceed context limit"}, {"context_length", "request_too_large"},
	{"credential", "credit balance"}, // Anthropic's 400 for an account without money
	{"content_policy", "content_policy"}, {"content_policy", "content_filter"},
	{"content_policy", "content management policy"}, {"content_policy", "content filtering policy"}, {"content_policy", "moderation"},
	{"unknown_model", "model_not_found"}, {"unknown_model", "does not exist"},
	{"unsupported", "unsupported_parameter"}, {"unsupported", "unsupported_value"}, {"unsupported", "unsupported parameter"},
	{"unsupported", "invalid_encrypted_content"}, {"unsupported", "invalid `signature` in `thinking`"}, // of another account's reasoning
	{"unsupported", "not supported"}, {"unsupported", "unknown parameter"}, {"unsupported", "unrecognized request argument"},
}

// classify reads the outcome of an attempt that got a response which is no answer.
func classify(status int, header http.Header, ue *wire.UpstreamError, now time.Time) *Fault {
	message, words := "", ""
	if ue != nil {
		message = ue.Message
		words = strings.ToLower(ue.Code + " " + ue.Type + " " + ue.Message)
	}
	name := ""
	switch {
	case status >= 300 && status < 400:
		name = "redirect"
	case status == 400 || status == 403 || status == 404 || status == 413 || status == 422:
		for _, w := range byWord {
			if strings.Contains(words, w.word) {
				name = w.kind
				break
			}
		}
	}
	if name == "" {
		name = byStatus[status]
	}
	if name == "" {
		switch {
		case status >= 500:
			name = "server_error"
		case status >= 400:
			name = "invalid_request"
		default:
			name = "bad_answer"
		}
	}
	f := fault(name, status, message)
	f.RetryAfter = retryAfter(header, now)
	if f.RetryAfter == 0 && name == "rate_limited" {
		f.RetryAfter = saidToWait(message)
	}
	return f
}

// inBandStatus is the status that an error would have come with, by a word of its code or type, in the order in which they are
// looked for.
var inBandStatus = []struct {
	word   string
	status int
}{
	{"rate_limit", 429}, {"overloaded", 529},
	{"request_too_large", 413}, {"invalid_request", 400}, {"context_length", 400}, {"content_", 400},
	{"authentication", 401}, {"permission", 401}, {"billing", 402}, {"not_found", 404}, {"timeout", 504},
}

// inBand reads an error object that came in place of an answer with status 200.
func inBand(ue *wire.UpstreamError, now time.Time) *Fault {
	status := 502
	if n, err := strconv.Atoi(ue.Code); err == nil && n >= 400 && n < 600 {
		status = n
	} else {
		words := strings.ToLower(ue.Code + " " + ue.Type)
		for _, w := range inBandStatus {
			if strings.Contains(words, w.word) {
				status = w.status
				break
			}
		}
	}
	return classify(status, nil, ue, now)
}

// maxRetryAfter bounds what a provider can announce: a broken clock must not shut an endpoint out for good.
const maxRetryAfter = time.Hour

// retryAfter reads Retry-After (RFC 9110 10.2.3: seconds or a date), the retry-after-ms that OpenAI sends and Azure's
// x-ms-retry-after-ms; 0: not said.
func retryAfter(h http.Header, now time.Time) time.Duration {
	var d time.Duration
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if ms, err := strconv.ParseFloat(h.Get(name), 64); err == nil && ms > 0 && ms < 1e9 {
			return min(time.Duration(ms*float64(time.Millisecond)), maxRetryAfter)
		}
	}
	if v := h.Get("Retry-After"); v != "" {
		if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 && s < 1e6 {
			d = time.Duration(s * float64(time.Second))
		} else if at, err := http.ParseTime(v); err == nil {
			d = at.Sub(now)
		}
	}
	return max(0, min(d, maxRetryAfter))
}

// waitWords finds a wait in words: "try again in 6m0s" (OpenAI, Groq), "retry in 34.07s" (Google), "retry after 26 seconds" (Azure).
var waitWords = regexp.MustCompile(`(?i)\b(?:try again|retry) (?:in|after) ((?:\d+(?:\.\d+)?(?:ms|[smh]))+|\d+(?:\.\d+)? ?seconds?)`)

// saidToWait is the wait that a message announces; 0: none.
func saidToWait(message string) time.Duration {
	m := waitWords.FindStringSubmatch(message)
	if m == nil {
		return 0
	}
	text, _, _ := strings.Cut(strings.ToLower(m[1]), "second")
	if text = strings.TrimSpace(text); text[len(text)-1] <= '9' {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0 // so long that it is no wait
	}
	return min(d, maxRetryAfter)
}
