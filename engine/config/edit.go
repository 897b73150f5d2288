package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Edit changes a TOML file in one step: the new content is written beside it, synced and renamed over it, and keeps owner and
// mode. The file beside it is also the lock that keeps two edits from losing one. change gives the new content; check compares
// an array of tables before and after, and nothing is written unless the file reads well both times and check agrees.
func Edit(path, array string, change func(*Document, []byte) ([]byte, error), check func(before, after []map[string]any) bool) (err error) {
	target, err := filepath.EvalSymlinks(path) // a rename would replace the link
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	if err != nil {
		return err
	}
	beside := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".new")
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is being edited; if that was interrupted, delete %s and try again", path, beside)
	}
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close() // closed already where all went well
		if err != nil {
			_ = os.Remove(beside)
		}
	}()
	content, err := changed(path, target, array, change, check)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err != nil {
		return err
	}
	if err = keepOwner(f, info); err != nil {
		return err
	}
	if err = f.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(beside, target); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(target))
}

func changed(path, target, array string, change func(*Document, []byte) ([]byte, error), check func(before, after []map[string]any) bool) ([]byte, error) {
	src, err := os.ReadFile(target)
	if err != nil {
		return nil, err
	}
	doc, problems := Parse(path, src)
	if problems != nil {
		return nil, problems
	}
	before, err := tables(doc, array)
	if err != nil {
		return nil, err
	}
	content, err := change(doc, src)
	if err != nil {
		return nil, err
	}
	doc, problems = Parse(path, content)
	if problems != nil {
		return nil, fmt.Errorf("nothing was written, the entry would not fit into this file: %w", problems)
	}
	after, err := tables(doc, array)
	if err != nil || !check(before, after) {
		return nil, fmt.Errorf("%s: nothing was written, the change would touch other entries of the file; edit it by hand", path)
	}
	return content, nil
}

func tables(doc *Document, array string) ([]map[string]any, error) {
	var all []map[string]any
	problems := doc.Decode(array, &all)
	return all, problems.Err()
}

// SameTables says whether two arrays of tables hold the same.
func SameTables(a, b []map[string]any) bool {
	return slices.EqualFunc(a, b, func(x, y map[string]any) bool { return reflect.DeepEqual(x, y) })
}

var (
	tableHeader  = regexp.MustCompile(`^\s*\[\[`)
	disabledLine = regexp.MustCompile(`^(\s*disabled\s*=\s*)(true|false)`)
)

// Disable is src with disabled = true in one table of an array, such as keys[2]; the rest stays byte for byte. note is a comment
// behind it where the line is new, name what the table is called in messages.
func Disable(doc *Document, src []byte, table, name, note string) ([]byte, error) {
	lines := strings.SplitAfter(string(src), "\n")
	header, number := doc.Line(table), doc.Line(table+".disabled")
	switch {
	case number != header && disabledLine.MatchString(lines[number-1]):
		lines[number-1] = disabledLine.ReplaceAllString(lines[number-1], "${1}true")
	case number == header && tableHeader.MatchString(lines[header-1]):
		end := "\n"
		if strings.HasSuffix(lines[header-1], "\r\n") {
			end = "\r\n"
		}
		if !strings.HasSuffix(lines[header-1], "\n") {
			lines[header-1] += end
		}
		lines[header-1] += "disabled = true # " + note + end
	default:
		return nil, byHand(doc, table, name, true)
	}
	return []byte(strings.Join(lines, "")), nil
}

// Enable is src without the line disabled = true of one table of an array; see Disable.
func Enable(doc *Document, src []byte, table, name string) ([]byte, error) {
	lines := strings.SplitAfter(string(src), "\n")
	header, number := doc.Line(table), doc.Line(table+".disabled")
	if number == header || !disabledLine.MatchString(lines[number-1]) {
		return nil, byHand(doc, table, name, false)
	}
	lines[number-1] = ""
	return []byte(strings.Join(lines, "")), nil
}

func byHand(doc *Document, table, name string, disabled bool) error {
	array, _, _ := strings.Cut(table, "[")
	return fmt.Errorf("%s:%d: %s is not written as a [[%s]] table of lines; write disabled = %t there by hand",
		doc.Path(), doc.Line(table), name, array, disabled)
}
