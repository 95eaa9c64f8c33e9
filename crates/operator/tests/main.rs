//! The tests of this crate, in one program: `cargo test -p operator --test tests <file>::` runs those of one file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    reason = "tests fail by panicking, and read better without ceremony"
)]

mod attacks;
mod elastic;
mod fuzz;
mod gang;
mod generated;
mod laws;
mod lifecycle;
mod model;
mod names;
mod restricted;
mod rules;
mod suspend;
mod traps;
