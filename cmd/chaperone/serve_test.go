package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// startServe runs serve until the test ends, when it has to have drained, and returns its address.
func startServe(t *testing.T, config string, args ...string) string {
	t.Helper()
	url, stop := serving(t, &lines{}, config, args...)
	t.Cleanup(func() {
		if code := stop(); code != exitDone {
			t.Errorf("serve exited with %d", code)
		}
	})
	return url
}

// lines is a log that a test can wait for a line of.
type lines struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) await(t *testing.T, part string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		if strings.Contains(l.text.String(), part) {
			l.mu.Unlock()
			return
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the log does not say %q: %s", part, l.text.String())
		}
	}
}

func serving(t *testing.T, log io.Writer, config string, args ...string) (url string, stop func() int) {
	t.Helper()
	url, _, stop = servingBoth(t, log, config, args...)
	return url, stop
}

// servingBoth tells the private address too.
func servingBoth(t *testing.T, log io.Writer, config string, args ...string) (url, private string, stop func() int) {
	t.Helper()
	ctx, interrupt := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		code := run(ctx, append([]string{"serve", "--json", "--config", config}, args...), writer, io.MultiWriter(log, &errs))
		writer.Close()
		ended <- code
	}()
	var printed struct {
		URL     string
		Private string `json:"private_url"`
	}
	if err := json.NewDecoder(reader).Decode(&printed); err != nil {
		interrupt()
		<-ended
		t.Fatalf("serve printed no address: %v: %s", err, errs.String())
	}
	return printed.URL, printed.Private, sync.OnceValue(func() int {
		interrupt()
		return <-ended
	})
}

func status(t *testing.T, url, key string) int {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// started writes what init writes, for ports that are free, and returns the configuration and the client key.
func started(t *testing.T) (config, key string) {
	t.Helper()
	for _, name := range keyVariables() {
		t.Setenv(name, "")
	}
	dir := t.TempDir()
	code, stdout, stderr := chaperone(t, "init", "--dir", dir, "--json")
	if code != exitDone {
		t.Fatalf("init exited with %d: %s", code, stderr)
	}
	var printed struct{ Keys map[string]string }
	if err := json.Unmarshal([]byte(stdout), &printed); err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(dir, "chaperone.toml")
	replaceIn(t, config, "[server]\n", "[server]\nlisten = \"127.0.0.1:0\"\nprivate_listen = \"\"\ndrain_delay = \"0s\"\n")
	return config, printed.Keys["main"]
}

func replaceIn(t *testing.T, file, old, by string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(src), old) {
		t.Fatalf("%s has no %q", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(src), old, by, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestServeTakesUpNewAndRevokedKeysAndRefusesMistakes(t *testing.T) {
	config, key := started(t)
	log := &lines{}
	url, stop := serving(t, log, config)
	if code := status(t, url+"/v1/models", key); code != http.StatusOK {
		t.Errorf("the key that init printed is answered with %d", code)
	}

	code, stdout, stderr := chaperone(t, "key", "new", "--config", config, "--org", "main", "--name", "second", "--expires", "90d", "--json")
	var made struct{ Key, ID string }
	if err := json.Unmarshal([]byte(stdout), &made); code != exitDone || err != nil {
		t.Fatalf("key new exited with %d: %v: %s", code, err, stderr)
	}
	log.await(t, "generation=2")
	if code := status(t, url+"/v1/models", made.Key); code != http.StatusOK {
		t.Errorf("the new key is answered with %d", code)
	}

	if code, _, stderr := chaperone(t, "key", "revoke", "--config", config, made.ID); code != exitDone {
		t.Fatalf("key revoke exited with %d: %s", code, stderr)
	}
	log.await(t, "generation=3")
	if code := status(t, url+"/v1/models", made.Key); code != http.StatusUnauthorized {
		t.Errorf("the revoked key is answered with %d", code)
	}

	replaceIn(t, filepath.Join(filepath.Dir(config), "policies", "own.rego"), "data_policy.training", "data_policy.traning")
	log.await(t, "the old one stays in force")
	log.await(t, "own.rego:9: input.endpoint.data_policy.traning does not exist")
	if code := status(t, url+"/v1/models", key); code != http.StatusOK {
		t.Errorf("after a mistake in a policy the first key is answered with %d", code)
	}
	if code := stop(); code != exitDone {
		t.Errorf("exited with %d after an interrupt", code)
	}
	log.await(t, "every request has been answered")
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), time.Second); err == nil {
		t.Error("the listener outlived the command")
	}
}

func TestServeSaysWhyItCannotStart(t *testing.T) {
	config, _ := started(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	private := write(t, "chaperone.toml", "[server]\nlisten = \"127.0.0.1:0\"\nprivate_listen = \""+address+"\"\n")
	twice := write(t, "chaperone.toml", "[server]\nlisten = \"127.0.0.1:1\"\nport = 8080\n\n[routing]\nattempts = 0\n")
	for _, test := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"--config", config, "--listen", address}, exitFailed,
			[]string{"cannot listen on server.listen", "another program listens on " + address, "--listen ADDR"}},
		{[]string{"--config", private}, exitFailed, []string{"server.private_listen", "another program listens on " + address, `or "" for none`}},
		{[]string{"--config", config, "--listen", "203.0.113.1:80"}, exitFailed, []string{"203.0.113.1:80 is no address of this machine"}},
		{[]string{"--config", config, "--listen", "8080"}, exitInput, []string{`--listen: found "8080"; expected an address and a port`}},
		{[]string{"--config", config, "--log-level", "loud"}, exitInput, []string{`--log-level: found "loud"`}},
		{[]string{"--config", config, "--log-format", "xml"}, exitInput, []string{`--log-format: found "xml"`}},
		{[]string{config}, exitInput, []string{"chaperone serve takes no argument; did you mean --config " + config + "?"}},
		{[]string{"--config", twice}, exitInput, []string{twice + ":3: server.port: unknown key", twice + ":6: routing.attempts"}},
		{[]string{"--config", config + ".absent"}, exitInput, []string{"there is no such file; chaperone init writes one"}},
	} {
		code, stdout, stderr := chaperone(t, append([]string{"serve"}, test.args...)...)
		if code != test.code || stdout != "" {
			t.Errorf("%q exited with %d and printed %q; should be %d and nothing", test.args, code, stdout, test.code)
		}
		for _, want := range test.says {
			if !strings.Contains(stderr, want) {
				t.Errorf("%q says %q; should say %q", test.args, stderr, want)
			}
		}
	}
}
