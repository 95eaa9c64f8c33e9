//! When a TFJob runs, and when it has succeeded.

use common::api::SuccessPolicy;
use common::kind::{MASTER, WORKER};
use common::replica_states::{ReplicaPhase, ReplicaState, ReplicaStates};
use common::{Progress, ResolvedJob, Role};

use crate::{CHIEF, EVALUATOR, wiring};

pub(crate) fn progress(states: &ReplicaStates, job: &ResolvedJob) -> Progress {
    if succeeded(states, job) {
        return Progress::Succeeded;
    }
    // The training cluster. An Evaluator looks on from beside it; where there is nothing else, it is what runs.
    let trains = |replica: &&ReplicaState| replica.role() != EVALUATOR;
    let mut needed: Vec<&ReplicaState> = states.replicas.iter().filter(trains).collect();
    if needed.is_empty() {
        needed = states.replicas.iter().collect();
    }
    let alive = |replica: &ReplicaState| replica.phase == ReplicaPhase::Running || is_over(replica, job);
    if !needed.is_empty() && needed.iter().all(|replica| alive(replica)) {
        Progress::Running
    } else {
        Progress::Waiting
    }
}

/// With a Chief (or Master) its success is the job's. Without: worker 0's, or all workers', as the success policy says.
/// A job without any of these has succeeded when all its pods have: parameter servers alone never do.
fn succeeded(states: &ReplicaStates, job: &ResolvedJob) -> bool {
    let of = |role: Role| states.replicas.iter().filter(move |s| s.role() == role);
    let done = |replica: &ReplicaState| replica.phase == ReplicaPhase::Succeeded;
    let chief = of(CHIEF).chain(of(MASTER)).next();
    if let Some(chief) = chief {
        return done(chief);
    }
    let Some(first) = of(WORKER).next() else {
        return !states.replicas.is_empty() && states.replicas.iter().all(done);
    };
    // Also where worker 0 was lost for good: somebody has finished, and nobody is left to wait for.
    let all = of(WORKER).any(done) && of(WORKER).all(|worker| is_over(worker, job));
    all || (job.success != SuccessPolicy::AllWorkers && done(first))
}

/// Whether nothing more is to be expected of a replica: it is done, or the job goes on without it.
fn is_over(replica: &ReplicaState, job: &ResolvedJob) -> bool {
    // A pod that was taken away is replaced under every policy.
    let lost =
        |state: &ReplicaPhase| matches!(state, ReplicaPhase::Failed(failure) if failure.disruption.is_none());
    let tolerated = replica.role() == WORKER && wiring::tolerates_lost_workers(job);
    replica.phase == ReplicaPhase::Succeeded || (tolerated && lost(&replica.phase))
}
