package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/config"
	"chaperone/policies"
)

// librarySource is the name of the source that ships with Chaperone.
const librarySource = "library"

// source is one set of modules that is compiled alone: no other source can add a rule to its packages.
type source struct {
	name    string
	modules map[string]*ast.Module // by file as shown
	texts   map[string][]byte
	remote  *remote // that it was fetched from; nil: it is on disk

	digest   string // of the bundle that it is from, SHA-256 in hex
	revision string // in the bundle's manifest
}

// readSource reads and parses every module below root; shown is what file names in messages start with. Tests stay out.
func readSource(name string, files fs.FS, shown string) (*source, config.Problems) {
	texts, tests := map[string][]byte{}, map[string][]byte{}
	at := ""
	err := eachFile(files, func(p string) error {
		at = p
		text, err := fs.ReadFile(files, p)
		file := filepath.Join(shown, filepath.FromSlash(p))
		if isTest(p) {
			tests[file] = text // nothing, where it cannot be read: no policy depends on it
			return nil
		}
		texts[file] = text
		return err
	})
	if err != nil {
		return nil, config.Problems{{File: filepath.Join(shown, filepath.FromSlash(at)), Message: message(err) + "; expected a directory of .rego files"}}
	}
	s, problems := newSource(name, texts)
	return s, append(problems, misfiled(tests)...)
}

// EachModule calls visit with the path of every .rego file that is no test. What begins with a dot stays out: what version control,
// editors (.#p.rego) and Kubernetes (..data) keep beside the files. A link to a folder is an error, because it is not followed, and so
// is an ending in other letters, because stock OPA passes it over.
func EachModule(files fs.FS, visit func(path string) error) error {
	return eachFile(files, func(p string) error {
		if isTest(p) {
			return nil
		}
		return visit(p)
	})
}

// isTest says whether a file of that name is a test, and no part of a policy.
func isTest(name string) bool { return strings.HasSuffix(name, "_test.rego") }

// eachFile is EachModule, of tests too.
func eachFile(files fs.FS, visit func(path string) error) error {
	return fs.WalkDir(files, ".", func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case p != "." && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.Type()&fs.ModeSymlink != 0:
			if info, err := fs.Stat(files, p); err == nil && info.IsDir() {
				return fmt.Errorf("%s is a link to a folder, which is not followed; make that folder a source of its own", p)
			}
		}
		switch ext := path.Ext(p); {
		case entry.IsDir() || !strings.EqualFold(ext, ".rego"):
			return nil
		case ext != ".rego":
			return fmt.Errorf("%s ends in %s, and would be passed over; name it %s", p, ext, strings.TrimSuffix(p, ext)+".rego")
		}
		return visit(p)
	})
}

// misfiled refuses rules of policies in files that are tests by their names, texts by file as shown: they would be passed over without a
// word. A test that cannot be parsed is for those who run it.
func misfiled(tests map[string][]byte) (problems config.Problems) {
	for _, file := range slices.Sorted(maps.Keys(tests)) {
		m, err := parse(file, tests[file])
		if err != nil || m == nil {
			continue
		}
		for _, rule := range m.Rules {
			if name := string(rule.Head.Ref()[0].Value.(ast.Var)); slices.Contains(contract, name) {
				problems = append(problems, problemAt(rule.Location, "%s is a rule of a policy, and in a file whose name ends in _test.rego, which is a test, it decides nothing; name the file otherwise", name))
				break
			}
		}
	}
	return problems
}

func parse(file string, text []byte) (module *ast.Module, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the Rego parser failed on this file: %v", r)
		}
	}()
	return ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{
		RegoVersion:       ast.RegoV1,
		ProcessAnnotation: true,
		Capabilities:      capabilities,
	})
}

// message is an error's without the path, which the problem shows already.
func message(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func readLibrary() (*source, config.Problems) {
	return readSource(librarySource, policies.FS, librarySource)
}

func readDirectory(sc sourceConfig) (*source, config.Problems) {
	dir := sc.beside(sc.Path)
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, config.Problems{sc.Problem("path", "found %q: %s; expected a directory of .rego files", sc.Path, message(err))}
	case !info.IsDir():
		return nil, config.Problems{sc.Problem("path", "found %q, which is a file; expected a directory of .rego files", sc.Path)}
	}
	s, problems := readSource(sc.Name, os.DirFS(dir), dir)
	if len(problems) == 0 && len(s.modules) == 0 {
		problems = config.Problems{sc.Problem("path", "found %q, which holds no .rego file (tests, _test.rego, do not count)", sc.Path)}
	}
	return s, problems
}

// regoProblems are OPA's errors with their places.
func regoProblems(file string, err error) config.Problems {
	var errs ast.Errors
	if !errors.As(err, &errs) {
		return config.Problems{{File: file, Message: err.Error()}}
	}
	problems := make(config.Problems, 0, len(errs))
	for _, e := range errs {
		p := config.Problem{File: file, Message: e.Code + ": " + plainly(e)}
		if e.Location != nil {
			p.Line = e.Location.Row
			if e.Location.File != "" {
				p.File = e.Location.File
			}
		}
		problems = append(problems, p)
	}
	return problems
}
