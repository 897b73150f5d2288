//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"chaperone/engine/sim"
)

// asCommand has the test binary be the command itself, for what only a process can show.
const asCommand = "CHAPERONE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// served starts serve as a process of its own, in front of one provider, and returns its address and the client key.
func served(t *testing.T, provider sim.Profile, settings string) (process *exec.Cmd, log *lines, url, key string) {
	t.Helper()
	upstream, err := sim.Start(t.Context(), provider)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { upstream.Close() })
	config, key := started(t)
	replaceIn(t, config, "drain_delay = \"0s\"\n", settings)
	replaceIn(t, filepath.Join(filepath.Dir(config), "catalog.toml"), "http://127.0.0.1:11434/v1", upstream.URL())

	log = &lines{}
	process = exec.Command(os.Args[0], "serve", "--json", "--config", config)
	process.Env = append(os.Environ(), asCommand+"=1")
	process.Stderr = log
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.Process.Kill() })
	var printed struct{ URL string }
	if err := json.NewDecoder(stdout).Decode(&printed); err != nil {
		t.Fatalf("serve printed no address: %v: %s", err, log.text.String())
	}
	return process, log, printed.URL, key
}

func send(t *testing.T, process *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := process.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func TestSIGTERMEndsServeAfterTheLastAnswer(t *testing.T) {
	process, log, url, key := served(t, sim.Profile{Name: "local", TPS: sim.Distribution{P50: 40}}, "drain_delay = \"0s\"\n")
	request, err := http.NewRequest("POST", url+"/v1/chat/completions",
		strings.NewReader(`{"model":"meta/llama-3.2-3b","stream":true,"max_tokens":40,"messages":[{"role":"user","content":"Hello"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	if first, err := events.ReadString('\n'); err != nil || !strings.HasPrefix(first, "data: ") {
		t.Fatalf("the answer begins with %q (%v)", first, err)
	}
	send(t, process, syscall.SIGTERM)
	log.await(t, "shutting down")
	rest, err := io.ReadAll(events)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(rest)), "data: [DONE]") {
		t.Errorf("the answer ends with %q (%v)", rest, err)
	}
	if err := process.Wait(); err != nil {
		t.Errorf("serve: %v; should exit with 0: %s", err, log.text.String())
	}
}

func TestASecondSignalEndsServeAtOnce(t *testing.T) {
	process, log, _, _ := served(t, sim.Profile{Name: "local"}, "drain_delay = \"1h\"\n")
	send(t, process, syscall.SIGTERM)
	log.await(t, "a second signal ends it at once")
	send(t, process, syscall.SIGTERM)
	process.Wait()
	if code := process.ProcessState.ExitCode(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exited with %d; should be what a shell reports of a process that SIGTERM has ended: %s", code, log.text.String())
	}
}

func TestSIGHUPReloads(t *testing.T) {
	process, log, _, _ := served(t, sim.Profile{Name: "local"}, "drain_delay = \"0s\"\n")
	send(t, process, syscall.SIGHUP)
	log.await(t, "generation=2")
	send(t, process, syscall.SIGINT)
	if err := process.Wait(); err != nil {
		t.Errorf("serve: %v; should exit with 0: %s", err, log.text.String())
	}
}
