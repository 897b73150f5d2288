package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestServeNeedsNothingButAProvidersKey(t *testing.T) {
	for _, name := range keyVariables() {
		t.Setenv(name, "")
	}
	t.Chdir(t.TempDir())
	if code, _, stderr := chaperone(t, "serve"); code != exitInput || !strings.Contains(stderr, "OPENAI_API_KEY") || !strings.Contains(stderr, "chaperone init") {
		t.Fatalf("without a key it exited with %d: %s", code, stderr)
	}
	if code, _, stderr := chaperone(t, "serve", "--config", "chaperone.toml"); code != exitInput || !strings.Contains(stderr, "there is no such file") {
		t.Fatalf("with a configuration that is not there it exited with %d: %s", code, stderr)
	}
	t.Setenv("GROQ_API_KEY", "sk-secret-groq")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	reader, writer := io.Pipe()
	ended := make(chan int)
	go func() {
		code := run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--json"}, writer, io.Discard)
		writer.Close()
		ended <- code
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatalf("%v; it exited with %d", err, <-ended)
	}
	var printed struct {
		URL, Key  string
		Providers []string
	}
	if err := json.Unmarshal([]byte(line), &printed); err != nil || !slices.Equal(printed.Providers, []string{"groq"}) ||
		!strings.HasPrefix(printed.Key, "sk-ch-") || strings.Contains(line, "sk-secret") {
		t.Fatalf("printed %s (%v)", line, err)
	}
	request, err := http.NewRequest("GET", printed.URL+"/v1/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+printed.Key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	models, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if !strings.Contains(string(models), `"openai/gpt-oss-120b"`) || strings.Contains(string(models), `"openai/gpt-4o"`) {
		t.Errorf("its models are %s; should be Groq's", models)
	}
	interrupt()
	go io.Copy(io.Discard, reader)
	if code := <-ended; code != exitDone {
		t.Errorf("exited with %d after an interrupt", code)
	}
}
