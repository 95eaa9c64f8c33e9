//! Running and success of a job, by the data of its kind.

use crate::api::SuccessPolicy;
use crate::elastic::Elastic;
use crate::job::ResolvedJob;
use crate::kind::{Progress, WORKER};
use crate::names::Role;
use crate::replica_states::{ReplicaPhase, ReplicaStates};

/// Role whose success is the job's success, if the job has one of the roles that decide.
#[must_use]
pub fn deciding(job: &ResolvedJob) -> Option<Role> {
    let mut roles = job.info.decides.iter().copied();
    roles.find(|role| count(job, *role) > 0)
}

/// Progress of a job.
///
/// * Succeeded: all pods of the deciding role have succeeded, or all pods of a job without such a role. Under
///   `AllWorkers` the workers must have succeeded too.
/// * Running: all pods run or have succeeded. Of the workers of an elastic job, its minimum is enough.
#[must_use]
pub fn progress(states: &ReplicaStates, job: &ResolvedJob, elastic: Option<&Elastic>) -> Progress {
    let done = |role: Role| states.count(role, &ReplicaPhase::Succeeded);
    let all_done = |role: Role| done(role) >= count(job, role);
    let workers = job.success != SuccessPolicy::AllWorkers || all_done(WORKER);
    let any = job.roles.iter().any(|replica| replica.count > 0);
    let decided = match deciding(job) {
        Some(role) => all_done(role),
        // No role decides, so all roles must have succeeded.
        None => any && job.roles.iter().all(|replica| all_done(replica.role)),
    };
    if decided && workers {
        return Progress::Succeeded;
    }
    let runs = |role: Role| {
        let alive = states
            .count(role, &ReplicaPhase::Running)
            .saturating_add(done(role));
        alive >= needed(job, role, elastic)
    };
    if any && job.roles.iter().all(|replica| runs(replica.role)) {
        Progress::Running
    } else {
        Progress::Waiting
    }
}

fn count(job: &ResolvedJob, role: Role) -> u32 {
    job.role(role).map_or(0, |replica| replica.count)
}

fn needed(job: &ResolvedJob, role: Role, elastic: Option<&Elastic>) -> u32 {
    let all = count(job, role);
    let fewest = elastic
        .filter(|_| job.info.scaled_role == Some(role))
        .and_then(|policy| policy.min_replicas);
    let fewest = fewest.and_then(|min| u32::try_from(min).ok());
    fewest.map_or(all, |min| min.min(all))
}
