//! When a TFJob runs, and when it has succeeded.

use common::api::SuccessPolicy;
use common::kind::{MASTER, WORKER};
use common::tally::{SlotState, SlotTally, Tally};
use common::{Outcome, ResolvedJob, Role};

use crate::{CHIEF, EVALUATOR, wiring};

pub(crate) fn outcome(tally: &Tally, job: &ResolvedJob) -> Outcome {
    if succeeded(tally, job) {
        return Outcome::Succeeded;
    }
    // The training cluster. An Evaluator looks on from beside it; where there is nothing else, it is what runs.
    let trains = |slot: &&SlotTally| slot.slot.id.role != EVALUATOR;
    let mut needed: Vec<&SlotTally> = tally.slots.iter().filter(trains).collect();
    if needed.is_empty() {
        needed = tally.slots.iter().collect();
    }
    let alive = |slot: &SlotTally| slot.state == SlotState::Running || is_over(slot, job);
    if !needed.is_empty() && needed.iter().all(|slot| alive(slot)) {
        Outcome::Running
    } else {
        Outcome::Waiting
    }
}

/// With a Chief (or Master) its success is the job's. Without: worker 0's, or all workers', as the success policy says.
/// A job without any of these has succeeded when all its pods have: parameter servers alone never do.
fn succeeded(tally: &Tally, job: &ResolvedJob) -> bool {
    let of = |role: Role| tally.slots.iter().filter(move |s| s.slot.id.role == role);
    let done = |slot: &SlotTally| slot.state == SlotState::Succeeded;
    let chief = of(CHIEF).chain(of(MASTER)).next();
    if let Some(chief) = chief {
        return done(chief);
    }
    let Some(first) = of(WORKER).next() else {
        return !tally.slots.is_empty() && tally.slots.iter().all(done);
    };
    // Also where worker 0 was lost for good: somebody has finished, and nobody is left to wait for.
    let all = of(WORKER).any(done) && of(WORKER).all(|worker| is_over(worker, job));
    all || (job.success != SuccessPolicy::AllWorkers && done(first))
}

/// Whether nothing more is to be expected of a slot: it is done, or the job goes on without it.
fn is_over(slot: &SlotTally, job: &ResolvedJob) -> bool {
    // A pod that was taken away is replaced under every policy.
    let lost =
        |state: &SlotState| matches!(state, SlotState::Failed(failure) if failure.disruption.is_none());
    let tolerated = slot.slot.id.role == WORKER && wiring::tolerates_lost_workers(job);
    slot.state == SlotState::Succeeded || (tolerated && lost(&slot.state))
}
