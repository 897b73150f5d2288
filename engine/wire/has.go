package wire

// Has says whether the body has a top-level field of that name, be it null.
func (r *Request) Has(name string) bool { return r.fields.last(r.Body, name) >= 0 }

// Has says whether data, which c was scanned from, has a top-level field of that name, be it null.
func (c *Chunk) Has(data []byte, name string) bool { return c.fields.last(data, name) >= 0 }
