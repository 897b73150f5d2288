package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"chaperone/engine/sim/demo"
)

// chaperone runs a command line that ends by itself.
func chaperone(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitCodes(t *testing.T) {
	bad := write(t, "sim.toml", "[[providers]]\nname = \"a\"\nsped = 1\n")
	taken := write(t, "sim.toml", "[[providers]]\nname = \"a\"\nlisten = \"203.0.113.1:1\"\n")
	for _, test := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{}, 0, ""},
		{[]string{"--help"}, 0, ""},
		{[]string{"version"}, 0, ""},
		{[]string{"completion", "bash"}, 0, ""},
		{[]string{"verison"}, 2, `unknown command "verison" for "chaperone"`},
		{[]string{"version", "--jsn"}, 2, "unknown flag: --jsn"},
		{[]string{"version", "extra"}, 2, `unknown command "extra"`},
		{[]string{"sim"}, 2, `required flag(s) "config" not set`},
		{[]string{"sim", "--config", bad, "--seed", "x"}, 2, `invalid argument "x" for "--seed"`},
		{[]string{"sim", "--config", bad}, 2, bad + ":3: providers[0].sped"},
		{[]string{"sim", "--config", bad + ".absent"}, 1, "no such file or directory"},
		{[]string{"sim", "--config", taken}, 1, "simulated provider a: listen tcp 203.0.113.1:1"},
	} {
		code, _, stderr := chaperone(t, test.args...)
		if code != test.code || !strings.Contains(stderr, test.stderr) || (test.stderr == "") != (stderr == "") {
			t.Errorf("%q exited with %d and said %q; should be %d and %q", test.args, code, stderr, test.code, test.stderr)
		}
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	root, _ := newRoot(io.Discard, io.Discard)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s should have a short description and an example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	_, help, _ := chaperone(t, "--help")
	for _, want := range []string{"Exit codes:", "  0  done", "  1  ", "  2  ", "--json", "completion"} {
		if !strings.Contains(help, want) {
			t.Errorf("help lacks %q", want)
		}
	}
}

func TestVersionAsTableAndJSON(t *testing.T) {
	_, table, _ := chaperone(t, "version")
	if !strings.Contains(table, "go        go1.") {
		t.Errorf("table is %q", table)
	}
	_, text, _ := chaperone(t, "version", "--json")
	var b build
	if err := json.Unmarshal([]byte(text), &b); err != nil || b.Version == "" || !strings.HasPrefix(b.Go, "go1.") || !strings.Contains(b.Platform, "/") {
		t.Errorf("JSON is %q (%v)", text, err)
	}
}

func TestSimPrintsAddressesAndRunsUntilInterrupted(t *testing.T) {
	for _, asJSON := range []bool{true, false} {
		args := []string{"sim", "--config", "../../engine/sim/demo/providers.toml", "--seed", "5"}
		if asJSON {
			args = append(args, "--json")
		}
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		reader, writer := io.Pipe()
		ended := make(chan int)
		go func() {
			code := run(ctx, args, writer, io.Discard)
			writer.Close()
			ended <- code
		}()

		var url string
		if asJSON {
			var printed struct {
				Seed      uint64
				Providers []simulatedProvider
			}
			if err := json.NewDecoder(reader).Decode(&printed); err != nil {
				t.Fatal(err)
			}
			if printed.Seed != 5 || len(printed.Providers) != 10 || printed.Providers[3].Name != "flaky" || printed.Providers[3].Credentials[0] != "sk-sim-flaky" {
				t.Errorf("printed %+v", printed)
			}
			url = printed.Providers[0].BaseURL
		} else {
			table := bufio.NewScanner(reader)
			for range 9 {
				if !table.Scan() {
					t.Fatalf("the table ends early: %v", table.Err())
				}
				if fields := strings.Fields(table.Text()); fields[0] == "trains-on-data" {
					url = fields[1]
				}
			}
		}
		request, err := http.NewRequest("GET", url+"/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer sk-sim-trains-on-data")
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		models, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(models), `"chat-large"`) {
			t.Errorf("%s has %s", url, models)
		}
		interrupt()
		go io.Copy(io.Discard, reader)
		if code := <-ended; code != exitDone {
			t.Errorf("exited with %d after an interrupt", code)
		}
		if _, err := http.Get(url + "/models"); err == nil {
			t.Error("the provider outlived the command")
		}
	}
}

func TestCheckTellsAGoodConfigurationFromABadOne(t *testing.T) {
	world, err := demo.Start(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	path, err := world.Write(t.TempDir(), demo.Settings{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := chaperone(t, "check", "--config", path); code != 0 || !strings.Contains(stdout, path+" is right") {
		t.Errorf("exited with %d, %q, %q", code, stdout, stderr)
	}

	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(src, []byte("\n[routing]\n"), []byte("\n[routing]\nattempts = 0\ntemprature = 1\n"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := chaperone(t, "check", "--config", path)
	if code != 2 || stdout != "" || !strings.Contains(stderr, "routing.attempts") || !strings.Contains(stderr, "routing.temprature") {
		t.Errorf("exited with %d, %q, %q; should be 2 and both mistakes", code, stdout, stderr)
	}
	code, stdout, stderr = chaperone(t, "check", "--config", path, "--json")
	var report struct {
		OK       bool
		Problems []struct {
			File, Key string
			Line      int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %q", err, stdout)
	}
	if code != 2 || stderr != "" || report.OK || len(report.Problems) != 2 || report.Problems[0].File != path || report.Problems[0].Line == 0 {
		t.Errorf("exited with %d, %+v, %q", code, report, stderr)
	}
	if code, _, _ := chaperone(t, "check", "--config", path+".absent"); code == 0 {
		t.Error("an absent file is right")
	}
}
