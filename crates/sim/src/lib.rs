//! For tests only: a cluster in memory, in which the real operator runs on simulated time.
//!
//! ```text
//!  runtime (the real one) ── kube::Client ── link ── server ── store ── checker
//!                                             │                  │
//!                                      network_faults        kubernetes
//!                                                     (kubelets, scheduler, ...)
//! ```
//!
//! Every run is a function of a seed: time is tokio's, paused, and nothing else is random. No kind of job is known here
//! except by its `KindInfo` and CRD: tests run over the operator's registry.
//!
//! Words:
//!
//! * **Scenario**: steps that happen to one job on a cluster (`scenario`).
//! * **Fixture**: a cluster, a job and an operator as a test needs them (`tests/known/fixture.rs`).
//! * **Invariant checker**: looks at each request and each change (`checker`).
//! * **Fault injector**: changes pods, nodes, jobs, watches and clocks (`fault_injector`). **Network faults** happen to the
//!   requests and watches of one operator (`network_faults`).
//! * **Chaos run**: all faults at random, from a seed; then the job must come to its end (`chaos`).
//!
//! Three API servers in memory exist in this repository, each for another question:
//!
//! | where | answers requests | tests |
//! |---|---|---|
//! | this crate | as a real API server does, which `tests/conformance` checks against one | the whole runtime under faults: watches, writes, leases, restarts of the process |
//! | `common::testing::World` | not at all: plans are applied to values | decisions only: scenarios with transcripts, laws, the model |
//! | HTTP servers in tests of crate `runtime` | with prepared answers | one part of the runtime: a client, a watch, an exec session |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::must_use_candidate,
    clippy::missing_panics_doc,
    clippy::needless_for_each,
    clippy::semicolon_if_nothing_returned,
    reason = "this crate is a test: it fails by panicking, and reads better without ceremony"
)]

pub mod chaos;
pub mod checker;
pub mod cluster;
pub mod conformance;
pub mod fault_injector;
pub mod fault_log;
pub mod kubernetes;
pub mod link;
pub mod names;
pub mod network_faults;
pub mod ops;
pub mod process;
pub mod quiet;
pub mod refusal;
pub mod request;
pub mod rng;
pub mod scenario;
pub mod schema;
pub mod selector;
pub mod server;
pub mod snapshot;
pub mod store;
pub mod timers;
pub mod types;
pub mod value;
pub mod workers;
