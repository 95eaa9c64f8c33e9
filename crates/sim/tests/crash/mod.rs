//! The operator dies at each of its writes, before and after it is carried out, in each story, for each kind: the end is
//! the same as if it had not.

mod stories;

use std::collections::BTreeMap;

use common::Framework;
use common::testing::meanings;
use operator::FRAMEWORKS;
use sim::snapshot::differences;
use sim::story::{Death, Ending, Story};
use sim::workers::each;

/// Plays that differ from the undisturbed one.
fn divergences(wanted: &Ending, found: &Ending) -> Vec<String> {
    let mut lines = differences(&wanted.objects, &found.objects);
    lines.extend(found.violations.iter().cloned());
    let keys: std::collections::BTreeSet<_> = wanted.counts.keys().chain(found.counts.keys()).collect();
    for key in keys {
        let of = |ending: &Ending| ending.counts.get(key).copied().unwrap_or(0);
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

#[test]
fn dying_at_any_write_changes_nothing_in_the_end() {
    let only = std::env::var("TRAINYARD_STORY").unwrap_or_default();
    let all = stories::all();
    let kinds = meanings(FRAMEWORKS);
    let cases: Vec<(&Story, &'static dyn Framework)> = all
        .iter()
        .filter(|story| story.name.contains(&only))
        .flat_map(|story| kinds.iter().map(move |kind| (story, *kind)))
        .filter(|(story, kind)| (story.applies)(kind.kind()))
        .collect();
    let undisturbed = each(&cases, |(story, kind)| {
        let ending = story.play(FRAMEWORKS, *kind, None);
        assert_eq!(
            ending.violations,
            [""; 0],
            "{} of {}",
            story.name,
            kind.kind().kind
        );
        assert_eq!(
            ending,
            story.play(FRAMEWORKS, *kind, None),
            "{} of {} is not the same twice",
            story.name,
            kind.kind().kind
        );
        ending
    });
    let mut deaths = Vec::new();
    for (n, ending) in undisturbed.iter().enumerate() {
        for write in 1..=ending.writes.len() {
            deaths.extend([false, true].map(|carried_out| (n, Death { write, carried_out })));
        }
    }
    let found = each(&deaths, |(n, death)| {
        let (story, kind) = cases[*n];
        let play = || story.play(FRAMEWORKS, kind, Some(*death));
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(play)) {
            Ok(ending) => divergences(&undisturbed[*n], &ending),
            Err(_) => vec!["it does not end".to_owned()],
        }
    });
    let mut table: BTreeMap<(&str, String), (usize, usize)> = BTreeMap::new();
    let mut diverged = Vec::new();
    for ((n, death), lines) in deaths.iter().zip(&found) {
        let (story, kind) = cases[*n];
        let kind = format!("{} {}", kind.kind().kind, kind.kind().version);
        let entry = table.entry((story.name, kind.clone())).or_default();
        entry.0 = undisturbed[*n].writes.len();
        if !lines.is_empty() {
            entry.1 += 1;
            let write = &undisturbed[*n].writes[death.write - 1];
            let when = if death.carried_out { "after" } else { "before" };
            diverged.push(format!(
                "{} of {kind}, death {when} write {} ({write}):\n    {}",
                story.name,
                death.write,
                lines.join("\n    ")
            ));
        }
    }
    println!("story, kind: writes, plays that diverged");
    for ((story, kind), (writes, bad)) in &table {
        println!(
            "  {story}, {kind}: {writes} writes, {bad} of {} diverged",
            2 * writes
        );
    }
    let writes: usize = table.values().map(|(writes, _)| writes).sum();
    println!(
        "{} stories, {writes} writes, {} deaths, {} diverged",
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
