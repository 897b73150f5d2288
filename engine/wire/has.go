package wire

// Has says whether data, which c was scanned from, has a top-level field of that name, be it null.
func (c *Chunk) Has(data []byte, name string) bool { return c.fields.last(data, name) >= 0 }

// ID is what the provider calls the answer of which data, which c was scanned from, is a part; "" where it does not say, or says more
// than most bytes.
func (c *Chunk) ID(data []byte, most int) string {
	holds := "id"
	if c.form == startOfMessage {
		holds = "message"
	}
	i := c.fields.last(data, holds)
	if i < 0 {
		return ""
	}
	s := scanner{data: data, pos: c.fields.members[i].value}
	if c.form != startOfMessage {
		return s.label(most)
	}
	id := ""
	if s.peek() == '{' {
		o := s.object()
		for s.member(&o) {
			if string(o.key) == "id" {
				id = s.label(most)
			} else {
				s.skip()
			}
		}
	}
	return id
}

// label reads a string of up to so many bytes; "" for any other value.
func (s *scanner) label(most int) string {
	if s.peek() != '"' {
		s.skip()
		return ""
	}
	if t, ok := s.text(); ok && t.size <= most {
		return string(t.decoded())
	}
	return ""
}
