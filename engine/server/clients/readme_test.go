package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// around is what a program has beside the two lines that README.md shows: before them, and after them one question whose answer
// it prints.
var around = map[string]struct{ before, after string }{
	"python OpenAI": {"import os\nfrom openai import OpenAI\n",
		`print(client.chat.completions.create(model="chat/one", messages=[{"role": "user", "content": "Hi"}]).choices[0].message.content)`},
	"python Anthropic": {"import os\nfrom anthropic import Anthropic\n",
		`print(client.messages.create(model="chat/one", max_tokens=400, messages=[{"role": "user", "content": "Hi"}]).content[0].text)`},
	"js OpenAI": {"import OpenAI from \"openai\";\n",
		`console.log((await client.chat.completions.create({ model: "chat/one", messages: [{ role: "user", content: "Hi" }] })).choices[0].message.content);`},
	"js Anthropic": {"import Anthropic from \"@anthropic-ai/sdk\";\n",
		`console.log((await client.messages.create({ model: "chat/one", max_tokens: 400, messages: [{ role: "user", content: "Hi" }] })).content[0].text);`},
	"go OpenAI": {`package main
import ("context"; "fmt"; "os"; "github.com/openai/openai-go/v3"; "github.com/openai/openai-go/v3/option")
func main() {
`, `	answer, err := client.Chat.Completions.New(context.Background(), openai.ChatCompletionNewParams{Model: "chat/one",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hi")}})
	if err != nil { panic(err) }
	fmt.Println(answer.Choices[0].Message.Content)
}`},
	"go Anthropic": {`package main
import ("context"; "fmt"; "os"; "github.com/anthropics/anthropic-sdk-go"; "github.com/anthropics/anthropic-sdk-go/option")
func main() {
`, `	answer, err := client.Messages.New(context.Background(), anthropic.MessageNewParams{Model: "chat/one", MaxTokens: 400,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Hi"))}})
	if err != nil { panic(err) }
	fmt.Println(answer.Content[0].Text)
}`},
}

var block = regexp.MustCompile("(?s)```(python|js|go)\n(.*?)```")

// TestTheReadmesTwoLinesAreEnough runs what README.md shows for each SDK, but for the port.
func TestTheReadmesTwoLinesAreEnough(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "changes two lines")
	shown, _, _ = strings.Cut(shown, "\n## ")
	r := start(t)
	ran := map[string]bool{}
	for _, m := range block.FindAllStringSubmatch(shown, -1) {
		who := "OpenAI"
		if strings.Contains(strings.ToLower(m[2]), "anthropic") {
			who = "Anthropic"
		}
		name := m[1] + " " + who
		ran[name] = true
		t.Run(name, func(t *testing.T) {
			lines := strings.ReplaceAll(m[2], "http://127.0.0.1:8080", r.url)
			if lines == m[2] {
				t.Fatalf("it does not show the router's address:\n%s", lines)
			}
			out := r.program(t, m[1], around[name].before+lines+around[name].after+"\n")
			if want := r.right(t, "chat").Text; strings.TrimSpace(out) != strings.TrimSpace(want) {
				t.Errorf("got %s\nwant %s", out, want)
			}
		})
	}
	r.held(t, "ChatCompletion", "Message")
	for name := range around {
		if !ran[name] {
			t.Errorf("README.md does not show it for %s", name)
		}
	}
}

// program runs a text in a language, with the client's key in the environment.
func (r *router) program(t *testing.T, language, text string) string {
	t.Helper()
	dir, name := t.TempDir(), "main.go"
	run := []string{"go", "run"}
	switch language {
	case "python", "js":
		program, folder := installed(t, map[string]string{"python": "python", "js": "node"}[language])
		run, name = []string{program}, "main.py"
		if language == "js" {
			name = "main.mjs"
			if err := os.Symlink(filepath.Join(folder, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), run[0], append(run[1:], file)...)
	cmd.Env = append(os.Environ(), "CHAPERONE_KEY="+key)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return string(out)
}
