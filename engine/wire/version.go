package wire

import (
	"strings"
	"sync"

	"chaperone/engine/wire/talk"
)

// Version is a request as one API puts it.
type Version struct {
	Body   []byte
	Cannot string // what the API has no words for; "" where it can say all

	fields fieldIndex
}

// AppendEdited is Request.AppendEdited for this version.
func (v *Version) AppendEdited(dst []byte, edits ...Edit) []byte {
	return v.fields.appendEdited(dst, v.Body, edits)
}

// Has says whether the body has a top-level field of that name, be it null.
func (v *Version) Has(name string) bool { return v.fields.last(v.Body, name) >= 0 }

// Value is the raw value of the body's top-level field of that name; nil where there is none. It shares memory with the body.
func (v *Version) Value(name string) []byte {
	i := v.fields.last(v.Body, name)
	if i < 0 {
		return nil
	}
	m := v.fields.members[i]
	return v.Body[m.value:m.end]
}

// versions remembers what a request is in other shapes: every row of a dialect asks the same.
type versions struct {
	mu   sync.Mutex
	said []said
	talk *talk.Request
}

type said struct {
	in Shape
	v  *Version
}

// unsaidShown is how much of what cannot be said a reason names.
const unsaidShown = 3

// Talk is the request's inner form, nil where it is no conversation. It must not be changed.
func (r *Request) Talk() *talk.Request {
	r.versions.mu.Lock()
	defer r.versions.mu.Unlock()
	return r.inner()
}

func (r *Request) inner() *talk.Request {
	if read := r.Shape.api().readRequest; r.versions.talk == nil && read != nil {
		r.versions.talk = read(r.Body)
	}
	return r.versions.talk
}

// In is the request in another shape: in its own, verbatim. It is the same for every caller and must not be changed.
func (r *Request) In(shape Shape) *Version {
	r.versions.mu.Lock()
	defer r.versions.mu.Unlock()
	for _, s := range r.versions.said { // of two or three at most
		if s.in == shape {
			return s.v
		}
	}
	v := &Version{}
	switch from, to := r.Shape.api(), shape.api(); {
	case shape == r.Shape:
		v.Body, v.fields = r.Body, r.fields
	case from.readRequest == nil || to.writeRequest == nil:
		v.Cannot = "has no words for a request to " + string(r.Shape)
	default:
		said := r.inner()
		body, unsaid := to.writeRequest(said)
		v.Body = body
		v.Cannot = cannotSay(append(unsaid[:len(unsaid):len(unsaid)], said.Unknown...))
		s := scanner{data: body}
		s.index(&v.fields)
	}
	r.versions.said = append(r.versions.said, said{shape, v})
	return v
}

func cannotSay(what []string) string {
	if len(what) == 0 {
		return ""
	}
	return "has no words for " + someOf(what)
}

// someOf lists the first of them.
func someOf(what []string) string {
	shown := what[:min(len(what), unsaidShown)]
	text := strings.Join(shown, "; ")
	if len(what) > len(shown) {
		text += "; and more"
	}
	return text
}
