package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestACodingAgent has an agent that people use do a turn in each of the three APIs, over each dialect behind. It sends tools, a
// long system prompt and a stream's options as such programs do.
func TestACodingAgent(t *testing.T) {
	folder, err := filepath.Abs(filepath.Join(scripts, "agent"))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "node_modules", ".bin", "pi")
	need(t, program, "Node.js 20 or later, and: npm ci --prefix testdata/clients/agent")
	r := start(t)
	home := t.TempDir()
	type model struct {
		ID string `json:"id"`
	}
	type provider struct {
		BaseURL string  `json:"baseUrl"`
		API     string  `json:"api"`
		Key     string  `json:"apiKey"`
		Models  []model `json:"models"`
	}
	var models []model
	for back := range backs {
		models = append(models, model{back + "/one"})
	}
	settings, err := json.Marshal(map[string]any{"providers": map[string]provider{
		"by-chat":      {r.url + "/v1", "openai-completions", key, models},
		"by-responses": {r.url + "/v1", "openai-responses", key, models},
		"by-messages":  {r.url, "anthropic-messages", key, models},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(home, ".pi", "agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".pi", "agent", "models.json"), settings, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, front := range []string{"chat", "responses", "messages"} {
		for back := range backs {
			t.Run(front+" over "+back, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), program, "--print", "--offline", "--no-session", "--provider", "by-"+front, "--model", back+"/one", question)
				cmd.Dir = home
				cmd.Env = append(os.Environ(), "HOME="+home, "PI_OFFLINE=1")
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if want := r.right(t, back).Text; strings.TrimSpace(string(out)) != strings.TrimSpace(want) {
					t.Errorf("got %s\nwant %s", out, want)
				}
				log := r.sims[back+"-good"].Log()
				if body := string(log[len(log)-1].Body); !strings.Contains(body, `"tools"`) {
					t.Errorf("the agent's tools did not arrive: %.300s", body)
				}
			})
		}
	}
	r.held(t, "ChatChunk", "ResponseEvent", "MessagesEvent")
}
