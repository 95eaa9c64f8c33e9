//! When a job runs and when it has succeeded, by the data of its kind.

use crate::api::SuccessPolicy;
use crate::elastic::Elastic;
use crate::job::ResolvedJob;
use crate::kind::{Outcome, WORKER};
use crate::names::Role;
use crate::tally::{SlotState, Tally};

/// The role whose success is the job's, if it has any of those that decide.
#[must_use]
pub fn deciding(job: &ResolvedJob) -> Option<Role> {
    let mut roles = job.info.decides.iter().copied();
    roles.find(|role| count(job, *role) > 0)
}

/// It has succeeded when all pods of the role that decides have, or all there are of a job without such; under `AllWorkers` the
/// workers must have, too. It runs when all its pods do or are done, of an elastic job's workers as many as it needs.
#[must_use]
pub fn outcome(tally: &Tally, job: &ResolvedJob, elastic: Option<&Elastic>) -> Outcome {
    let done = |role: Role| tally.count(role, &SlotState::Succeeded);
    let all_done = |role: Role| done(role) >= count(job, role);
    let workers = job.success != SuccessPolicy::AllWorkers || all_done(WORKER);
    let any = job.replicas.iter().any(|replica| replica.count > 0);
    let decided = match deciding(job) {
        Some(role) => all_done(role),
        // Nobody is left to wait for.
        None => any && job.replicas.iter().all(|replica| all_done(replica.role)),
    };
    if decided && workers {
        return Outcome::Succeeded;
    }
    let runs = |role: Role| {
        let alive = tally.count(role, &SlotState::Running).saturating_add(done(role));
        alive >= needed(job, role, elastic)
    };
    if any && job.replicas.iter().all(|replica| runs(replica.role)) {
        Outcome::Running
    } else {
        Outcome::Waiting
    }
}

fn count(job: &ResolvedJob, role: Role) -> u32 {
    job.replica(role).map_or(0, |replica| replica.count)
}

fn needed(job: &ResolvedJob, role: Role, elastic: Option<&Elastic>) -> u32 {
    let all = count(job, role);
    let fewest = elastic
        .filter(|_| job.info.scaled_role == Some(role))
        .and_then(|policy| policy.min_replicas);
    let fewest = fewest.and_then(|min| u32::try_from(min).ok());
    fewest.map_or(all, |min| min.min(all))
}
