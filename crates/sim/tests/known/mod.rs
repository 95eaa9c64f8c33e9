//! Ways in which controllers of this sort have broken, each provoked on purpose. Tests are named after the symptom; what
//! stands in brackets is where it was first described. After each scenario `Fixture::closes` asks for all that must always hold.

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
