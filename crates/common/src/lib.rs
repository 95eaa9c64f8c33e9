//! Pure half of Trainyard: the meaning of a training job, and the decision about its next writes.
//!
//! Nothing in this crate does I/O or reads a clock, the environment or random numbers. The runtime passes in everything
//! that a decision may depend on ([`Observed`]) and gets back one [`Plan`]:
//!
//! ```text
//!  Observed { now, job, pods, children, batch_jobs, batch_pods, priorities, vanished, refusals, unreachable_nodes }
//!      │ resolve         raw spec -> ResolvedJob (defaults applied, checked), Problems with field paths
//!      │ replica_states  phase of each replica: not created, disappeared, outdated, terminating, pending, running,
//!      │                 succeeded, failed
//!      │ decide          steps in this order; the first one that returns a plan ends the decision:
//!      │                   cleanup        the job has ended
//!      │                   invalid        the job has problems (suspend, if it asks for that)
//!      │                   suspend        the job is to have no pods
//!      │                   leader         its leader would be scaled away
//!      │                   completion     it has just succeeded or failed
//!      │                   restart        pods are to be replaced, each by itself or all together (restart_all)
//!      │                   release_gang   a part of the gang has waited too long for the rest
//!      │                   start          replicas have no pod yet
//!      v
//!  Plan { intent, writes in class order, status, keeps_vanished, status_is_urgent, events, counters, requeue_at }
//! ```
//!
//! A framework (a crate beside this one) contributes data, the wiring of one pod and its success rule through
//! [`Framework`]. It never sees a pod object.
//!
//! Read first: [`observe`] (input), [`mod@plan`] (output), `decide/mod.rs` (the order of the steps) and
//! [`replica_states`] (starting point of every step). Then [`framework`] and [`kind`], for the differences between
//! kinds.

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
