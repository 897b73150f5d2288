use core::fmt::{self, Write};

/// How important a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "chaperone")]
extern "C" {
    #[link_name = "log"]
    fn host_log(level: i32, text: *const u8, length: usize);
}

/// Writes a line to the router's log, which keeps a few lines a second of at most 1,024 bytes. Outside the router it does
/// nothing.
pub fn log(level: Level, text: &str) {
    #[cfg(target_arch = "wasm32")]
    unsafe {
        host_log(level as i32, text.as_ptr(), text.len())
    }
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (level, text);
}

/// A line of at most 1,024 bytes that is put together without an allocator:
/// `write!(line, "{} should not be negative", name)`. What does not fit is left out.
pub struct Line {
    text: [u8; 1024],
    length: usize,
}

impl Line {
    /// An empty line.
    pub const fn new() -> Line {
        Line { text: [0; 1024], length: 0 }
    }

    /// The line's text.
    pub fn as_str(&self) -> &str {
        // Only whole characters are ever appended.
        core::str::from_utf8(&self.text[..self.length]).unwrap_or("")
    }

    /// Writes the line to the log.
    pub fn log(&self, level: Level) {
        log(level, self.as_str())
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let mut fits = s.len().min(self.text.len() - self.length);
        while !s.is_char_boundary(fits) {
            fits -= 1;
        }
        self.text[self.length..self.length + fits].copy_from_slice(&s.as_bytes()[..fits]);
        self.length += fits;
        Ok(())
    }
}
