package wire

type fieldIndex struct{}

// SkimChat reads a chat completion request strictly; the error names the offset and what would be right.
func SkimChat(body []byte) (*Request, *Error) { panic("stub") }

// AppendEdited appends Body with the edits applied to dst. The bytes that no edit names are copied verbatim.
func (r *Request) AppendEdited(dst []byte, edits ...Edit) []byte { panic("stub") }

// ScanChunk reads one streamed event's data (a JSON object) into c, which it resets first.
func ScanChunk(data []byte, c *Chunk) error { panic("stub") }

// ScanCompletion reads a whole non-streamed answer into c likewise.
func ScanCompletion(body []byte, c *Chunk) error { panic("stub") }

// AppendEdited appends data, which c was scanned from, with top-level fields replaced or added; Field may name one level
// below ("usage.cost").
func (c *Chunk) AppendEdited(dst, data []byte, edits ...Edit) []byte { panic("stub") }

// AppendJSON appends the envelope.
func (e *Error) AppendJSON(dst []byte) []byte { panic("stub") }
