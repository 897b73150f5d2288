package wire

import "bytes"

// RouterMetadata is the member that tells of a request what became of it
// (https://openrouter.ai/docs/guides/features/router-metadata).
const RouterMetadata = "openrouter_metadata"

// AppendAside appends a JSON object with one more member at its end. What is no object is appended as it is.
func AppendAside(dst, object []byte, name string, value []byte) []byte {
	end := len(bytes.TrimRight(object, " \t\r\n"))
	if end < 2 || object[end-1] != '}' {
		return append(dst, object...)
	}
	inside := bytes.TrimRight(object[:end-1], " \t\r\n")
	dst = append(dst, inside...)
	if inside[len(inside)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = appendString(dst, name)
	dst = append(append(dst, ':'), value...)
	return append(dst, object[end-1:]...)
}

// AppendEventsAside appends events with one more member in the object of the last one that holds an object; found says whether
// one does.
func AppendEventsAside(dst, events []byte, name string, value []byte) (out []byte, found bool) {
	const mark = "data: {"
	at := bytes.LastIndex(events, []byte(mark))
	if at < 0 || at > 0 && events[at-1] != '\n' {
		return append(dst, events...), false
	}
	from := at + len(mark) - 1
	end := bytes.IndexByte(events[from:], '\n')
	if end < 0 {
		return append(dst, events...), false
	}
	dst = append(dst, events[:from]...)
	dst = AppendAside(dst, events[from:from+end], name, value)
	return append(dst, events[from+end:]...), true
}

// ZeroUsage is JSON with every number below a member "usage" set to 0: an answer that is given once more uses nothing. What is
// no JSON stays as it is.
func ZeroUsage(data []byte) []byte {
	z := zero{scanner: scanner{data: data}}
	if !z.value(false) {
		return data
	}
	return append(z.out, data[z.at:]...)
}

// zero is one pass that copies data but for the numbers that are set to 0.
type zero struct {
	scanner
	out []byte
	at  int // up to where data is copied
}

func (z *zero) value(within bool) bool {
	switch c := z.peek(); {
	case c == '{':
		o := z.object()
		for z.member(&o) {
			if !z.value(within || string(o.key) == "usage") {
				return false
			}
		}
		return z.ok()
	case c == '[':
		a := z.array()
		for z.element(&a) {
			if !z.value(within) {
				return false
			}
		}
		return z.ok()
	case within && (c == '-' || c >= '0' && c <= '9'):
		from := z.pos
		if _, ok := z.number(); !ok {
			return false
		}
		z.out = append(append(z.out, z.data[z.at:from]...), '0')
		z.at = z.pos
		return true
	}
	return z.skip()
}
