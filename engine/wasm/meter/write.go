package meter

import "chaperone/engine/wasm/binary"

// write puts the module together: its own sections where they were, those that it lacks where they belong.
func (m *module) write(sections []binary.Section, size int) []byte {
	helpers := uint32(0)
	for _, needed := range m.needs {
		if needed {
			helpers++
		}
	}
	out := append(make([]byte, 0, size+size/8+256), binary.Preamble...)
	missing := []byte{binary.Global, binary.Export} // of which every module has one afterwards, in their order
	fill := func(before int) {
		for len(missing) > 0 && rank(missing[0]) < before {
			out = binary.AppendSection(out, missing[0], m.extended(missing[0], nil))
			missing = missing[1:]
		}
	}
	named := false
	for _, s := range sections {
		if s.ID == binary.Custom {
			if s.Name == "name" {
				if named || !readable(s.Content) {
					continue
				}
				named = true
			}
			out = append(out, s.Raw...)
			continue
		}
		fill(rank(s.ID))
		if len(missing) > 0 && missing[0] == s.ID {
			missing = missing[1:]
		}
		switch s.ID {
		case binary.Start:
			continue
		case binary.Type, binary.Function:
			if helpers > 0 {
				s.Content = m.extended(s.ID, s.Content)
			}
		case binary.Global, binary.Export:
			s.Content = m.extended(s.ID, s.Content)
		case binary.Table:
			s.Content = m.tableOut
		case binary.Memory:
			s.Content = m.memoryOut
		case binary.Code:
			s.Content = m.appendHelpers(append(binary.AppendU32(nil, m.bodies+helpers), m.codeOut...))
		}
		out = binary.AppendSection(out, s.ID, s.Content)
	}
	fill(1 << 8)
	return out
}

// extended is the content of a section, or of an absent one, with the rewriter's entries behind its own.
func (m *module) extended(id byte, content []byte) []byte {
	r := &binary.Reader{Src: content}
	n := uint32(0)
	if content != nil {
		n = r.U32()
	}
	var more []byte
	added := uint32(1)
	switch id {
	case binary.Type: // (i32) -> (i32), (i64) -> ()
		added = 2
		more = []byte{0x60, 1, binary.I32, 1, binary.I32, 0x60, 1, binary.I64, 0}
	case binary.Function:
		added = 0
		for by := range chargers {
			if !m.needs[by] {
				continue
			}
			added++
			if by == perRegion {
				more = binary.AppendU32(more, m.types+1)
			} else {
				more = binary.AppendU32(more, m.types)
			}
		}
	case binary.Global: // mutable i64, 0
		more = []byte{binary.I64, 1, opI64Const, 0, opEnd}
	case binary.Export:
		more = binary.AppendU32(append(binary.AppendName(nil, Counter), binary.KindGlobal), m.globals.size())
		if m.start != none {
			added++
			more = binary.AppendU32(append(binary.AppendName(more, Start), binary.KindFunction), m.start)
		}
	}
	out := binary.AppendU32(make([]byte, 0, len(content)+len(more)+8), n+added)
	out = append(out, content[r.At:]...)
	return append(out, more...)
}
