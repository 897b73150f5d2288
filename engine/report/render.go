package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	text "text/template"
	"time"

	"chaperone/engine/catalog"
)

// Both forms say the same in the same order.
var (
	//go:embed report.md.tmpl
	markdownSource string
	//go:embed report.html.tmpl
	htmlSource string
)

var shared = map[string]any{
	"day": func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"time": func(t any) string {
		if at, ok := t.(*time.Time); ok {
			return moment(*at)
		}
		return moment(t.(time.Time))
	},
	"list":    func(list []string) string { return orNone(strings.Join(list, ", ")) },
	"counts":  counts,
	"kept":    kept,
	"span":    func(r *Report) string { return edge(r.From) + " to " + edge(r.To) },
	"rules":   rules,
	"nonzero": func(n int) bool { return n > 0 },
}

var (
	markdownForm = text.Must(text.New("markdown").Funcs(shared).Funcs(text.FuncMap{"md": escapeMarkdown}).Parse(markdownSource))
	htmlForm     = template.Must(template.New("html").Funcs(shared).Parse(htmlSource))
)

// Markdown writes the report as GitHub's Markdown.
func (r *Report) Markdown(w io.Writer) error { return markdownForm.Execute(w, r) }

// HTML writes the report as one page that needs nothing else.
func (r *Report) HTML(w io.Writer) error { return htmlForm.Execute(w, r) }

// escapeMarkdown keeps text from being read as anything but text, in a cell of a table too.
func escapeMarkdown(v any) string {
	var b strings.Builder
	for _, r := range fmt.Sprint(v) {
		switch {
		case r == '<' || r == '>' || r == '&':
			b.WriteString(template.HTMLEscapeString(string(r)))
		case strings.ContainsRune("\\`*_{}[]#|!~", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func orNone(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func counts(m map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, name+" "+strconv.Itoa(m[name]))
	}
	return orNone(strings.Join(parts, ", "))
}

// edge is a day, or a moment within it.
func edge(t time.Time) string {
	if t := t.UTC(); t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return moment(t)
}

// kept is whether and how long prompts are kept.
func kept(s *Recipient) string {
	switch {
	case s.RetentionDays >= catalog.UnknownRetentionDays:
		return s.Retains
	case s.RetentionDays == 1:
		return s.Retains + ", 1 day"
	}
	return fmt.Sprintf("%s, %d days", s.Retains, s.RetentionDays)
}

func rules(c *Control) string {
	var parts []string
	for _, r := range c.Rules {
		name := r.Title
		if r.Control != "" {
			name = strings.TrimSpace(name + " (" + r.Control + ")")
		}
		if name != "" && !slices.Contains(parts, name) {
			parts = append(parts, name)
		}
	}
	return orNone(strings.Join(parts, "; "))
}
