//! Ways in which controllers of this sort have broken, each provoked on purpose. Tests are named after the symptom; what
//! stands in brackets is where it was first described. After each story `Stage::closes` asks for all that must always hold.

mod acts;
mod gangs;
mod names;
mod nodes;
mod process;
mod restarts;
#[allow(
    dead_code,
    reason = "a helper for all modules, whether they have their stories yet or not"
)]
mod stage;
mod status;
mod strays;
mod suspension;
mod times;
mod views;
