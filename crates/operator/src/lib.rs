//! The operator's program as a library: the command line, and the frameworks that it runs.

pub mod cli;
mod helper;
pub mod manifests;
mod offline;

use common::Framework;

/// All frameworks of the operator, one line each.
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
