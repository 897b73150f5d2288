package wire

// Has says whether data, which c was scanned from, has a top-level field of that name, be it null.
func (c *Chunk) Has(data []byte, name string) bool { return c.fields.last(data, name) >= 0 }
