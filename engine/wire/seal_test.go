package wire

import "testing"

// FuzzAppendSeals feeds it what a broken provider may send: it ends, and finds nothing where there is no reasoning.
func FuzzAppendSeals(f *testing.F) {
	for _, data := range []string{
		`{"content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"d"}]}`,
		`{"choices":[{"message":{"reasoning_details":[{"data":"d","type":"reasoning.encrypted"}]}}]}`,
		`{"signature":"`, `{"signature":1,"redacted_thinking":[`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if n := len(AppendSeals(nil, data)); n > len(data)/len(`"data":""`) {
			t.Errorf("%d seals in %d bytes", n, len(data))
		}
	})
}

func TestSealsAreFoundWhereverTheyStand(t *testing.T) {
	for data, want := range map[string][]Seal{
		`{"content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"d"}]}`: {sealOf("s"), sealOf("d")},
		`{"choices":[{"message":{"reasoning_details":[{"data":"d","type":"reasoning.encrypted"}]}}]}`:               {sealOf("d")},
		`{"delta":{"type":"signature_delta","signature":"s\u0021"}}`:                                                {sealOf("s!")},
		`{"type":"image","data":"d","signature":""}`:                                                                nil,
	} {
		got := AppendSeals(nil, []byte(data))
		if len(got) != len(want) {
			t.Errorf("%s: %d seals, want %d", data, len(got), len(want))
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: seal %d is another", data, i)
			}
		}
	}
}
