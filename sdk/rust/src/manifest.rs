/// A column's place in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column(pub(crate) usize);

/// A request field's place in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field(pub(crate) usize);

/// The place in the manifest of what is observed of finished attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed(pub(crate) usize);

/// The text of a manifest. Its names are looked up when the plugin is compiled: one that is not there is a compile error.
#[derive(Debug, Clone, Copy)]
pub struct Manifest(&'static [u8]);

impl Manifest {
    /// `Manifest::new(include_str!("../manifest.toml"))`
    pub const fn new(text: &'static str) -> Manifest {
        Manifest(text.as_bytes())
    }

    /// Finds a name in the manifest's `columns`; it panics where there is none.
    pub const fn column(self, name: &str) -> Column {
        match find(self.0, b"columns", name.as_bytes()) {
            Some(at) => Column(at),
            None => panic!("the manifest's columns have no such name"),
        }
    }

    /// Finds a name in the manifest's `request`; it panics where there is none.
    pub const fn field(self, name: &str) -> Field {
        match find(self.0, b"request", name.as_bytes()) {
            Some(at) => Field(at),
            None => panic!("the manifest's request has no such name"),
        }
    }

    /// Finds a name in the manifest's `observe`; it panics where there is none.
    pub const fn observed(self, name: &str) -> Observed {
        match find(self.0, b"observe", name.as_bytes()) {
            Some(at) => Observed(at),
            None => panic!("the manifest's observe has no such name"),
        }
    }
}

// The functions below are constant, which leaves them neither iterators nor slices of slices. They know as much of TOML as the
// lists take; the host has checked the manifest with a whole parser.

const fn at(text: &[u8], i: usize) -> u8 {
    if i < text.len() {
        text[i]
    } else {
        0
    }
}

const fn same(text: &[u8], from: usize, to: usize, want: &[u8]) -> bool {
    if to - from != want.len() {
        return false;
    }
    let mut i = 0;
    while i < want.len() {
        if text[from + i] != want[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Where the value of a top-level key begins.
const fn value(text: &[u8], key: &[u8]) -> Option<usize> {
    let mut i = 0;
    while i < text.len() {
        while at(text, i) == b' ' || at(text, i) == b'\t' {
            i += 1;
        }
        if at(text, i) == b'[' {
            return None; // a table: the top level has ended
        }
        let quoted = at(text, i) == b'"' || at(text, i) == b'\'';
        if quoted {
            i += 1;
        }
        let from = i;
        while !matches!(at(text, i), 0 | b'\n' | b'=' | b' ' | b'\t' | b'"' | b'\'') {
            i += 1;
        }
        let found = same(text, from, i, key);
        while !matches!(at(text, i), 0 | b'\n' | b'=') {
            i += 1;
        }
        if found && at(text, i) == b'=' {
            i += 1;
            while at(text, i) == b' ' || at(text, i) == b'\t' {
                i += 1;
            }
            return Some(i);
        }
        while i < text.len() && at(text, i) != b'\n' {
            i += 1;
        }
        i += 1;
    }
    None
}

const fn find(text: &[u8], list: &[u8], name: &[u8]) -> Option<usize> {
    let mut i = match value(text, list) {
        Some(i) => i,
        None => return None,
    };
    if at(text, i) != b'[' {
        return None;
    }
    i += 1;
    let mut place = 0;
    while i < text.len() && text[i] != b']' {
        match text[i] {
            b'#' => {
                while i < text.len() && text[i] != b'\n' {
                    i += 1;
                }
            }
            quote @ (b'"' | b'\'') => {
                i += 1;
                let from = i;
                while i < text.len() && text[i] != quote {
                    i += 1;
                }
                if same(text, from, i, name) {
                    return Some(place);
                }
                place += 1;
                i += 1;
            }
            _ => i += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "abi = 1 # of a test\n\"columns\" = [\n  \"price.expected\", # USD ]\n  'label:tier=gold',\n]\nrequest=[\"n\"]\n[fuel]\nobserve = [\"ok\"]\n";

    #[test]
    fn names_are_found_in_their_own_list() {
        const M: Manifest = Manifest::new(TEXT);
        const GOLD: Column = M.column("label:tier=gold");
        assert_eq!(GOLD, Column(1));
        assert_eq!(M.column("price.expected"), Column(0));
        assert_eq!(M.field("n"), Field(0));
        assert_eq!(find(TEXT.as_bytes(), b"columns", b"price"), None);
        assert_eq!(find(TEXT.as_bytes(), b"columns", b"n"), None);
        assert_eq!(find(TEXT.as_bytes(), b"observe", b"ok"), None);
        assert_eq!(find(b"columns = [\"a", b"columns", b"b"), None);
        assert_eq!(find(b"columns", b"columns", b"b"), None);
    }
}
