package wire

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// Seal stands for one piece of signed or encrypted reasoning: a hash under a key that this process alone has.
type Seal uint64

var sealKey = maphash.MakeSeed()

func sealOf(text string) Seal { return Seal(maphash.String(sealKey, text)) }

// Seals are those of the reasoning that the request sends back, each once.
func (r *Request) Seals() []Seal { return r.seals }

// noteSeal notes a signature or encrypted reasoning of that form.
func (r *Request) noteSeal(format, text string) {
	r.sealed = insert(r.sealed, format)
	if s := sealOf(text); !slices.Contains(r.seals, s) {
		r.seals = append(r.seals, s)
	}
}

// AppendSeals appends the seals that a provider's whole answer, or one event of its stream, holds.
func AppendSeals(dst []Seal, data []byte) []Seal {
	if !bytes.Contains(data, []byte(`"signature`)) && !bytes.Contains(data, []byte(`"redacted_thinking"`)) && !bytes.Contains(data, []byte(`"reasoning.encrypted"`)) {
		return dst
	}
	a := sealing{scanner: scanner{data: data}, found: dst}
	a.value()
	return a.found
}

// sealing is one pass over an answer for its seals.
type sealing struct {
	scanner
	found []Seal
}

func (a *sealing) value() {
	switch a.peek() {
	case '{':
		a.members()
	case '[':
		list := a.array()
		for a.element(&list) {
			a.value()
		}
	default:
		a.skip()
	}
}

func (a *sealing) members() {
	kind, data := "", ""
	o := a.object()
	for a.member(&o) {
		name := string(o.key)
		if a.peek() != '"' || name != "type" && name != "data" && name != "signature" {
			a.value()
			continue
		}
		t, ok := a.text()
		switch {
		case !ok || t.size == 0:
		case name == "type":
			kind = string(t.decoded())
		case name == "data":
			data = string(t.decoded())
		default:
			a.found = append(a.found, sealOf(string(t.decoded())))
		}
	}
	if data != "" && (kind == "redacted_thinking" || kind == "reasoning.encrypted") {
		a.found = append(a.found, sealOf(data))
	}
}
