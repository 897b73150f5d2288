package meter_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"chaperone/engine/wasm/binary"
	"chaperone/engine/wasm/meter"
)

// often is what the host tells the rewriter.
var often = []string{"chaperone_score", "chaperone_observe"}

// TestGrowth holds what rewriting adds to the plugins that ship.
func TestGrowth(t *testing.T) {
	files, err := filepath.Glob("../../../plugins/*/*.wasm")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	before, after := 0, 0
	for _, file := range files {
		module, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out, err := meter.Rewrite(module, meter.Default, often...)
		if err != nil {
			t.Fatal(err)
		}
		before, after = before+len(module), after+len(out)
		growth := 100 * (float64(len(out))/float64(len(module)) - 1)
		t.Logf("%s: %d bytes, %+.1f %%", filepath.Base(file), len(module), growth)
		if growth > 10 {
			t.Errorf("%s grows by %.1f %%, should grow by less than 10", file, growth)
		}
	}
	t.Logf("all of them: %d bytes, %+.1f %%", before, 100*(float64(after)/float64(before)-1))
}

func rewrite(t *testing.T, module []byte) ([]byte, error) {
	t.Helper()
	return meter.Rewrite(module, meter.Default)
}

// section is a section, or with 0 a custom one, as bytes.
func section(id byte, content string) []byte { return binary.AppendSection(nil, id, []byte(content)) }

func module(sections ...[]byte) []byte {
	return append([]byte(binary.Preamble), bytes.Join(sections, nil)...)
}

// counted is a module with a global of its own and one function, whose body is given.
func counted(body string) []byte {
	code := append([]byte{1, byte(len(body) + 2), 0}, body...)
	return module(section(binary.Type, "\x01\x60\x00\x00"), section(binary.Function, "\x01\x00"),
		section(binary.Global, "\x01\x7e\x01\x42\x00\x0b"), section(binary.Code, string(append(code, 0x0b))))
}

func TestEachWayToTheCounterIsClosed(t *testing.T) {
	if _, err := rewrite(t, counted("\x42\x01\x24\x00")); err != nil {
		t.Errorf("setting its own global: %v", err)
	}
	for name, c := range map[string]struct {
		module []byte
		says   string
	}{
		"global.set":               {counted("\x42\x01\x24\x01"), "global 1, there are 1"},
		"global.get":               {counted("\x23\x01\x1a"), "global 1, there are 1"},
		"global.get, a long index": {counted("\x23\x81\x80\x80\x80\x00\x1a"), "global 1, there are 1"},
		"a call of a helper":       {counted("\x10\x01"), "function 1, there are 1"},
		"a reference to a helper":  {counted("\xd2\x01\x1a"), "function 1 is not declared"},
		"an initial value":         {module(section(binary.Global, "\x01\x7e\x00\x23\x01\x0b")), "global 1, there are 1"},
		"an export of the counter": {module(section(binary.Global, "\x01\x7e\x01\x42\x00\x0b"),
			section(binary.Export, "\x01\x01x\x03\x01")), "global 1, there are 1"},
		"an export of its name": {module(section(binary.Global, "\x01\x7e\x01\x42\x00\x0b"),
			section(binary.Export, "\x01\x0echaperone.fuel\x03\x00")), `it exports "chaperone.fuel"; names that begin with "chaperone." are the host's`},
		"another vector length": {counted("\xfd\x8c\x00"), "relaxed SIMD is not supported"},
		"two globals, one said": {module(section(binary.Global, "\x01\x7e\x01\x42\x00\x0b\x7e\x01\x42\x00\x0b")), "5 bytes are left over"},
		"sections out of order": {module(section(binary.Export, "\x00"), section(binary.Global, "\x00")), "stands twice, or behind one that should follow it"},
		"two code sections":     {module(section(binary.Code, "\x00"), section(binary.Code, "\x00")), "stands twice"},
		"a body that goes on":   {counted("\x0b\x01"), "2 bytes are left over"},
	} {
		_, err := rewrite(t, c.module)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, should say %q", name, err, c.says)
		}
	}
}

func TestCustomSectionsStayAndDamagedNamesGo(t *testing.T) {
	names := binary.AppendCustom(nil, "name", []byte("\x01\x04\x01\x00\x01f"))
	damaged := binary.AppendCustom(nil, "name", []byte("\x01\x04\xff\xff\xff\x7f"))
	note := binary.AppendCustom(nil, "note", []byte("kept as it is"))
	body := counted("")
	out, err := rewrite(t, slices.Concat(body, note, damaged, names, note))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(out, note) != 2 || bytes.Count(out, names) != 1 || bytes.Contains(out, damaged) {
		t.Errorf("%q", out)
	}
}

func FuzzRewrite(f *testing.F) {
	for _, pattern := range []string{"../../../testdata/wasm/*.wasm", "../../../plugins/ttft-target/*.wasm"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			module, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(module)
		}
	}
	ctx := context.Background()
	rt := wazero.NewRuntime(ctx)
	f.Fuzz(func(t *testing.T, src []byte) {
		sections, err := binary.Sections(src)
		if err != nil {
			return
		}
		// Without custom sections: wazero refuses some that mean nothing.
		module := []byte(binary.Preamble)
		for _, s := range sections {
			if s.ID != binary.Custom {
				module = append(module, s.Raw...)
			}
		}
		l := meter.Default
		l.Work = 1_000_000
		out, err := meter.Rewrite(module, l)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(out, []byte(binary.Preamble)) {
			t.Fatalf("%q", out)
		}
		// What the compiler accepts of the original it accepts of the output, and the other way round: the rewriter neither
		// breaks a module nor mends one, which would show that both read it differently.
		plain, err := rt.CompileModule(ctx, module)
		metered, errMetered := rt.CompileModule(ctx, out)
		if (err == nil) != (errMetered == nil) {
			t.Fatalf("%v as it is, %v rewritten", err, errMetered)
		}
		if err == nil {
			plain.Close(ctx)
			metered.Close(ctx)
		}
	})
}
