package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
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
	texts := map[string][]byte{}
	at := ""
	err := EachModule(files, func(p string) error {
		at = p
		text, err := fs.ReadFile(files, p)
		texts[filepath.Join(shown, filepath.FromSlash(p))] = text
		return err
	})
	if err != nil {
		return nil, config.Problems{{File: filepath.Join(shown, filepath.FromSlash(at)), Message: message(err) + "; expected a directory of .rego files"}}
	}
	return newSource(name, texts)
}

// EachModule calls visit with the path of every .rego file that is no test. What begins with a dot stays out: what version control,
// editors (.#p.rego) and Kubernetes (..data) keep beside the files. A link to a folder is an error, because it is not followed.
func EachModule(files fs.FS, visit func(path string) error) error {
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
		if entry.IsDir() || path.Ext(p) != ".rego" || strings.HasSuffix(p, "_test.rego") {
			return nil
		}
		return visit(p)
	})
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
