//! The tests of this crate, in one program: `cargo test -p sim --test tests <file>::` runs those of one file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    clippy::duration_suboptimal_units,
    reason = "tests fail by panicking, and read better without ceremony"
)]

mod attacks;
mod chaos;
mod conformance;
mod crash;
mod found;
mod known;
mod traps;
