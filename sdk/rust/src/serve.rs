//! What the host calls; sdk/README.md describes it.

use crate::{Column, Fault, Field, Level, Observed, Scorer, Verdict};

/// A view of the arena: the candidates of one request.
pub struct Batch {
    rows: usize,
    capacity: usize,
    columns: *const f64,
    request: *const f64,
    scores: *mut f64,
    now_ms: f64,
    seed: u64,
}

/// The values of a column, one per row, in order.
pub type Values<'a> = core::iter::Copied<core::slice::Iter<'a, f64>>;

impl Batch {
    /// How many candidates there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a column, one per row; what is not known is NaN. They may be read while scores are set.
    pub fn column(&self, column: Column) -> Values<'static> {
        self.values(column).iter().copied()
    }

    /// One value of a column.
    pub fn at(&self, column: Column, row: usize) -> f64 {
        self.values(column)[row]
    }

    // The columns are apart from the scores, and nothing writes to them while a scorer runs. A scorer that kept the iterator
    // would read the values of a later batch, never anything but numbers of the arena.
    fn values(&self, column: Column) -> &'static [f64] {
        unsafe { core::slice::from_raw_parts(self.columns.add(column.0 * self.capacity), self.rows) }
    }

    /// The value of a request field; NaN where it is not known.
    pub fn field(&self, field: Field) -> f64 {
        unsafe { *self.request.add(field.0) }
    }

    /// The scores, one per row, NaN (no opinion) before; higher is better.
    pub fn scores(&mut self) -> &mut [f64] {
        unsafe { core::slice::from_raw_parts_mut(self.scores, self.rows) }
    }

    /// Sets the score of a row.
    pub fn set(&mut self, row: usize, score: f64) {
        self.scores()[row] = score
    }

    /// Unix time in milliseconds.
    pub fn now_ms(&self) -> f64 {
        self.now_ms
    }

    /// The same for the same request: what a scorer that needs randomness should take it from.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// Finished attempts, a row each.
pub struct Attempts(Batch);

impl Attempts {
    /// How many attempts there are.
    pub fn rows(&self) -> usize {
        self.0.rows
    }

    /// What was observed of the attempts, one value each; what is not known is NaN.
    pub fn column(&self, observed: Observed) -> Values<'static> {
        self.0.column(Column(observed.0))
    }

    /// What was observed of one attempt.
    pub fn at(&self, observed: Observed, row: usize) -> f64 {
        self.0.at(Column(observed.0), row)
    }

    /// Unix time in milliseconds.
    pub fn now_ms(&self) -> f64 {
        self.0.now_ms
    }

    /// The same for the same batch of attempts.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }
}

/// The arena's address. A module has one thread.
#[cfg(target_arch = "wasm32")]
static mut ARENA: *mut u8 = core::ptr::null_mut();

#[cfg(target_arch = "wasm32")]
unsafe fn arena(length: i32) -> &'static [u8] {
    core::slice::from_raw_parts(ARENA, length as usize)
}

#[cfg(target_arch = "wasm32")]
unsafe fn batch(rows: i32) -> Batch {
    let word = |i: usize| *ARENA.cast::<u32>().add(i) as usize;
    Batch {
        rows: rows as usize,
        capacity: word(2),
        columns: ARENA.add(word(4)).cast(),
        request: ARENA.add(word(5)).cast(),
        scores: ARENA.add(word(6)).cast(),
        now_ms: *ARENA.add(32).cast::<f64>(),
        seed: *ARENA.add(40).cast::<u64>(),
    }
}

fn status(verdict: Verdict) -> i32 {
    match verdict {
        Ok(()) => 0,
        Err(Fault::Abstain) => 1,
        Err(Fault::Error(text)) => {
            crate::log(Level::Error, text);
            2
        }
        Err(Fault::Logged) => 2,
    }
}

/// Takes memory of its own for the arena, which starts on a page and so is aligned.
#[cfg(target_arch = "wasm32")]
pub unsafe fn init<S: Scorer>(scorer: &mut S, bytes: i32) -> *mut u8 {
    #[cfg(feature = "std")]
    std::panic::set_hook(std::boxed::Box::new(|panic| panicked(panic)));
    let pages = (bytes as usize + 65535) / 65536;
    match core::arch::wasm32::memory_grow(0, pages) {
        usize::MAX => return core::ptr::null_mut(),
        before => ARENA = (before * 65536) as *mut u8,
    }
    scorer.setup();
    ARENA
}

#[cfg(target_arch = "wasm32")]
pub unsafe fn configure<S: Scorer>(scorer: &mut S, length: i32) -> i32 {
    match core::str::from_utf8(arena(length)) {
        Ok(json) => status(scorer.configure(json)),
        Err(_) => status(Err(Fault::Error("the configuration is not UTF-8"))),
    }
}

#[cfg(target_arch = "wasm32")]
pub unsafe fn score<S: Scorer>(scorer: &mut S, rows: i32) -> i32 {
    status(scorer.score(&mut batch(rows)))
}

#[cfg(target_arch = "wasm32")]
pub unsafe fn observe<S: Scorer>(scorer: &mut S, rows: i32) -> i32 {
    status(scorer.observe(&Attempts(batch(rows))))
}

#[cfg(target_arch = "wasm32")]
pub unsafe fn save<S: Scorer>(scorer: &mut S) -> i64 {
    let saved = scorer.save();
    ((saved.as_ptr() as u64) << 32 | saved.len() as u64) as i64
}

#[cfg(target_arch = "wasm32")]
pub unsafe fn restore<S: Scorer>(scorer: &mut S, length: i32) -> i32 {
    status(scorer.restore(arena(length)))
}

#[cfg(target_arch = "wasm32")]
fn panicked(panic: &dyn core::fmt::Display) {
    use core::fmt::Write;
    let mut line = crate::Line::new();
    let _ = write!(line, "{panic}");
    line.log(Level::Error);
}

#[cfg(all(target_arch = "wasm32", not(feature = "std")))]
#[panic_handler]
fn panic(panic: &core::panic::PanicInfo) -> ! {
    panicked(panic);
    core::arch::wasm32::unreachable()
}

/// Makes a type the module's one scorer.
#[macro_export]
macro_rules! plugin {
    ($scorer:ty) => {
        const _: fn() -> $scorer = || <$scorer as $crate::Scorer>::NEW;

        #[cfg(target_arch = "wasm32")]
        mod chaperone_exports {
            use super::*;
            static mut SCORER: $scorer = <$scorer as $crate::Scorer>::NEW;

            // A module has one thread, and the host makes one call at a time.
            unsafe fn scorer() -> &'static mut $scorer {
                &mut *core::ptr::addr_of_mut!(SCORER)
            }

            #[no_mangle]
            unsafe extern "C" fn chaperone_init(bytes: i32) -> *mut u8 {
                $crate::serve::init(scorer(), bytes)
            }
            #[no_mangle]
            unsafe extern "C" fn chaperone_configure(length: i32) -> i32 {
                $crate::serve::configure(scorer(), length)
            }
            #[no_mangle]
            unsafe extern "C" fn chaperone_score(rows: i32) -> i32 {
                $crate::serve::score(scorer(), rows)
            }
            #[no_mangle]
            unsafe extern "C" fn chaperone_observe(rows: i32) -> i32 {
                $crate::serve::observe(scorer(), rows)
            }
            #[no_mangle]
            unsafe extern "C" fn chaperone_save() -> i64 {
                $crate::serve::save(scorer())
            }
            #[no_mangle]
            unsafe extern "C" fn chaperone_restore(length: i32) -> i32 {
                $crate::serve::restore(scorer(), length)
            }
        }
    };
}
