//! Bugs that controllers of this sort have had, each provoked on purpose. Tests are named after the symptom; in brackets
//! stands the place of its first description. `Fixture::closes` checks all invariants at the end of each scenario.

#[allow(
    dead_code,
    reason = "a helper for all modules, whether they have their scenarios yet or not"
)]
mod fixture;
mod gangs;
mod names;
mod nodes;
mod process;
mod restarts;
mod status;
mod steps;
mod strays;
mod suspension;
mod times;
mod views;
