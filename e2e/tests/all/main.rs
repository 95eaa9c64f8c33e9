//! The end-to-end suite: one program, one module for each subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking and talk to people"
)]

mod attacks;
mod burst;
mod coscheduling;
mod elastic;
mod gang;
mod input;
mod kin;
mod kueue;
mod life;
mod lifecycle;
mod lost_node;
mod mpi;
mod namespaced;
mod node;
mod operator;
mod outage;
mod tensorflow;
mod training;
mod volcano;
