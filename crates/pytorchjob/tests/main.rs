//! The tests of this crate, in one program: `cargo test -p pytorchjob --test tests <file>::` runs those of one file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    reason = "tests fail by panicking, and read better without ceremony"
)]

mod autoscaler;
mod details;
mod gang;
mod gang_vectors;
mod release_gang;
mod restart_all;
mod rules;
mod scenarios;
mod upgrade;
mod vectors;
