//! Thompson is a scorer that learns by trying: see README.md.
use std::collections::BTreeMap;

use chaperone_scorer::{numbers, plugin, Attempts, Batch, Column, Fault, Field, Manifest, Observed, Scorer, Verdict};

mod random;
use random::Random;

const MANIFEST: Manifest = Manifest::new(include_str!("../manifest.toml"));
const ENDPOINT: Column = MANIFEST.column("endpoint");
const PRICE: Column = MANIFEST.column("price.expected");
const TTFT: Column = MANIFEST.column("stats.ttft_expected_ms");
const TPS: Column = MANIFEST.column("stats.tps_expected");
const SUCCESS: Column = MANIFEST.column("stats.success");
const TOKENS: Field = MANIFEST.field("output_tokens");
const VALUE_OF_TIME: Field = MANIFEST.field("value_of_time");
const TRIED: Observed = MANIFEST.observed("endpoint");
const OK: Observed = MANIFEST.observed("ok");
const DURATION: Observed = MANIFEST.observed("duration_ms");
const WRITTEN: Observed = MANIFEST.observed("output_tokens");

/// How many endpoints are remembered; the one that was tried longest ago makes room.
const MOST: usize = 1024;

/// Answers shorter than this say little of how fast an endpoint writes.
const LEAST_TOKENS: f64 = 20.0;

/// How much single answers differ: the standard deviation of the logarithm of milliseconds a token.
const DEVIATION: f64 = 0.5;

/// What was seen of an endpoint. The numbers of attempts fade with time.
#[derive(Clone, Copy, Default)]
struct Arm {
    successes: f64,
    failures: f64,
    answers: f64,  // whose pace is known
    log_pace: f64, // the sum of the logarithms of their milliseconds a token
    seen_ms: f64,  // when it was tried last
}

const ARM_BYTES: usize = 6 * 8; // with its endpoint

impl Arm {
    /// The arm as it counts at a later moment.
    fn faded(self, now_ms: f64, half_life_ms: f64) -> Arm {
        let share = (-(now_ms - self.seen_ms).max(0.0) / half_life_ms).exp2();
        Arm {
            successes: self.successes * share,
            failures: self.failures * share,
            answers: self.answers * share,
            log_pace: self.log_pace * share,
            seen_ms: now_ms.max(self.seen_ms),
        }
    }
}

struct Thompson {
    half_life_hours: f64,
    prior_attempts: f64,
    arms: Option<BTreeMap<u64, Arm>>, // by the bits of the endpoint's number; made at setup
    saved: Vec<u8>,
}

impl Thompson {
    fn half_life_ms(&self) -> f64 {
        self.half_life_hours * 3.6e6
    }

    fn arms(&mut self) -> &mut BTreeMap<u64, Arm> {
        self.arms.get_or_insert_with(BTreeMap::new)
    }

    /// Draws what a row might cost, in USD, from all that is believed of it.
    fn draw(&self, batch: &Batch, row: usize) -> f64 {
        let endpoint = batch.at(ENDPOINT, row).to_bits();
        let seen = self.arms.as_ref().and_then(|arms| arms.get(&endpoint)).copied().unwrap_or_default();
        let seen = seen.faded(batch.now_ms(), self.half_life_ms());
        let mut random = Random::new(batch.seed() ^ endpoint);

        // The router's own expectations count as so many attempts.
        let prior = self.prior_attempts;
        let success = match batch.at(SUCCESS, row) {
            p if p > 0.0 && p < 1.0 => p,
            _ => 0.9,
        };
        let p = random.beta(prior * success + seen.successes, prior * (1.0 - success) + seen.failures);

        let tokens = batch.field(TOKENS).max(LEAST_TOKENS);
        let expected = (batch.at(TTFT, row) / tokens + 1000.0 / batch.at(TPS, row)).ln();
        let expected = if expected.is_finite() { expected } else { 50f64.ln() };
        let weight = prior + seen.answers;
        let pace = random.normal((prior * expected + seen.log_pace) / weight, DEVIATION / weight.sqrt()).exp();

        // A failure takes time too; with probability p of success there are 1/p attempts.
        let hours = tokens * pace / 3.6e6;
        batch.at(PRICE, row) + batch.field(VALUE_OF_TIME) * hours / p
    }
}

impl Scorer for Thompson {
    const NEW: Self = Thompson { half_life_hours: 24.0, prior_attempts: 4.0, arms: None, saved: Vec::new() };

    fn configure(&mut self, json: &str) -> Verdict {
        numbers(json, &mut [("half_life_hours", &mut self.half_life_hours), ("prior_attempts", &mut self.prior_attempts)])?;
        if self.half_life_hours <= 0.0 {
            return Err(Fault::Error("half_life_hours should be greater than 0"));
        }
        if self.prior_attempts < 1.0 {
            return Err(Fault::Error("prior_attempts should be 1 or greater"));
        }
        Ok(())
    }

    fn score(&mut self, batch: &mut Batch) -> Verdict {
        for row in 0..batch.rows() {
            let cost = self.draw(batch, row);
            batch.set(row, -cost);
        }
        Ok(())
    }

    fn observe(&mut self, attempts: &Attempts) -> Verdict {
        let now = attempts.now_ms();
        for row in 0..attempts.rows() {
            let ok = attempts.at(OK, row);
            if ok.is_nan() {
                continue; // it says nothing of the endpoint
            }
            let (endpoint, half_life) = (attempts.at(TRIED, row).to_bits(), self.half_life_ms());
            let arms = self.arms();
            if arms.len() >= MOST && !arms.contains_key(&endpoint) {
                let oldest = arms.iter().min_by(|a, b| a.1.seen_ms.total_cmp(&b.1.seen_ms)).map(|(e, _)| *e);
                if let Some(oldest) = oldest {
                    arms.remove(&oldest);
                }
            }
            let arm = arms.entry(endpoint).or_default();
            *arm = arm.faded(now, half_life);
            arm.seen_ms = now;
            if ok == 0.0 {
                arm.failures += 1.0;
                continue;
            }
            arm.successes += 1.0;
            let pace = attempts.at(DURATION, row) / attempts.at(WRITTEN, row);
            if attempts.at(WRITTEN, row) >= LEAST_TOKENS && pace > 0.0 {
                arm.answers += 1.0;
                arm.log_pace += pace.ln();
            }
        }
        Ok(())
    }

    fn save(&mut self) -> &[u8] {
        let mut saved = Vec::new();
        for (endpoint, a) in self.arms().iter() {
            saved.extend_from_slice(&endpoint.to_le_bytes());
            for v in [a.successes, a.failures, a.answers, a.log_pace, a.seen_ms] {
                saved.extend_from_slice(&v.to_le_bytes());
            }
        }
        self.saved = saved;
        &self.saved
    }

    fn restore(&mut self, saved: &[u8]) -> Verdict {
        if saved.len() % ARM_BYTES != 0 || saved.len() > MOST * ARM_BYTES {
            return Err(Fault::Error(
                "what was saved is not of this scorer: it should be 48 bytes for each of at most 1,024 endpoints",
            ));
        }
        let arms = self.arms();
        for bytes in saved.chunks_exact(ARM_BYTES) {
            let mut words = bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap()));
            let endpoint = words.next().unwrap();
            let mut number = || f64::from_bits(words.next().unwrap());
            let (successes, failures, answers, log_pace, seen_ms) = (number(), number(), number(), number(), number());
            arms.insert(endpoint, Arm { successes, failures, answers, log_pace, seen_ms });
        }
        Ok(())
    }
}

plugin!(Thompson);
