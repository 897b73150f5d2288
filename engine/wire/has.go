package wire

// Has says whether the body has a top-level field of that name, be it null.
func (r *Request) Has(name string) bool { return r.fields.last(r.Body, name) >= 0 }
