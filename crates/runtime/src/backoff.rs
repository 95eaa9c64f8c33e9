//! Delays that double, and jitter that keeps keys and processes apart.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// `first` doubled with each failure after the first, at most `max`, give or take a fifth.
pub(crate) fn delay(first: Duration, max: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    jitter(first.saturating_mul(1 << doublings).min(max))
}

/// `duration`, give or take a fifth.
pub(crate) fn jitter(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * fraction())
}

thread_local! {
    /// The standard library's hasher keys are random enough to spread load, and cost no dependency.
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}

/// Makes the jitter of this thread a function of `seed`, so that what a test has found can be found again.
pub fn seed(seed: u64) {
    STATE.set(seed);
}

/// Somewhere in 0..1, by SplitMix64 (Steele, Lea and Flood, 2014).
fn fraction() -> f64 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let bits = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_within_a_fifth() {
        let (first, max) = (Duration::from_millis(200), Duration::from_mins(1));
        for (failures, wanted) in [
            (0, 0.2),
            (1, 0.2),
            (2, 0.4),
            (5, 3.2),
            (9, 51.2),
            (10, 60.0),
            (4_000_000, 60.0),
        ] {
            let got = delay(first, max, failures).as_secs_f64();
            assert!((wanted * 0.79..wanted * 1.21).contains(&got), "{failures}: {got}");
        }
    }

    #[test]
    fn jitter_is_a_function_of_the_seed_and_differs_from_call_to_call() {
        let three = |of: u64| {
            seed(of);
            [(); 3].map(|()| jitter(Duration::from_hours(1)))
        };
        assert_eq!(three(7), three(7));
        assert_ne!(three(7), three(8));
        let [a, b, c] = three(7);
        assert!(a != b && b != c);
    }
}
