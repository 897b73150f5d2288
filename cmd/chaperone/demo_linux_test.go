package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
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
	for _, colour := range []bool{true, false} {
		t.Setenv("TERM", "xterm")
		t.Setenv("NO_COLOR", map[bool]string{true: "", false: "1"}[colour])
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
		if strings.Contains(got, "m\x1b[K") != colour || regexp.MustCompile(`\x1b\[[0-9]*m`).MatchString(got) != colour {
			t.Errorf("with NO_COLOR=%q colours are %t", os.Getenv("NO_COLOR"), !colour)
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
}

// What stands above the first line of the screen cannot be redrawn: a frame has to fit.
func TestDemoFitsASmallTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	tty, written := terminal(t, 40, 10)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	if code := run(ctx, []string{"demo", "--listen", "127.0.0.1:0", "--requests", "10"}, tty, io.Discard); code != 0 {
		t.Errorf("exited with %d", code)
	}
	got := written()
	ups := regexp.MustCompile(`\x1b\[([0-9]+)A`).FindAllStringSubmatch(got, -1)
	for _, up := range ups {
		if up[1] != "9" {
			t.Errorf("a frame of %s lines is redrawn on a screen of 10, should be 9", up[1])
		}
	}
	drawn, _, _ := strings.Cut(got[strings.LastIndex(got, "\x1b[9A"):], "\x1b[J")
	for l := range strings.SplitSeq(drawn, "\n") {
		if text := strings.TrimRight(escape.ReplaceAllString(l, ""), "\r"); utf8.RuneCountInString(text) >= 40 {
			t.Errorf("%q wraps at 40 columns", text)
		}
	}
}

func TestDemoDrawsNothingAtADumbTerminal(t *testing.T) {
	t.Setenv("TERM", "dumb")
	tty, written := terminal(t, 100, 30)
	if code := run(t.Context(), []string{"demo", "--listen", "127.0.0.1:0", "--requests", "5"}, tty, io.Discard); code != 0 {
		t.Errorf("exited with %d", code)
	}
	if got := written(); strings.Contains(got, "\x1b") || strings.Count(got, " rank ") != 5 {
		t.Errorf("wrote %q; should be a line for each request, without escape codes", got)
	}
}
