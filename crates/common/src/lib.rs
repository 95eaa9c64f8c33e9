//! What a training job is, and what to do next: the pure half of Trainyard.
//!
//! Nothing here does I/O, knows a clock, an environment or randomness. The runtime shows this crate one closed
//! world ([`Observed`]) and gets back one answer ([`Plan`]):
//!
//! ```text
//!  Observed { now, job, pods, services }
//!      │ resolve   raw spec -> ResolvedJob (defaults applied, checked) | Problems with field paths
//!      │ states     every replica of the replicas: missing, pending, running, terminating, succeeded, failed, previous
//!      │ decide    finished? suspended? past its deadline? failed? restart? succeeded? start what is missing
//!      v
//!  Plan { intent, writes in class order, status, events, requeue_at }
//! ```
//!
//! A framework (a crate beside this one) contributes data, the wiring of one pod and its success rule through
//! [`Framework`]; it never sees a pod object.

pub mod api;
pub mod build;
pub mod conditions;
mod decide;
pub mod elastic;
pub mod framework;
pub mod gang;
pub mod job;
pub mod kind;
pub mod names;
pub mod objects;
pub mod observe;
pub mod plan;
pub mod problems;
pub mod quantity;
pub mod replica_states;
pub mod replicas;
pub mod resolve;
pub mod settings;
pub mod status;
pub mod success;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod unreachable;
pub mod wiring;

pub use decide::plan;
pub use framework::Framework;
pub use job::ResolvedJob;
pub use kind::{KindInfo, Progress, RoleInfo};
pub use names::{Attempt, JobKey, Rank, ReplicaId, ReplicaIndex, Role, Uid};
pub use observe::{Observed, PodView, RawJob};
pub use plan::{Event, EventType, Plan, Write};
pub use problems::{Problem, Problems};
pub use replicas::{Replica, Replicas};
pub use settings::Settings;
pub use wiring::Wiring;
