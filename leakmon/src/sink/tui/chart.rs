//! Counts over time, in a bounded number of buckets.

use std::collections::VecDeque;

/// Buckets kept: more than a terminal has columns for a chart.
const MAX_BUCKETS: usize = 512;
/// Seconds over which a rate is taken.
const WINDOW: u64 = 10;

/// What happened in a bucket's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Names asked.
    pub queries: u64,
    /// Those of them that leaked.
    pub leaks: u64,
}

/// Counts over time.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The second in which the first bucket begins.
    start: u64,
    /// Seconds a bucket.
    width: u64,
    buckets: VecDeque<Bucket>,
    /// When full: makes its buckets wider, and so keeps the whole run; else it forgets the oldest.
    folds: bool,
}

impl Chart {
    /// The latest seconds, one a bucket.
    pub fn sliding() -> Self {
        Self {
            start: 0,
            width: 1,
            buckets: VecDeque::new(),
            folds: false,
        }
    }

    /// All of a run, in buckets that grow with it.
    pub fn whole() -> Self {
        Self {
            folds: true,
            ..Self::sliding()
        }
    }

    /// Time has come to this second.
    pub fn advance(&mut self, second: u64) {
        if self.buckets.is_empty() {
            self.start = second;
        }
        let Some(ahead) = second.checked_sub(self.start) else {
            return;
        };
        if self.folds {
            while ahead / self.width >= MAX_BUCKETS as u64 {
                self.fold();
            }
        } else if let Some(over) = ahead.checked_sub(MAX_BUCKETS as u64 - 1) {
            let gone = usize::try_from(over).unwrap_or(usize::MAX);
            self.buckets.drain(..gone.min(self.buckets.len()));
            self.start += over;
        }
        // Less than MAX_BUCKETS by what was done above.
        let last = usize::try_from((second - self.start) / self.width).unwrap_or(0);
        if self.buckets.len() <= last {
            self.buckets.resize(last + 1, Bucket::default());
        }
    }

    /// The bucket of a second; `None` for one that is not kept any more.
    pub fn at(&mut self, second: u64) -> Option<&mut Bucket> {
        let index = second.checked_sub(self.start)? / self.width;
        self.buckets.get_mut(usize::try_from(index).ok()?)
    }

    /// The latest buckets, not more than `most`, the oldest first.
    pub fn latest(&self, most: usize) -> Vec<Bucket> {
        let skipped = self.buckets.len().saturating_sub(most);
        self.buckets.iter().skip(skipped).copied().collect()
    }

    /// All buckets, so many put together that there are not more than `most`.
    pub fn squeezed(&self, most: usize) -> Vec<Bucket> {
        let together = self.buckets.len().div_ceil(most.max(1)).max(1);
        let buckets: Vec<Bucket> = self.buckets.iter().copied().collect();
        buckets.chunks(together).map(sum).collect()
    }

    fn fold(&mut self) {
        self.width *= 2;
        let buckets: Vec<Bucket> = self.buckets.drain(..).collect();
        self.buckets = buckets.chunks(2).map(sum).collect();
    }
}

fn sum(buckets: &[Bucket]) -> Bucket {
    buckets.iter().fold(Bucket::default(), |all, one| Bucket {
        queries: all.queries + one.queries,
        leaks: all.leaks + one.leaks,
    })
}

/// How often something happened in the last seconds.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    latest: u64,
    counts: [u32; WINDOW as usize],
}

impl Rate {
    /// It happened in this second.
    pub fn add(&mut self, second: u64) {
        for passed in (self.latest + 1..=second).rev().take(WINDOW as usize) {
            self.counts[(passed % WINDOW) as usize] = 0;
        }
        self.latest = self.latest.max(second);
        if self.latest - second < WINDOW {
            let count = &mut self.counts[(second % WINDOW) as usize];
            *count = count.saturating_add(1);
        }
    }

    /// Times a second, as seen from this second of a run that began in `begin`.
    pub fn a_second(&self, second: u64, begin: u64) -> f64 {
        let happened: u32 = (0..WINDOW)
            .filter_map(|back| second.checked_sub(back))
            .filter(|kept| *kept <= self.latest && self.latest - kept < WINDOW)
            .map(|kept| self.counts[(kept % WINDOW) as usize])
            .sum();
        let span = (second.saturating_sub(begin) + 1).clamp(1, WINDOW);
        #[expect(clippy::cast_precision_loss, reason = "at most ten")]
        let span = span as f64;
        f64::from(happened) / span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries(buckets: &[Bucket]) -> Vec<u64> {
        buckets.iter().map(|bucket| bucket.queries).collect()
    }

    fn count(chart: &mut Chart, second: u64) {
        chart.advance(second);
        chart.at(second).unwrap().queries += 1;
    }

    #[test]
    fn a_sliding_chart_has_the_latest_seconds() {
        let mut chart = Chart::sliding();
        for second in [100, 100, 103, 102] {
            count(&mut chart, second);
        }
        assert_eq!(queries(&chart.latest(9)), [2, 0, 1, 1]);
        assert_eq!(queries(&chart.latest(2)), [1, 1]);
        count(&mut chart, 102 + MAX_BUCKETS as u64);
        assert_eq!(chart.buckets.len(), MAX_BUCKETS);
        assert!(chart.at(102).is_none());
        assert_eq!(chart.at(103).unwrap().queries, 1);
        chart.advance(u64::MAX);
        assert_eq!(chart.buckets.len(), MAX_BUCKETS);
        assert_eq!(queries(&chart.latest(600)).iter().sum::<u64>(), 0);
    }

    #[test]
    fn a_whole_chart_loses_nothing() {
        let mut chart = Chart::whole();
        for second in 0..3000 {
            count(&mut chart, 50 + second);
        }
        assert!(chart.buckets.len() <= MAX_BUCKETS);
        assert_eq!(chart.width, 8);
        assert_eq!(queries(&chart.squeezed(600)).iter().sum::<u64>(), 3000);
        assert!(chart.squeezed(10).len() <= 10);
        assert_eq!(queries(&chart.squeezed(10)).iter().sum::<u64>(), 3000);
        chart.advance(u64::MAX);
        assert_eq!(queries(&chart.squeezed(1)), [3000]);
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::default();
        for second in [100, 100, 101, 104] {
            rate.add(second);
        }
        let close = |got: f64, want: f64| (got - want).abs() < 1e-9;
        assert!(close(rate.a_second(100, 100), 2.0));
        assert!(close(rate.a_second(104, 100), 4.0 / 5.0));
        assert!(close(rate.a_second(110, 90), 2.0 / 10.0));
        assert!(close(rate.a_second(200, 90), 0.0));
        rate.add(1_000_000);
        assert!(close(rate.a_second(1_000_000, 90), 0.1));
    }
}
