package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// style is a colour of a whole line.
type style string

const (
	plain  style = ""
	bold   style = "\x1b[1m"
	red    style = "\x1b[31m"
	yellow style = "\x1b[33m"
)

type line struct {
	text  string
	style style
}

// screen redraws lines in their place at a terminal.
type screen struct {
	f      *os.File
	colour bool
	drawn  int // lines above the cursor that belong to the frame
	frame  string
}

// newScreen is nil where w is no terminal that can move its cursor.
func newScreen(w io.Writer) *screen {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &screen{f: f, colour: os.Getenv("NO_COLOR") == ""}
}

// draw puts lines in the place of the last ones. Each is cut to the width of the terminal, and of more lines than it has the
// last ones are shown: what wraps or has scrolled away cannot be redrawn.
func (s *screen) draw(lines []line) {
	width, height, err := term.GetSize(int(s.f.Fd()))
	if err != nil || width < 1 || height < 2 {
		width, height = 80, 24
	}
	lines = lines[max(0, len(lines)-height+1):]
	var b strings.Builder
	for _, l := range lines {
		text := clip(l.text, width-1)
		if s.colour && l.style != plain {
			text = string(l.style) + text + "\x1b[0m"
		}
		b.WriteString(text + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	if s.drawn > 0 && b.String() == s.frame {
		return // what somebody is selecting with the mouse stays selected
	}
	up := ""
	if s.drawn > 0 {
		up = fmt.Sprintf("\x1b[%dA", s.drawn)
	}
	io.WriteString(s.f, up+b.String())
	s.drawn, s.frame = len(lines), b.String()
}

// leave leaves the lines as they are; the next ones come below.
func (s *screen) leave() { s.drawn = 0 }

// clip cuts text to so many characters.
func clip(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:max(most-1, 0)]) + "…"
}
