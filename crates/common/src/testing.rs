//! A small world for tests: one job with its pods and Services as values, to which plans are applied.
//!
//! Time stands still unless a test moves it. Pods that are deleted while they run stay until [`World::reap`], as on a
//! real node. No request, version or watch is involved: those are tested on the API server in memory of crate `sim`.

mod apply;
mod batch_jobs;
mod describe;
mod gang;
mod manifests;
mod merge_patch;
mod nodes;
mod pods;
mod request;
mod scenario;
pub mod share;
mod stable;
pub mod vectors;
mod world;

pub use describe::{describe_plan, describe_status};
pub use manifests::{manifest, meanings, pod_name, whole};
pub use merge_patch::merge_patch;
pub use request::Answer;
pub use scenario::Scenario;
pub use world::World;
