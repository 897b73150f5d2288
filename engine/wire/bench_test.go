package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"chaperone/engine/wire"
)

// conversation is a chat request of about n bytes: turns of prose with a few escapes, and two tools.
func conversation(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"demo/chat-large","stream":true,"temperature":0.7,"max_tokens":512,"tools":[` +
		`{"type":"function","function":{"name":"search","parameters":{"type":"object","properties":{"q":{"type":"string"}}}}}],"messages":[`)
	for i := 0; b.Len() < n; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		role := [2]string{"user", "assistant"}[i%2]
		text := strings.Repeat(`The quick brown fox jumps over the lazy dog.\n`, min(20, 1+n/1000))
		fmt.Fprintf(&b, `{"role":%q,"content":"%s"}`, role, text)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func BenchmarkSkim(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"1KiB", 1 << 10}, {"64KiB", 1 << 16}, {"1MiB", 1 << 20}} {
		b.Run(size.name, func(b *testing.B) {
			body := conversation(size.bytes)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.Skim(wire.Chat, wire.Head{}, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestASkimAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	small, large := conversation(1<<10), conversation(1<<20)
	count := func(body []byte) float64 {
		return testing.AllocsPerRun(100, func() {
			if _, err := wire.Skim(wire.Chat, wire.Head{}, body); err != nil {
				t.Fatal(err)
			}
		})
	}
	if a, b := count(small), count(large); a > 30 || b > a {
		t.Errorf("%v allocations for 1 KiB and %v for 1 MiB; should be at most 30 and no more for the larger", a, b)
	}
}
