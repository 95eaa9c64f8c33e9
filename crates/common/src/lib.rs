//! What a training job is, and what to do next: the pure half of Trainyard.
//!
//! Nothing here does I/O, knows a clock, an environment or randomness. The runtime shows this crate one closed
//! world ([`Observed`]) and gets back one answer ([`Plan`]):
//!
//! ```text
//!  Observed { now, job, pods, services }
//!      │ resolve   raw spec -> ResolvedJob (defaults applied, checked) | Problems with field paths
//!      │ tally     every slot of the cast: missing, pending, running, terminating, succeeded, failed, previous
//!      │ decide    finished? suspended? past its deadline? failed? restart? succeeded? start what is missing
//!      v
//!  Plan { intent, writes in class order, status, notes, wake }
//! ```
//!
//! A framework (a crate beside this one) contributes data, the wiring of one pod and its success rule through
//! [`Framework`]; it never sees a pod object.

pub mod api;
pub mod build;
pub mod cast;
pub mod conditions;
mod decide;
pub mod elastic;
pub mod framework;
pub mod gang;
pub mod job;
pub mod kind;
pub mod names;
pub mod nodes;
pub mod objects;
pub mod observe;
pub mod plan;
pub mod problems;
pub mod quantity;
pub mod resolve;
pub mod settings;
pub mod status;
pub mod success;
pub mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wiring;

pub use cast::{Cast, Slot};
pub use decide::plan;
pub use framework::Framework;
pub use job::ResolvedJob;
pub use kind::{KindInfo, Outcome, RoleInfo};
pub use names::{Attempt, JobKey, Rank, ReplicaIndex, Role, SlotId, Uid};
pub use observe::{Observed, PodView, RawJob};
pub use plan::{Note, NoteKind, Plan, Write};
pub use problems::{Problem, Problems};
pub use settings::Settings;
pub use wiring::Wiring;
