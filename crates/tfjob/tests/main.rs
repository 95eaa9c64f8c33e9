//! The tests of this crate, in one program: `cargo test -p tfjob --test tests <file>::` runs those of one file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    reason = "tests fail by panicking, and read better without ceremony"
)]

mod rules;
mod scenarios;
mod upstream_status;
mod vectors;
