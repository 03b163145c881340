//! Queries over time, in as many buckets as can be drawn.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Verdicts;
use crate::time::Timestamp;

/// Most buckets.
const MAX_BUCKETS: u64 = 160;
/// Widths of a bucket in milliseconds. Each is a multiple of the one before, so that whole buckets become one.
const WIDTHS: [u64; 23] = [
    1,
    2,
    10,
    20,
    100,
    200,
    1000,
    2000,
    10_000,
    20_000,
    60_000,
    120_000,
    600_000,
    1_200_000,
    3_600_000,
    7_200_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
    6_048_000_000,
    60_480_000_000,
    604_800_000_000,
];

/// Queries over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// Length of a bucket in milliseconds.
    pub width_ms: u64,
    /// From the first query's to the last one's, those without any among them.
    pub buckets: Vec<Bucket>,
}

/// Queries that were asked within a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// When it begins.
    pub ts: Timestamp,
    /// Its queries by verdict.
    pub verdicts: Verdicts,
}

/// Buckets that become wider as they must.
#[derive(Debug, Default)]
pub struct Buckets {
    width: usize,
    counts: BTreeMap<u64, Verdicts>,
}

impl Buckets {
    /// The bucket of a time.
    pub fn at(&mut self, ts: Timestamp) -> &mut Verdicts {
        loop {
            let index = ts.0 / 1_000_000 / WIDTHS[self.width];
            let first = self.counts.first_key_value().map_or(index, |(&at, _)| at);
            let last = self.counts.last_key_value().map_or(index, |(&at, _)| at);
            let span = last.max(index) - first.min(index);
            if span < MAX_BUCKETS || self.width + 1 == WIDTHS.len() {
                return self.counts.entry(index).or_default();
            }
            self.widen();
        }
    }

    fn widen(&mut self) {
        let ratio = WIDTHS[self.width + 1] / WIDTHS[self.width];
        self.width += 1;
        for (index, counts) in std::mem::take(&mut self.counts) {
            self.counts.entry(index / ratio).or_default().add(counts);
        }
    }

    /// All of them, without holes.
    pub fn timeline(&self) -> Timeline {
        let width_ms = WIDTHS[self.width];
        let range = match (self.counts.first_key_value(), self.counts.last_key_value()) {
            (Some((&first, _)), Some((&last, _))) => first..last + 1,
            _ => 0..0,
        };
        Timeline {
            width_ms,
            buckets: range
                .map(|index| Bucket {
                    ts: Timestamp(index * width_ms * 1_000_000),
                    verdicts: self.counts.get(&index).copied().unwrap_or_default(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_width_is_a_multiple_of_the_one_before() {
        for pair in WIDTHS.windows(2) {
            assert!(pair[1] % pair[0] == 0, "{pair:?}");
        }
        // The last one holds all that a time can be.
        assert!(u64::MAX / 1_000_000 / WIDTHS[WIDTHS.len() - 1] < MAX_BUCKETS);
    }

    #[test]
    fn buckets_are_few_and_hold_all_whatever_the_order() {
        let times = [
            5_000_000_000,
            5_001_000_000,
            1_700_000_000_000_000_000,
            0,
            1_700_000_000_500_000_000,
            u64::MAX,
        ];
        for order in [times.to_vec(), times.iter().rev().copied().collect()] {
            for many in 1..=times.len() {
                let mut buckets = Buckets::default();
                for &time in &order[..many] {
                    buckets.at(Timestamp(time)).count("leak");
                }
                let timeline = buckets.timeline();
                let sum: u64 = timeline.buckets.iter().map(|one| one.verdicts.leak).sum();
                assert_eq!(sum, many as u64);
                assert!(timeline.buckets.len() as u64 <= MAX_BUCKETS);
            }
        }
        let mut buckets = Buckets::default();
        buckets.at(Timestamp(1_000_000_000)).count("leak");
        buckets.at(Timestamp(1_100_000_000)).count("unknown");
        let timeline = buckets.timeline();
        assert_eq!((timeline.width_ms, timeline.buckets.len()), (1, 101));
        assert_eq!(Buckets::default().timeline().buckets, []);
    }
}
