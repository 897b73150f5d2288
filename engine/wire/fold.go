package wire

import "unicode/utf8"

// folds returns the known name that a case-folding parser would take key for, and false where key is exactly known or is
// nothing like it.
//
// encoding/json folds by Unicode simple folding: besides the other case of a letter, U+017F is an s and U+212A (Kelvin)
// a k. Parsers that compare upper or lower case instead also take U+0131 and U+0130 for an i.
func folds[V any](key []byte, known map[string]V) (name string, ok bool) {
	var buf [64]byte
	folded, changed := foldKey(buf[:0], key)
	if !changed {
		return "", false
	}
	_, ok = known[string(folded)]
	return string(folded), ok
}

// foldKey appends key in lower case; changed is false where that is key itself. Keys longer than dst are no known names.
func foldKey(dst, key []byte) (folded []byte, changed bool) {
	for i := 0; i < len(key) && len(dst) < cap(dst); {
		c := key[i]
		size := 1
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
			changed = true
		case c >= utf8.RuneSelf:
			var r rune
			r, size = utf8.DecodeRune(key[i:])
			switch r {
			case 0x17f:
				c, changed = 's', true
			case 0x212a:
				c, changed = 'k', true
			case 0x130, 0x131:
				c, changed = 'i', true
			}
		}
		dst = append(dst, c)
		i += size
	}
	return dst, changed
}
