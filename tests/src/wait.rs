//! Waiting for a condition, with a limit. Nothing in the lab sleeps for a fixed time and hopes.

use std::thread;
use std::time::{Duration, Instant};

/// Short enough not to be noticed in a scenario, long enough not to steal a core from the programs that are watched.
const STEP: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it has something, or the limit has passed.
pub fn until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(STEP);
    }
}

/// Like [`until`] for a plain condition.
pub fn until_true(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    until(limit, || condition().then_some(())).is_some()
}
