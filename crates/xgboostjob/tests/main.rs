//! The tests of this crate, in one program: `cargo test -p xgboostjob --test tests <file>::` runs those of one file.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and read better without ceremony"
)]

mod vectors;
