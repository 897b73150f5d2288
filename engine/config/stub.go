package config

// Document is one parsed TOML file with the line of every key.
type Document struct{}

// Parse reads TOML; path is only for messages. A syntax error is the one problem that there is.
func Parse(path string, src []byte) (*Document, Problems) { panic("stub") }

// Path is the path that Parse was given.
func (d *Document) Path() string { panic("stub") }

// Only reports every top-level key that is not one of names, with the nearest that is.
func (d *Document) Only(names ...string) Problems { panic("stub") }

// Has says whether the top-level key is present.
func (d *Document) Has(name string) bool { panic("stub") }

// Decode fills into (a pointer) from the top-level key name, and reports every unknown key, wrong type and bad value
// below it, all at once. An absent key leaves into as it is.
func (d *Document) Decode(name string, into any) Problems { panic("stub") }

// Problem says what is wrong with a key of the table that o stands for; key "" is the table itself.
func (o Origin) Problem(key, format string, args ...any) Problem { panic("stub") }
