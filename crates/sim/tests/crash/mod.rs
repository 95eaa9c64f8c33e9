//! The operator dies at each of its writes, before and after it is served, in each scenario, for each kind: the result is
//! the same as without the death.

mod scenarios;

use std::collections::BTreeMap;

use common::Framework;
use common::testing::{meanings, share};
use operator::FRAMEWORKS;
use sim::scenario::{Death, Scenario, ScenarioResult};
use sim::snapshot::differences;
use sim::workers::each;

/// Differences from the undisturbed run.
fn divergences(wanted: &ScenarioResult, found: &ScenarioResult) -> Vec<String> {
    let mut lines = differences(&wanted.objects, &found.objects);
    lines.extend(found.violations.iter().cloned());
    let keys: std::collections::BTreeSet<_> = wanted.counts.keys().chain(found.counts.keys()).collect();
    for key in keys {
        let of = |ending: &ScenarioResult| ending.counts.get(key).copied().unwrap_or(0);
        if of(wanted) != of(found) {
            lines.push(format!(
                "{} {}: {} times, not {}",
                key.0,
                key.1,
                of(found),
                of(wanted)
            ));
        }
    }
    lines
}

/// If a share is asked for: one in as many crashes.
const SHARE: usize = 5;

#[test]
fn dying_at_any_write_changes_nothing_in_the_end() {
    let only = std::env::var("TRAINYARD_SCENARIO").unwrap_or_default();
    let all = scenarios::all();
    let kinds = meanings(FRAMEWORKS);
    let cases: Vec<(&Scenario, &'static dyn Framework)> = all
        .iter()
        .filter(|scenario| scenario.name.contains(&only))
        .flat_map(|scenario| kinds.iter().map(move |kind| (scenario, *kind)))
        .filter(|(scenario, kind)| (scenario.applies)(kind.kind()))
        .collect();
    let undisturbed = each(&cases, |(scenario, kind)| {
        let ending = scenario.play(FRAMEWORKS, *kind, None);
        assert_eq!(
            ending.violations,
            [""; 0],
            "{} of {}",
            scenario.name,
            kind.kind().kind
        );
        assert_eq!(
            ending,
            scenario.play(FRAMEWORKS, *kind, None),
            "{} of {} is not the same twice",
            scenario.name,
            kind.kind().kind
        );
        ending
    });
    let mut deaths = Vec::new();
    for (n, ending) in undisturbed.iter().enumerate() {
        for write in 1..=ending.writes.len() {
            let both = [false, true].map(|served| (n, Death { write, served }));
            let place = |death: &Death| n + 2 * death.write + usize::from(death.served);
            // Each scenario of each kind has its share.
            let share = SHARE.min(2 * ending.writes.len());
            deaths.extend(
                both.into_iter()
                    .filter(|(_, death)| share::takes(place(death), share)),
            );
        }
    }
    let found = each(&deaths, |(n, death)| {
        let (scenario, kind) = cases[*n];
        let play = || scenario.play(FRAMEWORKS, kind, Some(*death));
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(play)) {
            Ok(ending) => divergences(&undisturbed[*n], &ending),
            Err(_) => vec!["it does not end".to_owned()],
        }
    });
    let mut table: BTreeMap<(&str, String), (usize, usize)> = BTreeMap::new();
    let mut diverged = Vec::new();
    for ((n, death), lines) in deaths.iter().zip(&found) {
        let (scenario, kind) = cases[*n];
        let kind = format!("{} {}", kind.kind().kind, kind.kind().version);
        let entry = table.entry((scenario.name, kind.clone())).or_default();
        entry.0 = undisturbed[*n].writes.len();
        if !lines.is_empty() {
            entry.1 += 1;
            let write = &undisturbed[*n].writes[death.write - 1];
            let when = if death.served { "after" } else { "before" };
            diverged.push(format!(
                "{} of {kind}, death {when} write {} ({write}):\n    {}",
                scenario.name,
                death.write,
                lines.join("\n    ")
            ));
        }
    }
    println!("scenario, kind: writes, plays that diverged");
    for ((scenario, kind), (writes, bad)) in &table {
        println!(
            "  {scenario}, {kind}: {writes} writes, {bad} of {} diverged",
            2 * writes
        );
    }
    let writes: usize = table.values().map(|(writes, _)| writes).sum();
    println!(
        "{} scenarios, {writes} writes, {} deaths, {} diverged",
        cases.len(),
        deaths.len(),
        diverged.len()
    );
    assert!(
        diverged.is_empty(),
        "{} diverged:\n{}",
        diverged.len(),
        diverged.join("\n")
    );
}
