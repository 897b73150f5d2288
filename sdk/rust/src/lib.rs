//! The Rust SDK for Chaperone's scorer plugins. It needs neither `std` nor an allocator; with the feature `std` a plugin may
//! use both. `README.md` beside it shows a whole scorer; `sdk/README.md` describes the interface and the vocabulary.
//!
//! ```ignore
//! #![cfg_attr(target_arch = "wasm32", no_std)]
//! use chaperone_scorer::{plugin, Batch, Column, Manifest, Scorer, Verdict};
//!
//! const MANIFEST: Manifest = Manifest::new(include_str!("../manifest.toml"));
//! const PRICE: Column = MANIFEST.column("price.expected");
//!
//! struct Cheapest;
//!
//! impl Scorer for Cheapest {
//!     const NEW: Self = Cheapest;
//!     fn score(&mut self, batch: &mut Batch) -> Verdict {
//!         for (row, price) in batch.column(PRICE).enumerate() {
//!             batch.set(row, -price);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! plugin!(Cheapest);
//! ```
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![warn(missing_docs)]

mod log;
mod manifest;
mod numbers;
#[doc(hidden)]
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, unused_imports))]
pub mod serve;

pub use log::{log, Level, Line};
pub use manifest::{Column, Field, Manifest, Observed};
pub use numbers::numbers;
pub use serve::{Attempts, Batch};

/// Why there are no scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The scorer has no opinion on this request. It costs nothing.
    Abstain,
    /// The scorer abstains and its instance is lost; the text goes to the log.
    Error(&'static str),
    /// As `Error`, where the text has been logged already, for one that is made of several: see [`Line`].
    Logged,
}

/// What a function of a scorer returns.
pub type Verdict = Result<(), Fault>;

/// A scorer. One call at a time is made of it.
pub trait Scorer: Sized {
    /// The scorer as it is before it is configured, with the defaults.
    const NEW: Self;

    /// Is called once, first: the place for what a constant cannot hold.
    fn setup(&mut self) {}

    /// Is given the operator's configuration, a JSON object, once before the first batch. An error refuses the plugin at load,
    /// with its text in the message. [`numbers`] reads the usual kind.
    fn configure(&mut self, json: &str) -> Verdict {
        if json == "{}" {
            return Ok(());
        }
        Err(Fault::Error("there is a configuration, but this scorer takes none"))
    }

    /// Scores a batch; rows that it does not set stay NaN, no opinion.
    fn score(&mut self, batch: &mut Batch) -> Verdict;

    /// Learns from finished attempts: those of a stateful plugin's manifest.
    fn observe(&mut self, _attempts: &Attempts) -> Verdict {
        Ok(())
    }

    /// What was learned, as bytes that [`Scorer::restore`] understands, of this version and of later ones.
    fn save(&mut self) -> &[u8] {
        &[]
    }

    /// Takes over what an earlier instance saved. An error makes the plugin begin anew.
    fn restore(&mut self, saved: &[u8]) -> Verdict {
        if saved.is_empty() {
            return Ok(());
        }
        Err(Fault::Error("there is saved state, but this scorer keeps none"))
    }
}
