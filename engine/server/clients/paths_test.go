package clients

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// paths are where an SDK says which paths its API has.
var paths = []struct {
	name, module, folder string // a module of Go, or a folder of testdata/clients
	path                 *regexp.Regexp
	under                string
	header               [2]string
}{
	{"OpenAI", "github.com/openai/openai-go/v3", "", regexp.MustCompile(`path := (?:requestconfig\.FormatPath\(|fmt\.Sprintf\()?"([a-z][^"]*)"`), "/v1/", [2]string{}},
	{"Anthropic", "github.com/anthropics/anthropic-sdk-go", "", regexp.MustCompile(`path := (?:requestconfig\.FormatPath\(|fmt\.Sprintf\()?"(v1/[^"]*)"`), "/",
		[2]string{"Anthropic-Version", "2023-06-01"}},
	{"OpenRouter", "", "node/node_modules/@openrouter/sdk/esm/funcs", regexp.MustCompile(`pathToFunc\)?\("/([^"]+)"\)`), "/api/v1/", [2]string{}},
}

// A path that another API has and this router does not says so, in that API's form of an error: a program that asks for it should
// not look for its mistake in the address.
func TestEveryPathOfTheSDKsIsServedOrNamed(t *testing.T) {
	r := start(t)
	placeholder := regexp.MustCompile(`%s|%v|\{[^}]+\}`)
	for _, sdk := range paths {
		t.Run(sdk.name, func(t *testing.T) {
			folder := filepath.Join(scripts, sdk.folder)
			if sdk.module != "" {
				out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", sdk.module).Output()
				if err != nil {
					t.Fatal(err)
				}
				folder = strings.TrimSpace(string(out))
			} else {
				need(t, folder, programs["node"].how)
			}
			all, unserved := map[string]bool{}, 0
			for _, pattern := range []string{"*.go", "*/*.go", "*.js"} {
				files, err := filepath.Glob(filepath.Join(folder, pattern))
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range files {
					source, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					if strings.HasSuffix(file, "_test.go") {
						continue
					}
					for _, m := range sdk.path.FindAllSubmatch(source, -1) {
						path, _, _ := strings.Cut(string(m[1]), "?")
						all[placeholder.ReplaceAllString(path, "x")] = true
					}
				}
			}
			if len(all) < 20 {
				t.Fatalf("found %d paths", len(all))
			}
			for path := range all {
				under := sdk.under
				if strings.HasPrefix(path, "api/") {
					under = "/"
				}
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					req, err := http.NewRequestWithContext(t.Context(), method, r.url+under+path, strings.NewReader("{}"))
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Authorization", "Bearer "+key)
					req.Header.Set("Content-Type", "application/json")
					if sdk.header[0] != "" {
						req.Header.Set(sdk.header[0], sdk.header[1])
					}
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil {
						t.Fatal(err)
					}
					if strings.Contains(string(body), "there is no /") {
						t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, body)
					}
					if strings.Contains(string(body), "this router does not route") {
						unserved++
						if anthropics := strings.HasPrefix(string(body), `{"type":"error"`); anthropics != (sdk.name == "Anthropic") {
							t.Errorf("%s %s is answered in another API's form: %s", method, path, body)
						}
					}
				}
			}
			t.Logf("%d paths, of which %d requests are not routed", len(all), unserved)
		})
	}
}
