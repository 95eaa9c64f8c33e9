//! Delays that double with each failure, and jitter that keeps keys and processes apart.

use std::time::Duration;

/// `first`, doubled with each failure after the first, at most `max`, plus or minus 20%.
pub(crate) fn delay(first: Duration, max: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    jitter(first.saturating_mul(1 << doublings).min(max))
}

/// `duration`, plus or minus 20%. The generator is fastrand's of this thread: a simulation makes it a function of its seed
/// with `fastrand::seed`.
pub(crate) fn jitter(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * fastrand::f64())
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
        let three = |seed: u64| {
            fastrand::seed(seed);
            [(); 3].map(|()| jitter(Duration::from_hours(1)))
        };
        assert_eq!(three(7), three(7));
        assert_ne!(three(7), three(8));
        let [a, b, c] = three(7);
        assert!(a != b && b != c);
    }
}
