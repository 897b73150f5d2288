package main

import (
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/sim/demo"
)

// display is what a demo lets one see: a table that is redrawn at a terminal, a line a request elsewhere, nothing where the
// output is JSON.
type display struct {
	out     *printer
	d       *demo.Demo
	denials map[string]*policy.Reason // of the strict organisation, by offer
	tally   *demo.Tally               // of every request, a visitor's too
	latest  []*journal.Record
	screen  *screen // nil: no terminal
	compact bool    // the table stands above already
}

func newDisplay(out *printer, d *demo.Demo, denials map[string]*policy.Reason) *display {
	s := &display{out: out, d: d, denials: denials, tally: demo.NewTally()}
	if !out.json {
		s.screen = newScreen(out.w)
	}
	return s
}

// latestOnly leaves the table out from now on.
func (s *display) latestOnly() { s.compact = true }

// during shows what happens while do runs.
func (s *display) during(do func()) {
	done := make(chan struct{})
	go func() {
		do()
		close(done)
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
		case <-done:
			running = false
		}
		s.update()
	}
	if s.screen != nil {
		s.screen.leave()
	}
}

func (s *display) update() {
	for _, r := range s.d.Finished() {
		s.tally.Add(r)
		s.latest = append(s.latest, r)
		if s.screen == nil && !s.out.json {
			fmt.Fprintln(s.out.w, describe(r))
		}
	}
	s.latest = s.latest[max(0, len(s.latest)-latestShown):]
	if s.screen != nil {
		s.screen.draw(s.frame())
	}
}

// A line of either table has its open end last, so that a narrow terminal cuts off the least.
const (
	offerFormat   = "%-21s %-24s %6v %6v %8s %10s  %s"
	requestFormat = "%-6s %-5s %-21s %6s %9s  %s"
)

// latestShown is how many of the latest requests a terminal shows.
const latestShown = 8

func (s *display) frame() []line {
	var lines []line
	if !s.compact {
		lines = append(lines, s.table()...)
		lines = append(lines, line{})
	}
	lines = append(lines, line{fmt.Sprintf(requestFormat, "FOR", "MODEL", "SERVED BY", "TTFT", "COST", "WHY"), bold})
	for _, r := range s.latest {
		l := line{text: describe(r)}
		switch {
		case r.Outcome.Error != "":
			l.style = red
		case r.Outcome.Fallbacks > 0, r.Outcome.Rescued != "":
			l.style = yellow
		}
		lines = append(lines, l)
	}
	return append(lines, line{}, line{s.total(), bold})
}

// table is every offer, as what it is and how it did.
func (s *display) table() []line {
	lines := []line{{fmt.Sprintf(offerFormat, "PROVIDER", "WHAT IT IS", "SERVED", "FAILED", "TTFT P50", "COST", "STRICT"), bold}}
	for _, o := range demo.Offers {
		c := s.tally.Of(o.ID)
		verdict, style := "permitted", plain
		if r := s.denials[o.ID]; r != nil {
			verdict, style = place(r), red
		}
		lines = append(lines, line{fmt.Sprintf(offerFormat,
			o.ID, o.About, c.Served, c.Failed, milliseconds(c.TTFT()), dollars(c.Cost.USD()), verdict), style})
	}
	return lines
}

func (s *display) total() string {
	return fmt.Sprintf("%d requests, %d attempts, %d fallbacks, %d rescued, %s; %d dispatches denied", s.tally.Requests, s.tally.Attempts,
		s.tally.Fallbacks, s.tally.Rescued, dollars(s.tally.Cost.USD()), s.d.World.Denied())
}

// end prints the summary: of the demo's own traffic, which it knows the right answers to.
func (s *display) end() error {
	summary := s.d.Summary()
	return s.out.print(summary, func(w io.Writer) {
		if s.screen == nil || s.compact {
			fmt.Fprintln(w)
			for _, l := range s.table() {
				fmt.Fprintln(w, l.text)
			}
		}
		fmt.Fprintln(w)
		row(w, "requests", summary.Requests)
		row(w, "succeeded", summary.Succeeded)
		row(w, "failed", summary.Failed)
		row(w, "attempts", summary.Attempts)
		row(w, "fallbacks", summary.Fallbacks)
		row(w, "rescued", summary.Rescued)
		row(w, "denied dispatches", summary.DeniedDispatches)
		row(w, "plugins called", summary.PluginsCalled)
		if visitors := s.tally.Requests - summary.Requests; visitors > 0 {
			row(w, "requests of yours", visitors)
		}
	})
}

// describe is one request in a line.
func describe(r *journal.Record) string {
	served := r.Outcome.Error
	if n := len(r.Attempts); served == "" && n > 0 {
		served = demo.OfferOf(r.Attempts[n-1].Row)
	}
	return fmt.Sprintf(requestFormat, r.Organisation, strings.TrimPrefix(r.Request.Model, "demo/chat-"),
		served, milliseconds(r.Outcome.TTFTMs), dollars(r.Outcome.Cost.USD()), why(r))
}

// why says at which rank the one stood that served, what those before it came to, and which were excluded by what.
func why(r *journal.Record) string {
	winner, places := 0, 0
	var excluded []string
	for _, c := range r.Candidates {
		switch {
		case c.Excluded == nil:
			places++
			if c.Row == r.Outcome.Row {
				winner = c.Place
			}
		case len(c.Excluded.Denials) > 0:
			excluded = append(excluded, demo.OfferOf(c.Row)+" "+place(&c.Excluded.Denials[0]))
		default:
			excluded = append(excluded, demo.OfferOf(c.Row)+" "+c.Excluded.Code)
		}
	}
	text := fmt.Sprintf("rank %d of %d", winner, places)
	if winner == 0 {
		text = fmt.Sprintf("none of %d", places)
	}
	var before []string
	for _, a := range r.Attempts {
		if a.Outcome != "ok" {
			before = append(before, a.ProviderID+" "+a.Outcome)
		}
	}
	if len(before) > 0 {
		text += ", after " + strings.Join(before, ", ")
	}
	if len(excluded) > 0 {
		text += "; not " + strings.Join(excluded, ", ")
	}
	return text
}

// place is where a rule stands.
func place(r *policy.Reason) string { return fmt.Sprintf("%s:%d", path.Base(r.File), r.Line) }

func milliseconds(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0fms", ms)
}

func dollars(usd float64) string { return fmt.Sprintf("$%.6f", usd) }
