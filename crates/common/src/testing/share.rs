//! Shares of long tests. With `TRAINYARD_DAILY_SEED` set, as `cargo xtask test` sets it, they take a share of their cases
//! that the seed chooses; without it they take all.

/// The seed of the day, if a share is asked for.
///
/// # Panics
/// If it is set and no number.
#[must_use]
#[expect(clippy::panic, reason = "a test's own input")]
pub fn daily_seed() -> Option<u64> {
    let text = std::env::var("TRAINYARD_DAILY_SEED").ok()?;
    let seed = text.parse();
    Some(seed.unwrap_or_else(|_| panic!("TRAINYARD_DAILY_SEED is no number: {text}")))
}

/// Whether case `n` belongs to the share of one in `of`: in as many days as that, each case has its day.
#[must_use]
pub fn takes(n: usize, of: usize) -> bool {
    daily_seed().is_none_or(|seed| is_in(seed, n, of))
}

fn is_in(seed: u64, n: usize, of: usize) -> bool {
    (n as u64 + seed).is_multiple_of(of as u64)
}

/// Whether kind `kind` of `kinds` is one of the two with which case `n` runs: all kinds have a case if there are half as many
/// cases as kinds, and in as many days as there are kinds each case has run with each.
#[must_use]
pub fn takes_kind(n: usize, kind: usize, kinds: usize) -> bool {
    daily_seed().is_none_or(|seed| is_one_of_two(seed, n, kind, kinds))
}

fn is_one_of_two(seed: u64, n: usize, kind: usize, kinds: usize) -> bool {
    let first = seed + 2 * n as u64;
    [first, first + 1]
        .iter()
        .any(|chosen| chosen % kinds as u64 == kind as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_its_day() {
        for n in 0..20 {
            assert_eq!((100..107).filter(|day| is_in(*day, n, 7)).count(), 1, "{n}");
        }
    }

    #[test]
    fn a_day_has_two_kinds_of_each_case_and_a_case_of_each_kind() {
        for day in 0..20 {
            let cases = |kind| (0..5).filter(move |n| is_one_of_two(day, *n, kind, 8));
            assert!((0..8).all(|kind| cases(kind).count() > 0), "{day}");
            assert_eq!((0..8).map(|kind| cases(kind).count()).sum::<usize>(), 10, "{day}");
        }
        for n in 0..5 {
            let days = |kind| (0..8).filter(move |day| is_one_of_two(*day, n, kind, 8));
            assert!((0..8).all(|kind| days(kind).count() == 2), "{n}");
        }
    }
}
