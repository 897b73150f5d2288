package wire_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone/engine/wire"
)

// The dumps below spell out everything that a parser found in a body: numbers by the bits of their float64, strings in
// hex of their UTF-8, objects sorted by key. Half a surrogate pair, which an accepted body can only hold in a string that
// nobody reads, is U+FFFD.

const nodeDump = `
const lines = require('readline').createInterface({ input: process.stdin });
const bits = new DataView(new ArrayBuffer(8));
const text = s => '"' + Buffer.from(s.toWellFormed(), 'utf8').toString('hex');
function dump(v) {
  if (v === null) return 'n';
  switch (typeof v) {
    case 'boolean': return v ? 't' : 'f';
    case 'string': return text(v);
    case 'number': bits.setFloat64(0, v); return '#' + bits.getBigUint64(0).toString(16).padStart(16, '0');
  }
  if (Array.isArray(v)) return '[' + v.map(dump).join(',') + ']';
  return '{' + Object.keys(v).map(k => text(k) + ':' + dump(v[k])).sort().join(',') + '}';
}
lines.on('line', l => {
  let out;
  try { out = dump(JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(l, 'hex')))); } catch (e) { out = 'error ' + String(e.message).replace(/\s+/g, ' '); }
  process.stdout.write(out + '\n');
});
`

const pythonDump = `
import json, re, struct, sys
lone = re.compile('[\ud800-\udfff]')
def text(s): return '"' + lone.sub('\ufffd', s).encode('utf-8').hex()
def dump(v):
    if v is None: return 'n'
    if v is True: return 't'
    if v is False: return 'f'
    if isinstance(v, str): return text(v)
    if isinstance(v, (int, float)): return '#' + struct.pack('>d', float(v)).hex()
    if isinstance(v, list): return '[' + ','.join(map(dump, v)) + ']'
    return '{' + ','.join(sorted(text(k) + ':' + dump(x) for k, x in v.items())) + '}'
sys.setrecursionlimit(10000)
for line in sys.stdin:
    try: out = dump(json.loads(bytes.fromhex(line.strip())))
    except Exception as e: out = 'error ' + ' '.join(str(e).split())
    print(out)
`

func dump(v any) string {
	hexed := func(s string) string { return `"` + hex.EncodeToString([]byte(s)) }
	switch v := v.(type) {
	case nil:
		return "n"
	case bool:
		return fmt.Sprint(v)[:1]
	case float64:
		return fmt.Sprintf("#%016x", math.Float64bits(v))
	case string:
		return hexed(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = dump(v[i])
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	var parts []string
	for k, x := range v.(map[string]any) {
		parts = append(parts, hexed(k)+":"+dump(x))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ",") + "}"
}

// zeroSign makes -0 and 0 alike: Python reads -0 as a whole number, which has no sign.
func zeroSign(s string) string {
	return strings.ReplaceAll(s, "#8000000000000000", "#0000000000000000")
}

// TestParsersAgree holds that no accepted body is read differently by Go, Node or Python, in any field. What the skim
// itself finds is what encoding/json does: see sameReading.
func TestParsersAgree(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	accepted := acceptedBodies(t, rand.New(rand.NewPCG(seed, 0)), 4000)
	want := make([]string, len(accepted))
	for i, body := range accepted {
		sameReading(t, body)
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatalf("encoding/json refuses an accepted body: %v\n%q", err, body)
		}
		want[i] = dump(v)
	}
	for _, parser := range []struct {
		name, get string
		command   []string
	}{
		{"node", "install Node.js 20 or later (https://nodejs.org)", []string{"node", "-e", nodeDump}},
		{"python3", "install Python 3 (https://python.org)", []string{"python3", "-c", pythonDump}},
	} {
		t.Run(parser.name, func(t *testing.T) {
			path, err := exec.LookPath(parser.command[0])
			if err != nil {
				if os.Getenv("CHAPERONE_TEST_REQUIRE") != "" {
					t.Fatalf("%s is required: %s", parser.name, parser.get)
				}
				t.Skipf("%s is absent: %s", parser.name, parser.get)
			}
			got := parseAll(t, exec.Command(path, parser.command[1:]...), accepted)
			for i := range accepted {
				if zeroSign(got[i]) != zeroSign(want[i]) {
					t.Fatalf("read differently:\nbody   %q\n%-6s %s\nGo     %s", accepted[i], parser.name, got[i], want[i])
				}
			}
			t.Logf("%d bodies", len(accepted))
		})
	}
}

// parseAll gives a process one body a line, in hex, and reads one line for each.
func parseAll(t *testing.T, cmd *exec.Cmd, all [][]byte) []string {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		w := bufio.NewWriter(in)
		for _, body := range all {
			fmt.Fprintln(w, hex.EncodeToString(body))
		}
		w.Flush()
		in.Close()
	}()
	var lines []string
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	if err := cmd.Wait(); err != nil || len(lines) != len(all) {
		t.Fatalf("%d answers for %d bodies: %v\n%s", len(lines), len(all), err, &stderr)
	}
	return lines
}

// acceptedBodies are the good bodies and as many mutations of all bodies as the skim accepts, n of them.
func acceptedBodies(t *testing.T, rng *rand.Rand, n int) [][]byte {
	var good, all [][]byte
	for _, b := range bodies(t, "good") {
		good = append(good, b)
		if len(b) < 2000 {
			all = append(all, b)
		}
	}
	for _, b := range bodies(t, "bad") {
		if len(b) < 2000 {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, bytes.Compare) // so that the seed decides
	accepted := good
	for tries := 0; len(accepted) < len(good)+n && tries < 200*n; tries++ {
		body := mutate(rng, all)
		if _, refusal := wire.Skim(wire.Chat, wire.Head{}, body); refusal == nil {
			accepted = append(accepted, body)
		}
	}
	if len(accepted) < len(good)+n/2 {
		t.Fatalf("only %d mutations were accepted", len(accepted)-len(good))
	}
	return accepted
}

// tokens that parsers are known to disagree about, and some that they should not.
var tokens = []string{
	`0`, `-0`, `-0.0`, `1e308`, `1.7976931348623157e308`, `1.7976931348623159e308`, `5e-324`, `2e-324`, `1e-400`, `9007199254740993`,
	`123456789012345678901234567890`, `0.1`, `1E+2`, `1.0`, `NaN`, `Infinity`, `01`, `.5`, `+1`, `0x1`, `1_000`,
	`"\ud83d\ude00"`, `"\ud800"`, `"\udc00\ud800"`, `"\u0000"`, `"\u2028"`, `"\/"`, `"\x41"`, `"é"`, `"\\ud800"`, `"\uD83D\uDE00"`,
	`{"__proto__":{"a":1}}`, `{"":0}`, `{"a":1,"\u0061":2}`, `{"A":1,"a":2}`, `[1,]`, `[,]`, `{"a":1,}`, `'a'`, `null`, `true`, `True`,
	`[[[]]]`, `{"constructor":null}`, `/**/1`, `1//x`, "\u00a01", "\ufeff1", "\u00851", "\x0b1", "\x0c1", `"\v"`, "\"\x7f\"", "\"\u0080\"",
}

func mutate(rng *rand.Rand, all [][]byte) []byte {
	b := slices.Clone(all[rng.IntN(len(all))])
	for range 1 + rng.IntN(3) {
		if len(b) == 0 {
			return b
		}
		i := rng.IntN(len(b))
		switch rng.IntN(6) {
		case 0: // a value becomes another
			if colon := bytes.IndexByte(b[i:], ':'); colon >= 0 {
				from := i + colon + 1
				if end := bytes.IndexAny(b[from:], ",}"); end >= 0 {
					b = slices.Replace(b, from, from+end, []byte(tokens[rng.IntN(len(tokens))])...)
				}
			}
		case 1: // one more member
			if brace := bytes.IndexByte(b[i:], '{'); brace >= 0 && !bytes.HasPrefix(b[i+brace:], []byte("{}")) {
				b = slices.Insert(b, i+brace+1, []byte(fmt.Sprintf(`"m%d":%s,`, rng.IntN(1000), tokens[rng.IntN(len(tokens))]))...)
			}
		case 2: // a character is escaped
			if c := b[i]; c >= 'a' && c <= 'z' {
				b = slices.Replace(b, i, i+1, []byte(fmt.Sprintf(`\u%04x`, c))...)
			}
		case 3: // white space
			b = slices.Insert(b, i, " \n\r\t"[rng.IntN(4)])
		case 4: // another byte
			b[i] = byte(rng.IntN(256))
		case 5: // one less
			b = slices.Delete(b, i, i+1)
		}
	}
	return b
}
