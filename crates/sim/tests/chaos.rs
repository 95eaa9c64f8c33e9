//! Chaos runs, one per seed: invariants hold at each step, and the job comes to its end once the faults are over.
//!
//! `TRAINYARD_SEEDS=10000` sets their number, `TRAINYARD_FIRST_SEED=500` the first seed; `TRAINYARD_SEED=17` runs one seed and
//! prints all changes.

use std::collections::BTreeMap;

use common::testing::share;
use operator::FRAMEWORKS;
use sim::chaos::{Report, run};
use sim::workers::each;

/// Number of seeds by default.
const SEEDS: u64 = 500;
/// As many of them if a share is asked for, and as many that are the day's own.
const SHARE: u64 = 60;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// Report of a seed; a panic counts as a violation.
fn of_seed(seed: u64, traced: bool) -> Report {
    std::panic::catch_unwind(|| run(FRAMEWORKS, seed, traced)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            seed,
            kind: "?".to_owned(),
            violations: vec![format!("panicked: {}", text.unwrap_or_default())],
            faults: BTreeMap::new(),
            writes: Vec::new(),
            trace: Vec::new(),
        }
    })
}

#[test]
fn no_chaos_run_breaks_an_invariant_or_a_job() {
    let one = number("TRAINYARD_SEED");
    let (first, count) = (number("TRAINYARD_FIRST_SEED"), number("TRAINYARD_SEEDS"));
    let day = share::daily_seed().filter(|_| first.or(count).is_none());
    let seeds: Vec<u64> = match (one, day) {
        (Some(seed), _) => vec![seed],
        (None, Some(day)) => (0..SHARE).chain((day + 1) * SHARE..(day + 2) * SHARE).collect(),
        (None, None) => {
            let first = first.unwrap_or(0);
            (first..first + count.unwrap_or(SEEDS)).collect()
        }
    };
    let reports = each(&seeds, |seed| of_seed(*seed, one.is_some()));
    let mut faults: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut failed = Vec::new();
    for report in &reports {
        for (what, times) in &report.faults {
            *faults.entry(what).or_default() += times;
        }
        let of_kind = kinds.entry(&report.kind).or_default();
        of_kind.0 += 1;
        if one.is_some() {
            println!("{}", report.trace.join("\n"));
        }
        if !report.violations.is_empty() {
            of_kind.1 += 1;
            failed.push(format!(
                "seed {} ({}):\n    {}",
                report.seed,
                report.kind,
                report.violations.join("\n    ")
            ));
        }
    }
    println!("what happened: {faults:?}");
    println!("runs and failures by kind: {kinds:?}");
    println!("{} seeds, {} failed", seeds.len(), failed.len());
    assert!(
        failed.is_empty(),
        "{} of {} seeds failed; run one by TRAINYARD_SEED=<seed> cargo test --package sim --test tests chaos:: -- --nocapture\n{}",
        failed.len(),
        seeds.len(),
        failed.join("\n")
    );
}

#[test]
fn a_chaos_run_is_a_function_of_its_seed() {
    for seed in [3, 10, 25, 32] {
        assert_eq!(run(FRAMEWORKS, seed, true), run(FRAMEWORKS, seed, true));
    }
}
