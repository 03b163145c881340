//! How often somebody is told. What is held back is told together: nothing is left out.

use std::{collections::VecDeque, num::NonZeroUsize, time::Duration};

use lru::LruCache;

use super::bubble::{Bubble, Held, Leak};
use crate::{
    model::{Confidence, Severity},
    sink::lines::PROOF_WAIT,
    time::Timestamp,
};

/// Between one bubble and the next: long enough to read one.
const GAP: Duration = Duration::from_secs(5);
/// Bubbles in a [`MINUTE`].
const A_MINUTE: usize = 6;
const MINUTE: Duration = Duration::from_secs(60);
/// Leaks that wait for their proof; more of them at once are told together in any case.
const MAX_WAITING: usize = 256;
/// Bubbles whose place a later one may take.
const MAX_SHOWN: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Makes bubbles of leaks, not too many of them. It goes by the times that it is given, and by no clock.
#[derive(Debug)]
pub struct Limiter {
    /// Leaks that wait for their proof, and until when.
    waiting: Vec<(Timestamp, Leak)>,
    held: Held,
    /// When the bubbles of the last minute were let out.
    let_out: VecDeque<Timestamp>,
    /// Findings with a bubble of their own, and what it says.
    shown: LruCache<String, (Confidence, Severity)>,
    /// Bubbles that take the place of others.
    renewed: Vec<Bubble>,
    any_before: bool,
    /// Nothing may be held back any more.
    ends: bool,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            held: Held::default(),
            let_out: VecDeque::new(),
            shown: LruCache::new(MAX_SHOWN),
            renewed: Vec::new(),
            any_before: false,
            ends: false,
        }
    }
}

impl Limiter {
    /// Takes a leak that was said at that time; `update` when it was said before.
    pub fn take(&mut self, at: Timestamp, leak: &Leak, update: bool) {
        if !update {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.push((at.plus(PROOF_WAIT), leak.clone()));
            } else {
                self.held.add(leak);
            }
            return;
        }
        if let Some((_, waiting)) = self.waiting.iter_mut().find(|(_, one)| one.id == leak.id) {
            *waiting = leak.clone();
        } else if let Some(said) = self.shown.get_mut(&leak.id) {
            let (confidence, severity) = *said;
            if leak.confidence > confidence || leak.severity > severity {
                *said = (leak.confidence, leak.severity);
                self.renewed.push(leak.bubble(0));
            }
        } else {
            self.held.renew(leak);
        }
    }

    /// The run ends: what is held back is due.
    pub fn finish(&mut self) {
        self.ends = true;
    }

    /// The bubbles that may be shown now.
    pub fn due(&mut self, now: Timestamp) -> Vec<Bubble> {
        let mut bubbles = std::mem::take(&mut self.renewed);
        let ends = self.ends;
        let held = &mut self.held;
        self.waiting.retain(|(until, leak)| {
            let is_due = ends || *until <= now;
            if is_due {
                held.add(leak);
            }
            !is_due
        });
        if !self.held.is_empty() && self.may(now) {
            self.let_out.push_back(now);
            let made = self.held.bubble(self.any_before);
            self.any_before = true;
            if let Some((bubble, alone)) = made {
                if let Some(leak) = alone {
                    self.shown.put(leak.id, (leak.confidence, leak.severity));
                }
                bubbles.push(bubble);
            }
        }
        bubbles
    }

    fn may(&mut self, now: Timestamp) -> bool {
        while self
            .let_out
            .front()
            .is_some_and(|&earliest| now.since(earliest) >= MINUTE)
        {
            self.let_out.pop_front();
        }
        let is_quiet = |&last: &Timestamp| now.since(last) >= GAP;
        self.ends || (self.let_out.len() < A_MINUTE && self.let_out.back().is_none_or(is_quiet))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::bubble::tests, *};

    fn leak(number: u64) -> Leak {
        tests::leak(&format!("f{number}"), "curl", &format!("n{number}.example"))
    }

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp(1_000_000_000 + milliseconds * 1_000_000)
    }

    #[test]
    fn one_leak_is_one_bubble_with_its_proof() {
        let mut limiter = Limiter::default();
        limiter.take(at(0), &leak(1), false);
        assert_eq!(limiter.due(at(300)), []);
        let mut proven = leak(1);
        proven.confidence = Confidence::Proven;
        limiter.take(at(350), &proven, true);
        assert_eq!(limiter.due(at(400)), [proven.bubble(1)]);
        limiter.take(at(500), &proven, true);
        assert_eq!(limiter.due(at(90_000)), []);
        limiter.finish();
        assert_eq!(limiter.due(at(90_001)), []);
    }

    #[test]
    fn a_proof_that_comes_late_takes_the_bubbles_place_and_repetition_does_not() {
        let mut limiter = Limiter::default();
        limiter.take(at(0), &leak(1), false);
        assert_eq!(limiter.due(at(400)), [leak(1).bubble(1)]);
        limiter.take(at(500), &leak(1), true);
        assert_eq!(limiter.due(at(600)), []);
        let mut proven = leak(1);
        proven.confidence = Confidence::Proven;
        limiter.take(at(700), &proven, true);
        assert_eq!(limiter.due(at(700)), [proven.bubble(0)]);
        // It became less bad: no reason to come up again.
        proven.severity = Severity::Low;
        limiter.take(at(800), &proven, true);
        assert_eq!(limiter.due(at(800)), []);
    }

    #[test]
    fn what_comes_too_soon_is_told_together() {
        let mut limiter = Limiter::default();
        limiter.take(at(0), &leak(1), false);
        assert_eq!(limiter.due(at(400)).len(), 1);
        for number in 2..=13 {
            limiter.take(at(500), &leak(number), false);
        }
        assert_eq!(limiter.due(at(5_399)), []);
        let bubbles = limiter.due(at(5_400));
        assert_eq!(bubbles.len(), 1);
        assert_eq!(bubbles[0].title, "12 more leaks by curl");
        assert_eq!(bubbles[0].count, 12);
    }

    #[test]
    fn one_that_was_held_back_alone_has_its_own_words() {
        let mut limiter = Limiter::default();
        limiter.take(at(0), &leak(1), false);
        limiter.due(at(400));
        limiter.take(at(500), &leak(2), false);
        assert_eq!(limiter.due(at(1_000)), []);
        let mut proven = leak(2);
        proven.confidence = Confidence::Proven;
        limiter.take(at(1_100), &proven, true);
        assert_eq!(limiter.due(at(5_400)), [proven.bubble(1)]);
    }

    /// Ten leaks a second for five minutes: every one of them is told of, in at most so many bubbles a minute.
    #[test]
    fn nothing_is_left_out_of_a_flood() {
        let mut limiter = Limiter::default();
        let mut shown: Vec<(u64, u64)> = Vec::new();
        for tick in 0..3000 {
            let now = tick * 100;
            limiter.take(at(now), &leak(tick), false);
            let due = limiter.due(at(now));
            shown.extend(due.iter().map(|bubble| (now, bubble.count)));
        }
        limiter.finish();
        let last = limiter.due(at(300_000));
        let total: u64 = shown.iter().map(|(_, count)| count).sum();
        assert_eq!(total + last[0].count, 3000);
        assert_eq!(last.len(), 1);
        assert!(shown.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 5_000));
        let minute = |from: u64| {
            let in_it = |when: u64| (from..from + 60_000).contains(&when);
            shown.iter().filter(|(when, _)| in_it(*when)).count()
        };
        assert!(
            shown.iter().all(|&(when, _)| minute(when) <= A_MINUTE),
            "{shown:?}"
        );
    }

    #[test]
    fn more_at_once_than_can_wait_are_counted_too() {
        let mut limiter = Limiter::default();
        for number in 0..1000 {
            limiter.take(at(0), &leak(number), false);
        }
        limiter.finish();
        let bubbles = limiter.due(at(0));
        assert_eq!(bubbles.iter().map(|bubble| bubble.count).sum::<u64>(), 1000);
    }
}
