//! All pods of a job begin anew together: under `restartScope: Job` one that must be replaced takes the others with it,
//! since they would only wait for it until they time out, each at another moment.
//!
//! Invariant: the new attempt of all is stored before the first pod is deleted, and no pod of it is made before the last
//! one of the old is gone.

use crate::conditions;
use jiff::Timestamp;

use crate::api::{JobStatus, RestartScope, WholeRestarts};
use crate::plan::{Counter, Plan, Write};
use crate::status;
use crate::tally::SlotTally;

use super::finished::delete_batch_job;
use super::{Question, answer, first_failure, nodes, outcome, restart, start};

/// Whether what happens to one pod happens to all.
pub(super) fn applies(q: &Question<'_>) -> bool {
    q.job.policy.restart_scope == RestartScope::Job
}

/// The restart: counted once, whatever the number of pods that failed.
pub(super) fn plan(q: &Question<'_>, replaced: &[&SlotTally]) -> Plan {
    let mut status = q.begin();
    first_failure::record(q, &mut status);
    restart::count(&mut status, first_failure::is_disruption(q));
    if let Some(counts) = &mut status.restart_counts {
        let forgiven = status::to_i32(restart::forgiven(q));
        counts.in_place = counts.in_place.saturating_sub(forgiven).max(0);
    }
    retire_all(q, &mut status);
    for counts in status.replica_statuses.values_mut() {
        counts.active = 0;
        forget_success(counts);
    }
    let taken: Vec<&SlotTally> = replaced
        .iter()
        .copied()
        .filter(|s| restart::is_taken(s))
        .collect();
    let of_taken = restart::describe_taken(q, &taken).filter(|_| first_failure::is_disruption(q));
    let cause = of_taken
        .or_else(|| restart::cause(q, replaced))
        .unwrap_or_default();
    let note = restart::announce(q, &mut status, &format!("{cause}; all replicas begin anew"));
    let known = status.whole_restarts.take().unwrap_or_default();
    status.whole_restarts = Some(WholeRestarts {
        count: known.count.saturating_add(1),
        since: Some(conditions::whole_seconds(q.now())),
        reason: Some(cause),
    });
    let plan = answer(&q.job.stored, status.clone(), carriers(q).collect(), vec![note]);
    Plan {
        intent: Some(status),
        counters: [plan.counters, vec![Counter::Restarted]].concat(),
        wake: outcome::deadline(q),
        ..plan
    }
}

/// What was done belongs to the time before.
pub(super) fn forget_success(counts: &mut crate::api::ReplicaStatus) {
    counts.succeeded = 0;
    counts.succeeded_indices = None;
}

/// All pods there are become pods of the past; their container restarts stay counted.
pub(super) fn retire_all(q: &Question<'_>, status: &mut JobStatus) {
    // Pods may be there although no status was ever stored: the operator may have died in between.
    let nothing =
        q.observed.pods.is_empty() && q.observed.batch_jobs.is_empty() && q.observed.vanished.is_empty();
    if status.start_time.is_none() && nothing {
        return;
    }
    let stored = status.slots.values().map(|slot| slot.attempt);
    let pods = q.observed.pods.iter().map(|pod| pod.attempt.0);
    let seen = pods.chain(q.observed.batch_jobs.iter().map(|job| job.attempt.0));
    let missed = q.observed.vanished.iter().map(|pod| pod.attempt.0);
    let highest = stored
        .chain(seen)
        .chain(missed)
        .max()
        .unwrap_or(0)
        .max(status.attempt);
    status.attempt = highest.saturating_add(1);
    status.slots.clear();
    if let Some(counts) = &mut status.restart_counts {
        counts.failures = counts.failures.saturating_add(counts.in_place);
        counts.in_place = 0;
    }
}

/// Deletes of all pods and batch Jobs that stand.
pub(super) fn carriers<'a>(q: &Question<'a>) -> impl Iterator<Item = Write> + use<'a> {
    let (losses, observed) = (q.losses, q.observed);
    let pods = observed
        .pods
        .iter()
        .filter_map(move |pod| nodes::delete(&losses, pod));
    let jobs = observed.batch_jobs.iter().filter(|job| !job.deleting);
    let carried: Vec<Write> = nodes::carried(&losses, observed).collect();
    pods.chain(jobs.map(|job| delete_batch_job(job))).chain(carried)
}

/// The first by name of the pods of the time before the last restart that are still there, whether or not their slots are.
pub(super) fn leftover<'a>(q: &Question<'a>) -> Option<&'a str> {
    let (first, observed) = (q.job.stored.attempt, q.observed);
    let pods = observed.pods.iter().map(|pod| (&*pod.name, pod.attempt));
    let jobs = observed.batch_jobs.iter().map(|job| (&*job.name, job.attempt));
    let carried = observed
        .batch_pods
        .iter()
        .map(|(_, pod)| (&*pod.name, pod.attempt));
    let all = pods.chain(jobs).chain(carried);
    let old = all.filter(|(_, attempt)| attempt.0 < first);
    let name = old.map(|(name, _)| name).min()?;
    applies(q).then_some(name)
}

/// When pods may be made again: at once after the first restart, then ever later.
pub(super) fn not_before(q: &Question<'_>) -> Option<Timestamp> {
    let restarts = q.job.stored.whole_restarts.as_ref()?;
    start::due(q, restarts.since.as_ref()?, restarts.count)
}
