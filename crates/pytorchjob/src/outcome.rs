//! When a PyTorchJob runs, and when it has succeeded.

use common::api::SuccessPolicy;
use common::tally::{SlotState, Tally};
use common::{Outcome, ResolvedJob};

use crate::{MASTER, WORKER, wiring};

/// With a Master, its success is the job's. Workers alone: all of them; in an elastic job the first one, since the
/// others finish with it or were surplus.
pub(crate) fn outcome(tally: &Tally, job: &ResolvedJob) -> Outcome {
    let workers = job.replica(WORKER).map_or(0, |r| r.count);
    let masters = job.replica(MASTER).map_or(0, |r| r.count);
    let elastic = wiring::fields(job).elastic_policy;
    let done = |role| tally.count(role, &SlotState::Succeeded);
    let succeeded = match (masters, &elastic) {
        _ if job.success == SuccessPolicy::AllWorkers => {
            masters.saturating_add(workers) > 0 && done(MASTER) >= masters && done(WORKER) >= workers
        }
        (1.., _) => done(MASTER) >= masters,
        (0, Some(_)) => done(WORKER) > 0,
        (0, None) => workers > 0 && done(WORKER) >= workers,
    };
    if succeeded {
        return Outcome::Succeeded;
    }
    let alive = |role| tally.count(role, &SlotState::Running).saturating_add(done(role));
    let fewest = elastic
        .and_then(|policy| policy.min_replicas)
        .and_then(|min| u32::try_from(min).ok());
    let needed = fewest.map_or(workers, |min| min.min(workers));
    let running = masters.saturating_add(workers) > 0 && alive(MASTER) >= masters && alive(WORKER) >= needed;
    if running {
        Outcome::Running
    } else {
        Outcome::Waiting
    }
}
