package wire

// UpstreamError is an error object as providers send it; every field may be empty. It is the provider's text: it may
// quote the request or a key, so scrub it before it goes anywhere.
type UpstreamError struct {
	Code    string // number or string, as text
	Type    string
	Message string
}

// clone keeps e itself off the heap in a scan that finds no error.
func (e UpstreamError) clone() *UpstreamError { return &e }

// maxErrorText is how much of each field of an upstream error is kept, in bytes.
const maxErrorText = 4096

// ScanError reads the body of an upstream error in one of the usual shapes: {"error": {"message", "type", "code"}},
// {"error": "text"}, {"message": "text"}, {"detail": "text"}, {"errors": […]}, and any of them in an array. It is nil
// where the body is none of them.
func ScanError(body []byte) *UpstreamError {
	s := scanner{data: body}
	var e *UpstreamError
	s.errorValue(&e)
	if !s.end() {
		return nil
	}
	return e
}

// errorValue reads an error of any shape into *into; where it is none, that stays as it is.
func (s *scanner) errorValue(into **UpstreamError) {
	switch s.peek() {
	case '"':
		if t, ok := s.text(); ok && t.size > 0 {
			*into = &UpstreamError{Message: kept(t)}
		}
	case '[':
		var first *UpstreamError
		a := s.array()
		for s.element(&a) {
			if first == nil {
				s.errorValue(&first)
			} else {
				s.skip()
			}
		}
		if first != nil {
			*into = first
		}
	case '{':
		var e UpstreamError
		var inner *UpstreamError
		o := s.object()
		for s.member(&o) {
			switch string(o.key) {
			case "error", "errors", "detail":
				s.errorValue(&inner)
			default:
				s.errorField(string(o.key), &e)
			}
		}
		switch {
		case inner != nil && inner.Message != "":
			*into = inner
			if inner.Code == "" {
				inner.Code = e.Code
			}
			if inner.Type == "" && e.Type != "error" { // {"type": "error", "error": {…}} says nothing more
				inner.Type = e.Type
			}
		case e != UpstreamError{}:
			*into = &e
		case inner != nil:
			*into = inner
		}
	default:
		s.skip()
	}
}

// errorField reads the value of one member of an error object.
func (s *scanner) errorField(name string, e *UpstreamError) {
	var into *string
	switch name {
	case "message", "msg", "Message":
		into = &e.Message
	case "type":
		into = &e.Type
	case "status": // Google's word; others repeat the number of the HTTP status here
		if e.Type == "" && s.peek() == '"' {
			into = &e.Type
		}
	case "code":
		into = &e.Code
	}
	switch c := s.peek(); {
	case into == nil:
		s.skip()
	case c == '"':
		if t, ok := s.text(); ok {
			*into = kept(t)
		}
	case c == '-' || c >= '0' && c <= '9':
		if raw, ok := s.number(); ok && into == &e.Code {
			*into = string(raw[:min(len(raw), maxErrorText)])
		}
	default:
		s.skip()
	}
}

func kept(t text) string {
	b := unescape(make([]byte, 0, min(t.size, maxErrorText)), t.raw, maxErrorText)
	return string(b[:min(len(b), maxErrorText)])
}
