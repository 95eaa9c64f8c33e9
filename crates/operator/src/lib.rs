//! The manager binary, as a library: what is run, and how it is asked for.

pub mod cli;
mod helper;
#[expect(dead_code, reason = "what becomes deploy/ is made by a test")]
mod manifests;
mod offline;

use common::Framework;

/// Every framework that the operator knows: one line each.
#[rustfmt::skip] // `cargo xtask new-kind` adds a line
pub static FRAMEWORKS: &[&'static dyn Framework] = &[
    &pytorchjob::FRAMEWORK,
    &tfjob::FRAMEWORK,
    &mpijob::FRAMEWORK,
    &xgboostjob::FRAMEWORK,
    &jaxjob::FRAMEWORK,
    &paddlejob::FRAMEWORK,
    &mxjob::FRAMEWORK,
];
