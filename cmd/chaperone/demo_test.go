package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"chaperone/engine/sim/demo"
)

func TestDemoPrintsOneObject(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	code, stdout, stderr := chaperone(t, "demo", "--listen", "127.0.0.1:0", "--requests", "80", "--seed", "4", "--json")
	if code != 0 || stderr != "" || strings.Count(stdout, "\n") != 1 {
		t.Errorf("exited with %d, printed %q and %q; should be one line and nothing on standard error", code, stdout, stderr)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(stdout), &fields); err != nil {
		t.Fatal(err)
	}
	want := []string{"attempts", "by_provider", "denied_dispatches", "failed", "fallbacks", "plugins_called", "requests", "rescued", "succeeded"}
	if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
		t.Errorf("the fields are %v, should be %v", got, want)
	}
	var s demo.Summary
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err)
	}
	if s.Requests != 80 || s.Succeeded != 80 || s.Failed != 0 || s.DeniedDispatches != 0 || s.Fallbacks == 0 || s.Rescued == 0 || s.PluginsCalled != 80 {
		t.Errorf("the summary is %+v", s)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("it left %v behind", files)
	}
}

func TestDemoFailsWhereProvidersSeeWhatTheyShouldNot(t *testing.T) {
	code, stdout, stderr := chaperone(t, "demo", "--listen", "127.0.0.1:0", "--requests", "40", "--without-policy", "--json")
	var s demo.Summary
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err)
	}
	if code != 1 || s.DeniedDispatches == 0 || !strings.Contains(stderr, "policies exclude") {
		t.Errorf("exited with %d, %+v, %q; should be 1 for denied dispatches", code, s, stderr)
	}
}

func TestDemoSaysWhatIsWrongWithItsFlags(t *testing.T) {
	for _, args := range [][]string{{"--requests", "0"}, {"--requests", "-1"}, {"--seed", "x"}} {
		if code, stdout, stderr := chaperone(t, append([]string{"demo"}, args...)...); code != 2 || stdout != "" || !strings.Contains(stderr, args[0]) {
			t.Errorf("%v: exited with %d, %q, %q", args, code, stdout, stderr)
		}
	}
	if code, _, stderr := chaperone(t, "demo", "--listen", "203.0.113.1:1"); code != 1 || !strings.Contains(stderr, "203.0.113.1:1") {
		t.Errorf("exited with %d and %q", code, stderr)
	}
}

func TestDemoPrintsOneObjectAfterAnInterruptToo(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	notes, writer := io.Pipe()
	var stdout strings.Builder
	ended := make(chan int)
	go func() {
		code := run(ctx, []string{"demo", "--listen", "127.0.0.1:0", "--json"}, &stdout, writer)
		writer.Close()
		ended <- code
	}()
	lines := bufio.NewScanner(notes)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "Listening on http://127.0.0.1:") {
		t.Errorf("standard error begins with %q", lines.Text())
	}
	interrupt()
	io.Copy(io.Discard, notes)
	code := <-ended
	var s demo.Summary
	if err := json.Unmarshal([]byte(stdout.String()), &s); err != nil || code != 0 || s.Failed != 0 || s.Requests >= shownFirst {
		t.Errorf("exited with %d and %q (%v)", code, stdout.String(), err)
	}
}

// One visit: the demo is watched, what it says to try is tried as printed, and it is interrupted.
func TestDemoCanBeTriedAsPrinted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	reader, writer := io.Pipe()
	ended := make(chan int)
	go func() {
		code := run(ctx, []string{"demo", "--listen", "127.0.0.1:0"}, writer, io.Discard)
		writer.Close()
		ended <- code
	}()
	lines := bufio.NewScanner(reader)
	var shown []string
	read := func(until string) {
		t.Helper()
		for lines.Scan() {
			shown = append(shown, lines.Text())
			if strings.Contains(lines.Text(), until) {
				return
			}
		}
		t.Fatalf("the output ends before %q:\n%s", until, strings.Join(shown, "\n"))
	}
	read("Ctrl-C ends it")
	rest := make(chan string)
	go func() {
		var after strings.Builder
		for lines.Scan() {
			after.WriteString(lines.Text() + "\n")
		}
		rest <- after.String()
	}()

	all := strings.Join(shown, "\n")
	for _, l := range shown[slices.Index(shown, "Try it:"):] {
		if utf8.RuneCountInString(l) > 120 {
			t.Errorf("%q is too long to be copied from a terminal", l)
		}
	}
	commands := regexp.MustCompile(`(?m)^curl (?:.*(?:\\|,)\n)*.*$`).FindAllString(all, -1)
	wants := []string{`"finish_reason":"stop"`, "data: [DONE]", `"dispatched":false`, `"organisation":"strict"`, `"id":"demo/chat-small"`, `"permitted":false`}
	if len(commands) != len(wants) {
		t.Fatalf("%d commands are printed, should be %d:\n%s", len(commands), len(wants), all)
	}
	for i, command := range commands {
		if got := try(t, command); !strings.Contains(got, wants[i]) {
			t.Errorf("%s\nsays %s\nshould hold %s", command, got, wants[i])
		}
	}
	interrupt()
	after, code := <-rest, <-ended
	if code != 0 || !regexp.MustCompile(`failed +0\b`).MatchString(after) || !regexp.MustCompile(`requests of yours +2\b`).MatchString(after) {
		t.Errorf("exited with %d and\n%s", code, after)
	}
	for _, want := range []string{"after flaky ", "not trains-on-data#paid training.rego:", "steady-paris#paid", "residency.rego:"} {
		if !strings.Contains(all+after, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	if strings.Contains(all+after, "\x1b") {
		t.Error("escape codes are written where there is no terminal")
	}
}

// try runs a printed command: as it stands where there is curl, else as a client would that had understood it.
func try(t *testing.T, command string) string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err == nil {
		out, err := exec.Command("sh", "-c", command).Output()
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		return string(out)
	}
	part := func(pattern string) string {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(command); found != nil {
			return found[1]
		}
		return ""
	}
	method, body := "GET", part(`(?s)-d '([^']+)'`)
	if body != "" {
		method = "POST"
	}
	request, err := http.NewRequest(method, part(`(http://\S+)`), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", part(`-H 'Authorization: ([^']+)'`))
	request.Header.Set("Content-Type", part(`-H 'Content-Type: ([^']+)'`))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", command, response.Status, err)
	}
	return string(all)
}
