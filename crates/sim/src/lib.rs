//! For tests alone: a cluster in memory, in which the real operator runs on time of its own.
//!
//! ```text
//!  runtime (the real one) ── kube::Client ── link ── server ── store ── checker
//!                                             │                  │
//!                                      network_faults     kubernetes
//!                                                     (kubelets, scheduler, ...)
//! ```
//!
//! Everything is a function of a seed: time is tokio's, paused; nothing else is random. Nothing here is known of any kind
//! of job but what its `KindInfo` and CRD say: the tests run over the operator's registry.
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
