//! Delays that double, and jitter that keeps keys and processes apart.

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

/// Somewhere in 0..1. The standard library's hasher keys are random enough to spread load, and cost no dependency.
fn fraction() -> f64 {
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
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
}
