package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
)

var tableRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|(.*)\\|$")

// cellsOf is a row without its first cell.
type cellsOf struct{ second, rest string }

// tableOf are the rows of the tables below a heading of README.md by the text of their first cell.
func tableOf(t *testing.T, heading string) map[string]cellsOf {
	t.Helper()
	src, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(src), "\n## "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	rows := map[string]cellsOf{}
	for _, m := range tableRow.FindAllStringSubmatch(text, -1) {
		if _, twice := rows[m[1]]; twice {
			t.Errorf("README.md has %q twice", m[1])
		}
		second, rest, _ := strings.Cut(m[2], " | ")
		if strings.HasPrefix(m[2], " | ") {
			second, rest = "", m[2][3:]
		}
		rows[m[1]] = cellsOf{strings.Trim(second, " `"), rest}
	}
	if len(rows) == 0 {
		t.Fatalf("README.md has no table below %q", heading)
	}
	return rows
}

func TestReadmeHasEverySettingWithItsDefault(t *testing.T) {
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: write(t, "chaperone.toml", "")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(t.Context())
	want := map[string]string{} // "*": without a default
	settings := reflect.ValueOf(*e.Settings())
	for i := range settings.NumField() {
		list(want, snake(settings.Type().Field(i).Name), settings.Field(i), true)
	}
	for _, key := range keysOf(t, "[policy]") {
		switch key {
		case "sources", "bindings", "waivers":
			for _, below := range keysOf(t, "[[policy."+key+"]]") {
				want["policy."+key+"[]."+below] = "*"
			}
		default:
			want["policy."+key] = "*"
		}
	}

	got := tableOf(t, "Configuration")
	found := map[string]bool{}
	for key, value := range want {
		if row, ok := got[key]; ok {
			found[key] = true
			if value != "*" && row.second != value {
				t.Errorf("README.md says that %s is %s without being set; it is %s", key, row.second, value)
			}
			continue
		}
		table, last := key[:strings.LastIndex(key, ".")], key[strings.LastIndex(key, ".")+1:] // one row may have a table's keys
		if row, ok := got[table]; !ok || !strings.Contains(row.rest, "`"+last+"`") {
			t.Errorf("README.md lacks the setting %s, with the default %s", key, value)
		}
		found[table] = true
	}
	for key := range got {
		if !found[key] {
			t.Errorf("README.md has %s, which is no setting", key)
		}
	}
}

// snake is the key of a field of Settings.
func snake(field string) string {
	return strings.ToLower(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(field, "${1}_${2}"))
}

// list puts the keys below a value into want, with what they are.
func list(want map[string]string, key string, v reflect.Value, known bool) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("toml"), ","); name != "" {
				list(want, key+"."+name, v.Field(i), known)
			}
		}
		return
	case reflect.Slice:
		element := v.Type().Elem()
		if element.Kind() == reflect.Pointer {
			element = element.Elem()
		}
		if element.Kind() == reflect.Struct {
			list(want, key+"[]", reflect.New(element).Elem(), false)
			return
		}
	}
	want[key] = "*"
	if known {
		want[key] = written(v.Interface())
	}
}

// written is a value as TOML has it.
func written(v any) string {
	switch v := v.(type) {
	case time.Duration:
		s := v.String()
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		return `"` + s + `"`
	case string:
		return `"` + v + `"`
	case []string:
		return "[" + strings.Join(v, ", ") + "]"
	case map[string]string:
		if len(v) == 0 {
			return "{}"
		}
	}
	return fmt.Sprint(v)
}

// keysOf asks the loader which keys a table may have, by one that none has.
func keysOf(t *testing.T, table string) []string {
	t.Helper()
	_, stdout, _ := chaperone(t, "check", "--json", "--config", write(t, "chaperone.toml", table+"\nzzzzzzzzzzzz = 1\n"))
	var report struct {
		Problems []struct{ Key, Message string }
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	for _, p := range report.Problems {
		if _, list, ok := strings.Cut(p.Message, "expected "); ok && strings.HasSuffix(p.Key, "zzzzzzzzzzzz") {
			return strings.Split(strings.ReplaceAll(list, " or ", ", "), ", ")
		}
	}
	t.Fatalf("check does not say which keys %s has: %s", table, stdout)
	return nil
}

func TestReadmeHasEveryPath(t *testing.T) {
	url := startServe(t, write(t, "chaperone.toml", "[server]\nlisten = \"127.0.0.1:0\"\nprivate_listen = \"\"\ndrain_delay = \"0s\"\n"))
	resp, err := http.Get(url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var document struct{ Paths map[string]map[string]any }
	if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for path, methods := range document.Paths {
		for method := range methods {
			served[strings.ToUpper(method)+" "+path] = true
		}
	}
	listed := tableOf(t, "HTTP")
	for line := range listed {
		if !served[line] {
			t.Errorf("README.md has %s, which the router does not serve", line)
		}
	}
	for line := range served {
		if listed[line] == (cellsOf{}) {
			t.Errorf("README.md lacks %s", line)
		}
	}
}

func TestReadmeHasTheMakefilesTargets(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for command := range tableOf(t, "Developing") {
		target := strings.TrimPrefix(command, "make ")
		if !strings.Contains(string(makefile), "\n"+target+":") {
			t.Errorf("README.md has %q, which is no target", command)
		}
	}
}

func TestReadmeHasTheExitCodes(t *testing.T) {
	src, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^\| (\d) \| (.*) \|$`).FindAllStringSubmatch(string(src), -1)
	var listed []string
	for _, m := range codes {
		listed = append(listed, "  "+m[1]+"  "+strings.ReplaceAll(m[2], "`", ""))
	}
	_, help, _ := strings.Cut(about, "Exit codes:\n")
	if want := strings.Split(help, "\n"); !slices.Equal(listed, want) {
		t.Errorf("README.md lists %q; help lists %q", listed, want)
	}
}
