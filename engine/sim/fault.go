package sim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"chaperone/engine/config"
)

// Kind is a way in which a request goes wrong.
type Kind string

// The kinds of faults. Where a kind speaks of tokens and the answer is not streamed, the part of the body that corresponds
// to them is meant.
const (
	Reset                Kind = "reset"                 // the connection is reset (RST) before a byte of the answer
	Close                Kind = "close"                 // the connection is closed before a byte of the answer
	Status               Kind = "status"                // the status code Status with the error body that goes with it
	ContextLength        Kind = "context_length"        // 400 context_length_exceeded
	ContentPolicy        Kind = "content_policy"        // 400 content_policy_violation
	UnsupportedParameter Kind = "unsupported_parameter" // 400 unsupported_parameter
	Slow                 Kind = "slow"                  // nothing for Delay, then as usual
	Silent               Kind = "silent"                // nothing, until the client goes away
	Stall                Kind = "stall"                 // AfterTokens, then nothing until the client goes away
	Cut                  Kind = "cut"                   // AfterTokens, then the connection closes in the middle of the body
	Truncate             Kind = "truncate"              // AfterTokens, then a clean end without finish reason and [DONE]
	NoDone               Kind = "no_done"               // a whole stream that ends cleanly but without [DONE]
	Malformed            Kind = "malformed"             // AfterTokens, then Events that are no JSON, then the rest; a body that is no JSON
	ErrorEvent           Kind = "error_event"           // AfterTokens, then an error event with code Status; an error body with status 200
	EarlyDone            Kind = "early_done"            // AfterTokens, then [DONE] without a finish reason; an answer that has none
	ErrorFinish          Kind = "error_finish"          // AfterTokens, then the finish reason "error" and [DONE]; an answer that has it
	Pings                Kind = "pings"                 // AfterTokens, then comments until the client goes away; spaces before a body
	Endless              Kind = "endless"               // AfterTokens, then one event, or a body, that never ends
	ErrorBody            Kind = "error_body"            // status 200 and a JSON error in the shape Form, streaming or not
	Empty                Kind = "empty"                 // status 200 and nothing
	ContentType          Kind = "content_type"          // a right answer that calls itself text/plain
	HTML                 Kind = "html"                  // an HTML page with status Status
	Redirect             Kind = "redirect"              // status Status to Location
)

// Fault is one way to fail and how often.
type Fault struct {
	config.Origin

	Kind        Kind          `toml:"kind"`
	Share       float64       `toml:"share"`        // of requests, 0…1
	Status      int           `toml:"status"`       // status: no default; error_event, error_body: 500; html: 502; redirect: 307
	RetryAfter  time.Duration `toml:"retry_after"`  // announced with status; 0: not, except 1s with 429
	Announce    string        `toml:"announce"`     // how that is said: one of announcements, "both" where empty
	Form        string        `toml:"form"`         // error_body: one of forms, "openai" where empty
	Events      int           `toml:"events"`       // malformed: how many; 1 where 0
	Delay       time.Duration `toml:"delay"`        // slow
	AfterTokens int           `toml:"after_tokens"` // of the kinds that say so; 0: before the first
	Location    string        `toml:"location"`     // redirect; the same path of the same server where empty
}

// reads is which settings a kind reads.
type reads struct{ status, retry, form, delay, tokens, events, location bool }

var takes = map[Kind]reads{
	Reset: {}, Close: {}, ContextLength: {}, ContentPolicy: {}, UnsupportedParameter: {}, Silent: {}, NoDone: {}, Empty: {}, ContentType: {},
	Status:      {status: true, retry: true},
	Slow:        {delay: true},
	Stall:       {tokens: true},
	Cut:         {tokens: true},
	Truncate:    {tokens: true},
	Malformed:   {tokens: true, events: true},
	ErrorEvent:  {status: true, tokens: true},
	EarlyDone:   {tokens: true},
	ErrorFinish: {tokens: true},
	Pings:       {tokens: true},
	Endless:     {tokens: true},
	ErrorBody:   {status: true, form: true},
	HTML:        {status: true},
	Redirect:    {status: true, location: true},
}

// kinds is every kind by name.
var kinds = func() []string {
	var names []string
	for k := range takes {
		names = append(names, string(k))
	}
	slices.Sort(names)
	return names
}()

func (f *Fault) mistakes() []mistake {
	var found []mistake
	wrong := func(key, format string, args ...any) {
		found = append(found, mistake{f.Origin, key, fmt.Sprintf(format, args...)})
	}
	t, known := takes[f.Kind]
	if !known {
		wrong("kind", "%s", config.NotOneOf(string(f.Kind), kinds))
		return found
	}
	if !(f.Share > 0 && f.Share <= 1) {
		wrong("share", "found %v; should be above 0 and at most 1", f.Share)
	}
	for _, s := range []struct {
		key      string
		set, may bool
	}{
		{"status", f.Status != 0, t.status},
		{"retry_after", f.RetryAfter != 0, t.retry},
		{"announce", f.Announce != "", t.retry},
		{"form", f.Form != "", t.form},
		{"events", f.Events != 0, t.events},
		{"delay", f.Delay != 0, t.delay},
		{"after_tokens", f.AfterTokens != 0, t.tokens},
		{"location", f.Location != "", t.location},
	} {
		if s.set && !s.may {
			wrong(s.key, "means nothing to the kind %s; should not be there", f.Kind)
		}
	}
	switch {
	case f.Kind == Status && (f.Status < 400 || f.Status > 599):
		wrong("status", "found %d; should be 400 to 599", f.Status)
	case f.Kind == Redirect && f.Status != 0 && (f.Status < 300 || f.Status > 399):
		wrong("status", "found %d; should be 300 to 399", f.Status)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		wrong("status", "found %d; should be 200 to 599", f.Status)
	}
	if f.Kind == Slow && f.Delay <= 0 {
		wrong("delay", "found %v; should be how long nothing happens, such as \"3s\"", f.Delay)
	}
	if f.RetryAfter < 0 {
		wrong("retry_after", "found %v; should be 0 or above", f.RetryAfter)
	}
	if f.Announce != "" && t.retry && !slices.Contains(announcements, f.Announce) {
		wrong("announce", "%s", config.NotOneOf(f.Announce, announcements))
	}
	if f.Form != "" && t.form && !slices.Contains(forms, f.Form) {
		wrong("form", "%s", config.NotOneOf(f.Form, forms))
	}
	if f.Events < 0 {
		wrong("events", "found %d; should be 1 or above", f.Events)
	}
	if f.AfterTokens < 0 {
		wrong("after_tokens", "found %d; should be 0 or above", f.AfterTokens)
	}
	if _, err := url.Parse(f.Location); err != nil {
		wrong("location", "found %q; should be a URL: %v", f.Location, err)
	}
	return found
}

// status is the fault's status code or the default of its kind.
func (f *Fault) status() int {
	if f.Status != 0 {
		return f.Status
	}
	switch f.Kind {
	case ErrorEvent, ErrorBody:
		return http.StatusInternalServerError
	case HTML:
		return http.StatusBadGateway
	case Redirect:
		return http.StatusTemporaryRedirect
	}
	return 0
}
