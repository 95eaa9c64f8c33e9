//! All I/O: turns the cluster into [`common::Observed`], and a [`common::Plan`] into requests.
//!
//! ```text
//!  API server ── watch ──> view ──> state ──> queue ──> reconcile ── observe ──> common::plan
//!       ^         lists,    index    records,  dedup,    one job                     │
//!       │         events             water-    delay,                                │
//!       │                            marks     back-off                              │
//!       └───────────────────────────────────── apply <───────────────────────────────┘
//! ```
//!
//! Invariant: a reconcile reads nothing from the API server. The only reads beside the watches are look-ups of single objects:
//! of an object whose acknowledged write stays invisible ([`state`]), and of an object whose name was taken ([`apply`]).

mod admin;
mod apply;
mod backoff;
mod children;
mod client;
mod clock;
mod decode;
mod events;
pub mod exec;
mod gang_discovery;
mod lease;
mod lookup;
mod merge_patch;
mod metrics;
mod node_readiness;
mod object;
mod observe;
mod queue;
mod reconcile;
mod record;
mod resource;
mod response;
mod run;
mod secrets;
pub mod shutdown;
mod source;
mod state;
pub mod telemetry;
mod view;
mod watch;
mod watermark;

pub mod access;

pub use clock::Clock;
pub use decode::{DecodeError, offline_job, offline_pod};
pub use gang_discovery::GangChoice;
pub use lease::LeaseOptions;
pub use observe::observe_whole;
pub use run::{Exit, Options, RunError, run, run_with};
