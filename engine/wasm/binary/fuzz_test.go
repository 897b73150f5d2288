package binary_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"chaperone/engine/wasm/binary"
)

// FuzzSections holds what is read of a module to what stands in it: sections put together again are the module, and whatever a
// section holds, reading it ends without a panic.
func FuzzSections(f *testing.F) {
	for _, pattern := range []string{"../../../testdata/wasm/*.wasm", "../../../plugins/ttft-target/*.wasm"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			module, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(module)
		}
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		sections, err := binary.Sections(module)
		if err != nil {
			if len(sections) > 0 {
				t.Fatal("an error, and sections")
			}
			return
		}
		again := []byte(binary.Preamble)
		for _, s := range sections {
			again = append(again, s.Raw...)
			r := &binary.Reader{Src: s.Raw}
			if id := r.Byte(); id != s.ID {
				t.Fatalf("section %d begins with %d", s.ID, id)
			}
			if size := r.U32(); int(size) != len(s.Raw)-r.At || !bytes.HasSuffix(s.Raw, s.Content) {
				t.Fatalf("section %d says %d bytes and has %d", s.ID, size, len(s.Raw)-r.At)
			}
			if s.ID == binary.Import {
				imports, err := binary.Imports(s.Content)
				if err == nil && len(imports) > len(s.Content) {
					t.Fatalf("%d imports in %d bytes", len(imports), len(s.Content))
				}
			}
		}
		if !bytes.Equal(again, module) {
			t.Fatal("the sections are not the module")
		}
	})
}

// FuzzNumbers holds what is read of a number to what is written of it again: each has one encoding that is written, and
// whatever is read is within its width.
func FuzzNumbers(f *testing.F) {
	f.Add([]byte{0x80, 0x01, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x10})
	f.Fuzz(func(t *testing.T, src []byte) {
		r := &binary.Reader{Src: src}
		if v := r.U32(); r.Err() == nil {
			back := &binary.Reader{Src: binary.AppendU32(nil, v)}
			if got := back.U32(); got != v || back.More() || len(back.Src) > r.At {
				t.Fatalf("%d is read back as %d", v, got)
			}
		}
		for _, width := range []int{32, 33, 64} {
			r := &binary.Reader{Src: src}
			v := r.Signed(width)
			if r.Err() != nil {
				continue
			}
			if width < 64 && (v >= 1<<(width-1) || v < -1<<(width-1)) {
				t.Fatalf("%d does not fit %d bits", v, width)
			}
			back := &binary.Reader{Src: binary.AppendSigned(nil, v)}
			if got := back.Signed(width); got != v || back.More() || len(back.Src) > r.At {
				t.Fatalf("%d is read back as %d", v, got)
			}
		}
		l := (&binary.Reader{Src: src}).Limits()
		back := &binary.Reader{Src: binary.AppendLimits(nil, l)}
		if got := back.Limits(); got != l {
			t.Fatalf("%+v is read back as %+v", l, got)
		}
		r = &binary.Reader{Src: src}
		if name := r.Name(); r.Err() == nil {
			if back := (&binary.Reader{Src: binary.AppendName(nil, name)}).Name(); back != name {
				t.Fatalf("%q is read back as %q", name, back)
			}
		}
	})
}
