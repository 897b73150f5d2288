#![cfg_attr(target_arch = "wasm32", no_std)]

use chaperone_scorer::{numbers, plugin, Batch, Column, Fault, Field, Manifest, Scorer, Verdict};

const MANIFEST: Manifest = Manifest::new(include_str!("../manifest.toml"));
const PRICE: Column = MANIFEST.column("price.expected");
const TTFT: Column = MANIFEST.column("stats.ttft_expected_ms");
const VALUE_OF_TIME: Field = MANIFEST.field("value_of_time");

struct CheapAndQuick {
    patience: f64, // 1: waiting counts in full, 0: only the price does
}

impl Scorer for CheapAndQuick {
    const NEW: Self = CheapAndQuick { patience: 1.0 };

    fn configure(&mut self, json: &str) -> Verdict {
        numbers(json, &mut [("patience", &mut self.patience)])?;
        if self.patience < 0.0 {
            return Err(Fault::Error("patience should not be negative"));
        }
        Ok(())
    }

    fn score(&mut self, batch: &mut Batch) -> Verdict {
        let per_ms = batch.field(VALUE_OF_TIME) / 3.6e6 * self.patience;
        for (row, price) in batch.column(PRICE).enumerate() {
            batch.set(row, -(price + batch.at(TTFT, row) * per_ms));
        }
        Ok(())
    }
}

plugin!(CheapAndQuick);
