//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// block is a fenced block of README.md.
type block struct {
	section, language string
	line              int
	text              string
}

func readme(t *testing.T) (text string, blocks []block) {
	t.Helper()
	src, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	section := ""
	var open *block
	for i, line := range strings.Split(string(src), "\n") {
		switch {
		case open != nil && line == "```":
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			open = &block{section: section, language: line[3:], line: i + 1}
		case strings.HasPrefix(line, "## "):
			section = line[3:]
		}
	}
	return string(src), blocks
}

// commands are the commands of a block: a line each, with the lines that a backslash or a here-document joins to it.
func (b block) commands() []string {
	var list []string
	lines := strings.Split(strings.TrimSuffix(b.text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		command := lines[i]
		for strings.HasSuffix(lines[i], "\\") {
			i++
			command += "\n" + lines[i]
		}
		if strings.HasSuffix(command, "<<'EOF'") {
			for lines[i] != "EOF" {
				i++
				command += "\n" + lines[i]
			}
		}
		list = append(list, command)
	}
	return list
}

// TestReadme runs every command of README.md in its order, in one shell, in a folder inside the repository as a reader would
// have it (a plugin needs the module around it). It differs from a reader in this: ports are free ones; the fake provider key
// is answered by a simulated provider and not by OpenAI; the demo is given a number of requests, after which it ends; and
// go test ./... is not run from itself. The clients' snippets are held by the end-to-end tests of the clients.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("builds commands and a plugin")
	}
	for _, tool := range []string{"sh", "curl", "mkfifo", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool+" is not installed (apt-get install curl coreutils)")
		}
	}
	w := newWalker(t)
	_, blocks := readme(t)
	ran := map[string]int{}
	section := ""
	for _, b := range blocks {
		if b.section != section {
			w.stopServers()
			section = b.section
		}
		switch b.language {
		case "sh":
			for _, command := range b.commands() {
				w.walk(b, command)
				ran[b.section]++
			}
		case "text":
			w.expect(b)
		case "python", "js", "go":
			if !strings.Contains(b.text, `"http://127.0.0.1:8080`) || !strings.Contains(b.text, "CHAPERONE_KEY") {
				t.Errorf("README.md:%d: does not say where the router is and with which key", b.line)
			}
		default:
			t.Errorf("README.md:%d: a block of %q is not held by any test", b.line, b.language)
		}
	}
	w.stopServers()
	for section, least := range map[string]int{"Try it": 4, "Walk 1: write a rule and see what it does": 13,
		"Walk 2: write a scorer and see the order change": 6, "Walk 3: put it in front of real providers": 10, "Afterwards": 7} {
		if ran[section] < least {
			t.Errorf("%q has %d commands; should be at least %d", section, ran[section], least)
		}
	}
}

// missing skips a test that needs a tool, or fails it where that is to be there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CHAPERONE_TEST_REQUIRE") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// walker is a shell that keeps its folder and environment from command to command.
type walker struct {
	t        *testing.T
	root     string // of the repository
	folder   string // in it, where the walks are made
	shell    *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Reader
	ports    map[string]string // the README's addresses → free ones
	secrets  map[string]string // the README's placeholders → what commands have printed
	last     string            // output of the last command
	answered *sim.Provider     // in the place of OpenAI
	servers  []*daemon
}

type daemon struct {
	command string
	pid     string
	ended   chan struct{}
	mu      sync.Mutex
	output  strings.Builder
}

func newWalker(t *testing.T) *walker {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp(root, ".readme-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	w := &walker{t: t, root: root, folder: folder, ports: map[string]string{}, secrets: map[string]string{}}
	w.answered, err = sim.Start(t.Context(), sim.Profile{Name: "openai", Models: []string{"gpt-4o-mini"},
		Credentials: []sim.Credential{{Name: "fake", Key: fakeKey}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.answered.Close() })
	for _, address := range append(simulatedAddresses(), "127.0.0.1:8080", "127.0.0.1:9090") {
		w.ports[address] = freeAddress(t)
	}

	w.shell = exec.Command("sh")
	w.shell.Dir = root
	w.shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it has started ends with it
	w.shell.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "CHAPERONE_KEY" || slices.Contains(keyVariables(), name)
	})
	if w.in, err = w.shell.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := w.shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.shell.Stderr = w.shell.Stdout
	w.out = bufio.NewReader(out)
	if err := w.shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-w.shell.Process.Pid, syscall.SIGKILL)
		w.shell.Wait()
	})
	return w
}

const fakeKey = "sk-readme-0123456789abcdef"

func simulatedAddresses() []string {
	var list []string
	for port := 9101; port <= 9108; port++ {
		list = append(list, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return list
}

// freeAddress is one that nobody else is given meanwhile: systems give ports from above these to whoever asks for any, such as the
// tests that run beside this one.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err == nil {
			l.Close()
			if _, twice := given.LoadOrStore(l.Addr().String(), true); !twice {
				return l.Addr().String()
			}
		}
	}
	t.Fatal("there is no free port")
	return ""
}

var given sync.Map // addresses

var decisionID = regexp.MustCompile(`gen-[0-9a-z]{8,}`)

// walk runs one command of the README.
func (w *walker) walk(b block, command string) {
	w.t.Helper()
	switch command {
	case "go test ./...":
		return // it runs this test
	case "go run ./cmd/chaperone demo":
		command += " --requests 20"
	}
	for address, free := range w.ports {
		command = strings.ReplaceAll(command, address, free)
	}
	base := filepath.Base(w.folder)
	command = strings.NewReplacer(
		"bin/chaperone", base+"/chaperone", "$PWD/bin", "$PWD/"+base,
		"--dir playground", "--dir "+base+"/playground", "cd playground", "cd "+base+"/playground",
		"../plugins/", "../../plugins/", `"sk-..."`, fakeKey, `"sk-ch-..."`, w.secrets["sk-ch-"],
	).Replace(command)
	if command == "cd .." {
		command = "cd ../.."
	}
	command = strings.NewReplacer("--dir router", "--dir "+base+"/router", "router/chaperone.toml", base+"/router/chaperone.toml",
		"router/proposed", base+"/router/proposed").Replace(command)
	if strings.Contains(command, "chaperone explain gen-") || strings.Contains(command, "chaperone journal show gen-") {
		id := decisionID.FindString(w.secrets["id"])
		if id == "" {
			w.t.Fatalf("README.md:%d: no answer before it has an id", b.line)
		}
		command = decisionID.ReplaceAllString(command, id)
	}
	if strings.HasPrefix(command, "chaperone serve") || strings.HasPrefix(command, "chaperone sim") {
		w.start(b, command)
		return
	}
	code, output := w.run(command)
	w.last = output
	want := 0
	if strings.Contains(b.text, "hurried.rego <<") && command == "chaperone check" {
		want = exitInput
	}
	if code != want {
		w.t.Fatalf("README.md:%d: %s\nexited with %d; should be %d\n%s%s", b.line, command, code, want, output, w.logs())
	}
	switch {
	case strings.HasPrefix(command, "chaperone init"):
		w.moveAddresses()
		if secret := regexp.MustCompile(`sk-ch-[0-9A-Za-z]+`).FindString(output); secret != "" {
			w.secrets["sk-ch-"] = secret
		}
		if strings.Contains(output, fakeKey) {
			w.t.Errorf("README.md:%d: init prints the provider's key", b.line)
		}
	case strings.HasPrefix(command, "curl"):
		if !strings.Contains(output, `"object":`) || strings.Contains(output, `"error"`) {
			w.t.Fatalf("README.md:%d: %s\nis answered with %s%s", b.line, command, output, w.logs())
		}
		w.secrets["id"] = output
	case strings.Contains(command, "chaperone explain gen-"):
		if !strings.Contains(output, "ATTEMPT") {
			w.t.Errorf("README.md:%d: the decision shows no attempt:\n%s", b.line, output)
		}
	case strings.Contains(command, "chaperone journal show gen-"):
		if !strings.Contains(output, "openai") || !strings.Contains(output, "ATTEMPT") {
			w.t.Errorf("README.md:%d: the decision shows neither who was asked nor how it ended:\n%s", b.line, output)
		}
	case strings.HasPrefix(command, "chaperone replay"):
		if !regexp.MustCompile(`now denied +[1-9]`).MatchString(output) || !strings.Contains(output, "American law reaches it") {
			w.t.Errorf("README.md:%d: the policy would change nothing:\n%s", b.line, output)
		}
	case strings.HasPrefix(command, "chaperone report"):
		if !strings.Contains(output, "# Data of main") || !strings.Contains(output, "| openai |") {
			w.t.Errorf("README.md:%d: the report names nobody:\n%s", b.line, output)
		}
	case strings.HasPrefix(command, "go run") && strings.Contains(command, "demo"):
		if !strings.Contains(output, "20") {
			w.t.Errorf("README.md:%d: the demo says nothing of its 20 requests:\n%s", b.line, output)
		}
	}
}

// run hands the shell a command and reads what it prints.
func (w *walker) run(command string) (code int, output string) {
	w.t.Helper()
	const mark = "@@exit "
	fmt.Fprintf(w.in, "%s\nprintf '\\n%s%%d\\n' $?\n", command, mark)
	var b strings.Builder
	for {
		line, err := w.out.ReadString('\n')
		if err != nil {
			w.t.Fatalf("the shell has ended in %s: %v\n%s", command, err, b.String())
		}
		if rest, ok := strings.CutPrefix(line, mark); ok {
			fmt.Sscan(rest, &code)
			return code, b.String()
		}
		b.WriteString(line)
	}
}

// start runs a command that stays, and returns when it has said where it listens.
func (w *walker) start(b block, command string) {
	w.t.Helper()
	fifo := filepath.Join(w.folder, fmt.Sprintf("output-%d", b.line))
	if code, output := w.run("mkfifo " + fifo); code != 0 {
		w.t.Fatal(output)
	}
	code, pid := w.run(command + " >" + fifo + " 2>&1 & echo $!")
	if code != 0 {
		w.t.Fatal(pid)
	}
	f, err := os.Open(fifo)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &daemon{command: command, pid: strings.TrimSpace(pid), ended: make(chan struct{})}
	w.servers = append(w.servers, s)
	listening := make(chan struct{})
	go func() {
		defer close(s.ended)
		defer f.Close()
		said := false
		for lines := bufio.NewScanner(f); lines.Scan(); {
			s.mu.Lock()
			fmt.Fprintln(&s.output, lines.Text())
			s.mu.Unlock()
			if !said && strings.Contains(lines.Text(), "http://127.0.0.1:") {
				said = true
				close(listening)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	select {
	case <-listening:
	case <-s.ended:
		w.t.Fatalf("README.md:%d: %s has ended:%s", b.line, command, w.logs())
	case <-ctx.Done():
		w.t.Fatalf("README.md:%d: %s does not say where it listens:%s", b.line, command, w.logs())
	}
}

// stopServers interrupts what a walk has left running, as its reader would.
func (w *walker) stopServers() {
	w.t.Helper()
	if len(w.servers) == 0 {
		return
	}
	for _, s := range w.servers {
		if code, output := w.run("kill -INT " + s.pid + " && wait " + s.pid); code != 0 {
			w.t.Errorf("%s exited with %d after an interrupt: %s%s", s.command, code, output, w.logs())
		}
		<-s.ended
	}
	w.servers = nil
}

func (w *walker) logs() string {
	var b strings.Builder
	for _, s := range w.servers {
		s.mu.Lock()
		fmt.Fprintf(&b, "\n%s:\n%s", s.command, s.output.String())
		s.mu.Unlock()
	}
	return b.String()
}

// moveAddresses gives what init has written ports that are free here, and a simulated provider in the place of OpenAI.
func (w *walker) moveAddresses() {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.folder, "*", "*.toml"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			w.t.Fatal(err)
		}
		text := string(src)
		if filepath.Base(filepath.Dir(name)) == "router" && filepath.Base(name) == "catalog.toml" {
			text += fmt.Sprintf("\n[providers.openai]\ndialect = \"openai\"\nbase_url = %q\ncredentials.paid = { key_env = \"OPENAI_API_KEY\" }\n", w.answered.URL())
		}
		text = strings.Replace(text, "[server]\n# listen         =", "[server]\nlisten         =", 1)
		text = strings.Replace(text, "# private_listen =", "private_listen =", 1)
		text = strings.Replace(text, `# drain_delay    = "2s"`, `drain_delay    = "0s"`, 1)
		for address, free := range w.ports {
			text = strings.ReplaceAll(text, address, free)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// expect holds an output block against what the last command has printed: every line of it, in order, whatever the spaces;
// "…" stands for more.
func (w *walker) expect(b block) {
	w.t.Helper()
	printed := strings.Join(strings.Fields(w.last), " ")
	rest := printed
	for part := range strings.SplitSeq(b.text, "…") {
		want := strings.Join(strings.Fields(part), " ")
		at := strings.Index(rest, want)
		if at < 0 {
			w.t.Errorf("README.md:%d: the command before it prints something else:\n%s\nshould have:\n%s", b.line, w.last, part)
			return
		}
		rest = rest[at+len(want):]
	}
}
