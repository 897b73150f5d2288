//! Committed-spend is a scorer that uses up what has been committed to be spent before it spends anything else: see README.md.
#![cfg_attr(target_arch = "wasm32", no_std)]

use chaperone_scorer::{numbers, plugin, Attempts, Batch, Column, Fault, Manifest, Observed, Scorer, Verdict};

const MANIFEST: Manifest = Manifest::new(include_str!("../manifest.toml"));
const PRICE: Column = MANIFEST.column("price.expected");
const COMMITMENT: Column = MANIFEST.column("attr.commitment");
const COMMITTED: Column = MANIFEST.column("attr.commitment_usd");
const SPENT_ON: Observed = MANIFEST.observed("attr.commitment");
const COST: Observed = MANIFEST.observed("cost_usd");

/// How many commitments there can be.
const MOST: usize = 64;

/// What was spent on a commitment in a period.
#[derive(Clone, Copy)]
struct Account {
    commitment: f64,
    period: f64,
    spent: f64,
}

struct CommittedSpend {
    paid_share: f64,
    first_day: f64,
    accounts: [Account; MOST],
    count: usize,
    saved: [u8; 24 * MOST],
}

/// The day of the month, from 1, and the months since 1970, UTC: Howard Hinnant's civil_from_days.
fn date(unix_ms: f64) -> (f64, i64) {
    let days = (unix_ms as i64).div_euclid(86_400_000) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153; // from March
    let day = of_year - (153 * month + 2) / 5 + 1;
    (day as f64, (era * 400 + year_of_era - 1970) * 12 + month + 2)
}

impl CommittedSpend {
    /// The number of the period in which a moment lies.
    fn period(&self, unix_ms: f64) -> f64 {
        let (day, months) = date(unix_ms);
        (if day < self.first_day { months - 1 } else { months }) as f64
    }

    fn spent(&self, commitment: f64, period: f64) -> f64 {
        self.accounts[..self.count].iter().find(|a| a.commitment == commitment && a.period == period).map_or(0.0, |a| a.spent)
    }

    fn spend(&mut self, commitment: f64, period: f64, usd: f64) {
        let place = match self.accounts[..self.count].iter().position(|a| a.commitment == commitment) {
            Some(place) => place,
            None if self.count < MOST => {
                self.count += 1;
                self.count - 1
            }
            None => return, // README.md says how many there can be
        };
        let account = &mut self.accounts[place];
        if account.commitment != commitment || account.period != period {
            *account = Account { commitment, period, spent: 0.0 };
        }
        account.spent += usd;
    }
}

impl Scorer for CommittedSpend {
    const NEW: Self = CommittedSpend {
        paid_share: 0.01,
        first_day: 1.0,
        accounts: [Account { commitment: 0.0, period: 0.0, spent: 0.0 }; MOST],
        count: 0,
        saved: [0; 24 * MOST],
    };

    fn configure(&mut self, json: &str) -> Verdict {
        numbers(json, &mut [("paid_share", &mut self.paid_share), ("first_day", &mut self.first_day)])?;
        if !(0.0..=1.0).contains(&self.paid_share) {
            return Err(Fault::Error("paid_share should be 0 to 1"));
        }
        if !(1.0..=28.0).contains(&self.first_day) {
            return Err(Fault::Error("first_day should be 1 to 28"));
        }
        Ok(())
    }

    fn score(&mut self, batch: &mut Batch) -> Verdict {
        let period = self.period(batch.now_ms());
        for (row, price) in batch.column(PRICE).enumerate() {
            let committed = batch.at(COMMITTED, row);
            let left = committed - self.spent(batch.at(COMMITMENT, row), period);
            // A row without a commitment has nothing left: that comparison with NaN is false.
            let share = if left >= price { self.paid_share } else { 1.0 };
            batch.set(row, -price * share);
        }
        Ok(())
    }

    fn observe(&mut self, attempts: &Attempts) -> Verdict {
        let period = self.period(attempts.now_ms());
        for row in 0..attempts.rows() {
            let (commitment, usd) = (attempts.at(SPENT_ON, row), attempts.at(COST, row));
            if !commitment.is_nan() && usd > 0.0 {
                self.spend(commitment, period, usd);
            }
        }
        Ok(())
    }

    fn save(&mut self) -> &[u8] {
        for (account, bytes) in self.accounts[..self.count].iter().zip(self.saved.chunks_exact_mut(24)) {
            bytes[..8].copy_from_slice(&account.commitment.to_le_bytes());
            bytes[8..16].copy_from_slice(&account.period.to_le_bytes());
            bytes[16..].copy_from_slice(&account.spent.to_le_bytes());
        }
        &self.saved[..24 * self.count]
    }

    fn restore(&mut self, saved: &[u8]) -> Verdict {
        if saved.len() % 24 != 0 || saved.len() > 24 * MOST {
            return Err(Fault::Error(
                "what was saved is not of this scorer: it should be 24 bytes for each of at most 64 commitments",
            ));
        }
        self.count = saved.len() / 24;
        for (account, bytes) in self.accounts.iter_mut().zip(saved.chunks_exact(24)) {
            let number = |at: usize| {
                let mut eight = [0; 8];
                eight.copy_from_slice(&bytes[at..at + 8]);
                f64::from_le_bytes(eight)
            };
            *account = Account { commitment: number(0), period: number(8), spent: number(16) };
        }
        Ok(())
    }
}

plugin!(CommittedSpend);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_begin_on_their_first_day() {
        assert_eq!(date(0.0), (1.0, 0));
        assert_eq!(date(951_782_400_000.0), (29.0, 361)); // 29 February 2000
        assert_eq!(date(1_798_761_600_000.0), (1.0, 684)); // 1 January 2027
        let mut s = CommittedSpend::NEW;
        assert_eq!(s.period(1_798_761_599_999.0), 683.0);
        assert_eq!(s.period(1_798_761_600_000.0), 684.0);
        s.first_day = 15.0;
        assert_eq!(s.period(1_798_761_600_000.0), 683.0);
        assert_eq!(s.period(1_798_761_600_000.0 + 14.0 * 86_400_000.0), 684.0);
    }
}
