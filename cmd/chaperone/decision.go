package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"chaperone/engine/journal"
	"chaperone/engine/policy"
)

// lineWidth is the most columns that a line may have.
const lineWidth = 120

// writeDecision writes a record as a table of its candidates, each that is out with its reasons below it.
func writeDecision(w io.Writer, rec *journal.Record) {
	q := rec.Request
	asked := strings.Join(append([]string{q.Model}, q.Models...), ", ")
	fmt.Fprintf(w, "%s for %s, about %d prompt tokens", asked, owner(rec.Organisation, rec.Team), q.PromptTokens)
	if q.MaxOutputTokens > 0 {
		fmt.Fprintf(w, ", at most %d output tokens", q.MaxOutputTokens)
	}
	if q.Stream {
		fmt.Fprint(w, ", streamed")
	}
	fmt.Fprintf(w, "\ndecision %s with key %s, data class %s, in %d µs\n", rec.ID, rec.Key, rec.DataClass, rec.PlanMicros)
	writeReasons(w, "the request is refused", rec.Rejections)
	switch {
	case len(rec.Candidates) > 0:
		fmt.Fprintln(w)
		writeCandidates(w, rec)
	case len(rec.Rejections) == 0:
		fmt.Fprintln(w, "\nthe error_detail of this organisation keeps the candidates from its callers")
	}
	writeReasons(w, "a rule that only warns so far would refuse the request", rec.Warnings)
	for _, name := range slices.Sorted(maps.Keys(rec.Abstained)) {
		fmt.Fprintf(w, "\nscorer %s gave no opinion: %s\n", name, rec.Abstained[name])
	}
	writeShadows(w, rec)
	writeAttempts(w, rec)
	if !rec.Dispatched && rec.Outcome.Status != 0 {
		fmt.Fprintf(w, "\nnothing may serve this request; it is answered with %d %s\n", rec.Outcome.Status, rec.Outcome.Error)
	}
}

func writeCandidates(w io.Writer, rec *journal.Record) {
	candidates := inOrder(rec.Candidates)
	terms, severalModels := termsOf(candidates), len(rec.Request.Models) > 0
	var lines []string
	if len(rec.Scorers)+len(rec.Shadows) > 1 {
		lines = tableOfCandidates(candidates, terms, rec.Scorers, rec.Shadows, severalModels)
		if widest(lines) > lineWidth { // what each scorer says is worth more than what one of them is made of
			lines = tableOfCandidates(candidates, nil, rec.Scorers, rec.Shadows, severalModels)
		}
	}
	if lines == nil || widest(lines) > lineWidth {
		lines = tableOfCandidates(candidates, terms, nil, nil, severalModels)
	}
	fmt.Fprintln(w, lines[0])
	for i, line := range lines[1:] {
		fmt.Fprintln(w, line)
		writeWhy(w, &candidates[i])
	}
}

// inOrder are candidates by their places in the plan, those without one last.
func inOrder(candidates []journal.Candidate) []journal.Candidate {
	return slices.SortedStableFunc(slices.Values(candidates), func(a, b journal.Candidate) int {
		return cmp.Compare(uint(a.Place)-1, uint(b.Place)-1) // 0, no place, wraps around and comes last
	})
}

// writeShadows says of each shadow scorer what it would have put first, and how likely it would have made the choice that was
// made.
func writeShadows(w io.Writer, rec *journal.Record) {
	candidates := inOrder(rec.Candidates)
	for _, name := range rec.Shadows {
		if _, abstained := rec.Abstained[name]; abstained || candidates[0].Shadows.Of(name) == nil {
			continue
		}
		chosen := &candidates[0]
		first := slices.IndexFunc(candidates, func(c journal.Candidate) bool {
			s := c.Shadows.Of(name)
			return s != nil && s.Place == 1 && c.Model == chosen.Model
		})
		if first < 0 {
			first = slices.IndexFunc(candidates, func(c journal.Candidate) bool {
				s := c.Shadows.Of(name)
				return s != nil && s.Place == 1
			})
		}
		if first < 0 {
			continue
		}
		c := &candidates[first]
		fmt.Fprintf(w, "\nshadow %s would have put %s#%s first, with %.1f%%; the choice made has %.1f%% under it\n", name, c.Tag, c.Group,
			100*c.Shadows.Of(name).Share, 100*chosen.Shadows.Of(name).Share)
	}
}

// tableOfCandidates are a heading and a line for each candidate.
func tableOfCandidates(candidates []journal.Candidate, terms, scorers, shadows []string, severalModels bool) []string {
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	head := []any{"PLACE", "ENDPOINT", "VERDICT"}
	for _, name := range terms {
		head = append(head, strings.ToUpper(name))
	}
	head = append(head, "UTILITY", "SHARE")
	for _, name := range scorers {
		head = append(head, name)
	}
	for _, name := range shadows {
		head = append(head, "("+name+")")
	}
	row(t, head...)
	for i := range candidates {
		row(t, cells(&candidates[i], terms, scorers, shadows, severalModels)...)
	}
	t.Flush()
	lines := strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func widest(lines []string) int {
	most := 0
	for _, line := range lines {
		most = max(most, utf8.RuneCountInString(line))
	}
	return most
}

// termsOf are the names of the parts of a score in dollars.
func termsOf(candidates []journal.Candidate) (names []string) {
	for _, c := range candidates {
		if c.Terms == nil {
			continue
		}
		for _, t := range c.Terms {
			names = append(names, t.Name)
		}
		break
	}
	return names
}

func cells(c *journal.Candidate, terms, scorers, shadows []string, severalModels bool) []any {
	endpoint := c.Tag + "#" + c.Group
	if severalModels {
		endpoint = c.Model + "@" + endpoint
	}
	if c.Place == 0 {
		return []any{"-", endpoint, verdict(c)}
	}
	out := []any{c.Place, endpoint, verdict(c)}
	for i := range terms {
		if i < len(c.Terms) {
			out = append(out, fmt.Sprintf("$%.6f", c.Terms[i].USD))
		} else {
			out = append(out, "")
		}
	}
	out = append(out, known(c.Utility, "%.3f", 1), known(c.Share, "%.1f%%", 100))
	for _, name := range scorers {
		if part, ok := c.Parts.Of(name); ok {
			out = append(out, fmt.Sprintf("%.3f", part))
		} else {
			out = append(out, "-")
		}
	}
	for _, name := range shadows {
		if s := c.Shadows.Of(name); s != nil && s.Utility != nil {
			out = append(out, fmt.Sprintf("%.3f", *s.Utility))
		} else {
			out = append(out, "-")
		}
	}
	return out
}

// verdict tells what nobody's rule has taken out from what is denied.
func verdict(c *journal.Candidate) string {
	switch {
	case c.Resting:
		return "resting" // permitted, and behind the others until it has recovered
	case c.Excluded == nil:
		return "permitted"
	case c.Excluded.Stage == "policy":
		return "denied"
	}
	return "left out"
}

func known(v *float64, format string, scale float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, scale**v)
}

func writeWhy(w io.Writer, c *journal.Candidate) {
	if e := c.Excluded; e != nil {
		if len(e.Denials) > 0 {
			for _, d := range e.Denials {
				writeReason(w, d)
			}
		} else {
			text := e.Message
			if text == "" {
				text = e.Code // its organisation's error_detail keeps the rest from callers
			}
			writeWrapped(w, fmt.Sprintf("%s: %s", e.Stage, text))
		}
	}
	for _, d := range c.Warnings {
		d.Message += " (" + d.Enforcement + ": not excluded for it)"
		writeReason(w, d)
	}
}

func writeReason(w io.Writer, r policy.Reason) {
	text := r.Message
	if r.Code != "" {
		text = r.Code + ": " + text
	}
	writeWrapped(w, text)
	place := r.Binding
	if r.File != "" {
		place = fmt.Sprintf("%s:%d, %s", r.File, r.Line, r.Binding)
	}
	fmt.Fprintf(w, "%s%s\n", indent, place)
}

func writeReasons(w io.Writer, what string, reasons []policy.Reason) {
	if len(reasons) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", what)
	for _, r := range reasons {
		writeReason(w, r)
	}
}

const indent = "       " // PLACE and what follows it

// writeWrapped breaks text at spaces.
func writeWrapped(w io.Writer, text string) {
	line := indent
	for _, word := range strings.Fields(text) {
		if line != indent && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > lineWidth {
			fmt.Fprintln(w, line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(w, line)
}

func writeAttempts(w io.Writer, rec *journal.Record) {
	if len(rec.Attempts) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(t, "ATTEMPT", "ENDPOINT", "OUTCOME", "STATUS", "STARTED", "FIRST TOKEN", "ENDED", "TOKENS", "COST")
	for i, a := range rec.Attempts {
		status := "-"
		if a.Status != 0 {
			status = fmt.Sprint(a.Status)
		}
		row(t, i+1, a.Tag+"#"+a.Credential, a.Outcome, status, elapsed(a.StartedMs), elapsed(a.TTFTMs),
			elapsed(a.StartedMs+a.DurationMs), fmt.Sprintf("%d+%d", a.Usage.PromptTokens, a.Usage.CompletionTokens),
			fmt.Sprintf("$%.6f", a.Cost.USD()))
	}
	t.Flush()
}

func elapsed(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f ms", ms)
}
