//! Symptoms that users of other operators have reported or that those operators' code shows, one test each, named after the
//! symptom's absence. For every meaning of every kind: nothing here knows a kind by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and read better without ceremony"
)]

mod ends;
mod input;
mod kit;
mod restarts;
mod words;
