package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal of a size and collects what is written to it until its last writer closes.
func terminal(t *testing.T, columns, rows uint16) (tty *os.File, written func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(&all, master) // ends with EIO
	}()
	return tty, func() string {
		tty.Close()
		<-done
		return all.String()
	}
}

var escape = regexp.MustCompile(`\x1b\[[0-9]*[A-Za-z]`)

func TestDemoRedrawsATableAtATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	tty, written := terminal(t, 100, 30)
	if code := run(t.Context(), []string{"demo", "--listen", "127.0.0.1:0", "--requests", "40"}, tty, io.Discard); code != 0 {
		t.Errorf("exited with %d", code)
	}
	got := written()
	for l := range strings.SplitSeq(got, "\n") {
		if text := strings.TrimRight(escape.ReplaceAllString(l, ""), "\r"); utf8.RuneCountInString(text) > 100 {
			t.Errorf("%q has more than 100 columns", text)
		}
	}
	frames := regexp.MustCompile(`\x1b\[[0-9]+A`).Split(got, -1)
	if len(frames) < 3 {
		t.Fatalf("%d frames are drawn; should be one for each change", len(frames))
	}
	last := escape.ReplaceAllString(frames[len(frames)-1], "")
	for _, want := range []string{"PROVIDER", "overseas#paid         processes in the US", "residency.rego:", "WHY", "rank 1 of", "40 requests, ", "; 0 dispatches denied"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last frame lacks %q:\n%s", want, last)
		}
	}
}

// What stands above the first line of a terminal cannot be redrawn, and a line that wraps takes two.
func TestScreenFitsItsTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	for _, noColor := range []string{"", "1"} {
		t.Setenv("NO_COLOR", noColor)
		tty, written := terminal(t, 40, 10)
		s := newScreen(tty)
		var lines []line
		for i := range 20 {
			lines = append(lines, line{fmt.Sprintf("line %d — %s", i, strings.Repeat("ü", 60)), red})
		}
		s.draw(lines)
		s.draw(lines) // has not changed
		lines[19].text = "the last"
		s.draw(lines)
		s.leave()
		s.draw(lines[19:])
		got := written()

		if strings.Count(got, "\x1b[9A") != 1 || len(regexp.MustCompile(`\x1b\[[0-9]+A`).FindAllString(got, -1)) != 1 {
			t.Errorf("%q should go up once, 9 lines", got)
		}
		if n := strings.Count(got, "\n"); n != 9+9+1 {
			t.Errorf("%d lines are drawn, should be 19", n)
		}
		if strings.Contains(got, string(red)) != (noColor == "") {
			t.Errorf("with NO_COLOR=%q: %q", noColor, got)
		}
		for l := range strings.SplitSeq(got, "\n") {
			if text := strings.TrimRight(escape.ReplaceAllString(l, ""), "\r"); utf8.RuneCountInString(text) >= 40 {
				t.Errorf("%q wraps at 40 columns", text)
			}
		}
		if !strings.Contains(got, "line 11 ") || strings.Contains(got, "line 10 ") || !strings.Contains(got, "the last") {
			t.Errorf("%q should show the last 9 lines", got)
		}
	}
}

func TestScreenIsOnlyForTerminalsThatCanMoveTheirCursor(t *testing.T) {
	tty, _ := terminal(t, 100, 30)
	defer tty.Close()
	t.Setenv("TERM", "dumb")
	if newScreen(tty) != nil {
		t.Error("a dumb terminal has a screen")
	}
	t.Setenv("TERM", "xterm")
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if newScreen(tty) == nil || newScreen(file) != nil || newScreen(&bytes.Buffer{}) != nil {
		t.Error("a terminal has a screen, a file and a buffer have none")
	}
}
