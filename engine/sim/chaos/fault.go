package chaos

import (
	"time"

	"chaperone/engine/sim"
)

// Fault is a named way in which a provider misbehaves.
type Fault struct {
	Name  string `json:"name"`
	About string `json:"about"`

	fault     sim.Fault
	refused   bool // nobody listens
	ofRequest bool // what is wrong is the request: no other provider would take it
	waits     bool // it takes the whole of a time limit
}

// Faults are all that there are, in the order of the table of attempts. Durations are those of an unhurried world.
var Faults = []Fault{
	{Name: "refused", About: "nobody listens at the address", refused: true},
	{Name: "reset", About: "the connection is reset before an answer", fault: sim.Fault{Kind: sim.Reset}},
	{Name: "closed", About: "the connection is closed before an answer", fault: sim.Fault{Kind: sim.Close}},
	{Name: "500", About: "internal server error", fault: status(500)},
	{Name: "502", About: "bad gateway, as an HTML page", fault: sim.Fault{Kind: sim.HTML}},
	{Name: "503", About: "overloaded", fault: status(503)},
	{Name: "503-announced", About: "overloaded, with Retry-After: 10", fault: announced(503)},
	{Name: "529", About: "overloaded, as Anthropic says it", fault: status(529)},
	{Name: "429", About: "rate limited, with Retry-After: 10", fault: announced(429)},
	{Name: "408", About: "request timeout", fault: status(408)},
	{Name: "504", About: "gateway timeout", fault: status(504)},
	{Name: "silent", About: "takes the request and never answers", fault: sim.Fault{Kind: sim.Silent}, waits: true},
	{Name: "slow", About: "says nothing for 50 s, then answers", fault: sim.Fault{Kind: sim.Slow, Delay: 50 * time.Second}, waits: true},
	{Name: "401", About: "refuses the router's key", fault: status(401)},
	{Name: "402", About: "has no credit left", fault: status(402)},
	{Name: "404", About: "does not know the model", fault: status(404)},
	{Name: "parameter", About: "does not support a parameter", fault: sim.Fault{Kind: sim.UnsupportedParameter}},
	{Name: "context-length", About: "cannot take a prompt this long", fault: sim.Fault{Kind: sim.ContextLength}},
	{Name: "content-policy", About: "refuses the content", fault: sim.Fault{Kind: sim.ContentPolicy}, ofRequest: true},
	{Name: "bad-request", About: "says that the request is wrong (422)", fault: status(422), ofRequest: true},
	{Name: "redirect", About: "redirects to another address", fault: sim.Fault{Kind: sim.Redirect}},
	{Name: "error-body", About: "status 200 and an error for a body", fault: sim.Fault{Kind: sim.ErrorBody}},
	{Name: "empty", About: "status 200 and nothing", fault: sim.Fault{Kind: sim.Empty}},
	{Name: "content-type", About: "an answer that calls itself plain text", fault: sim.Fault{Kind: sim.ContentType}},
	{Name: "html", About: "status 200 and an HTML page", fault: sim.Fault{Kind: sim.HTML, Status: 200}},
	{Name: "error-first", About: "an error event before the first content", fault: sim.Fault{Kind: sim.ErrorEvent}},
	{Name: "malformed", About: "an event that is no JSON; an answer that is none", fault: sim.Fault{Kind: sim.Malformed, AfterTokens: 6}},
	{Name: "gibberish", About: "many events that are no JSON", fault: sim.Fault{Kind: sim.Malformed, AfterTokens: 6, Events: 20}},
	{Name: "no-done", About: "a whole stream without its end mark", fault: sim.Fault{Kind: sim.NoDone}},
	{Name: "cut", About: "the connection closes in the middle of the answer", fault: sim.Fault{Kind: sim.Cut, AfterTokens: 6}},
	{Name: "truncated", About: "a clean end in the middle of the answer", fault: sim.Fault{Kind: sim.Truncate, AfterTokens: 6}},
	{Name: "early-done", About: "the end mark in the middle of the answer", fault: sim.Fault{Kind: sim.EarlyDone, AfterTokens: 6}},
	{Name: "error-finish", About: "the finish reason \"error\" in the middle of the answer", fault: sim.Fault{Kind: sim.ErrorFinish, AfterTokens: 6}},
	{Name: "error-event", About: "an error event in the middle of the answer", fault: sim.Fault{Kind: sim.ErrorEvent, AfterTokens: 6}},
	{Name: "stall", About: "silence in the middle of the answer", fault: sim.Fault{Kind: sim.Stall, AfterTokens: 6}, waits: true},
	{Name: "pings", About: "comments alone from the middle of the answer on", fault: sim.Fault{Kind: sim.Pings, AfterTokens: 6}, waits: true},
}

func status(code int) sim.Fault { return sim.Fault{Kind: sim.Status, Status: code} }

func announced(code int) sim.Fault {
	return sim.Fault{Kind: sim.Status, Status: code, RetryAfter: 10 * time.Second}
}

// Names are those of all faults.
func Names() []string {
	var names []string
	for _, f := range Faults {
		names = append(names, f.Name)
	}
	return names
}
