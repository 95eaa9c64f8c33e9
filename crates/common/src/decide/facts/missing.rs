//! Replicas without a pod or batch Job: which are created now, and what the others wait for.

use super::context::Question;
use super::{delays, dependencies};
use crate::names::SlotId;
use crate::tally::{SlotState, SlotTally};
use jiff::Timestamp;

/// What is to be made of what is missing.
#[derive(Default)]
pub(crate) struct Missing<'a> {
    /// Slots whose pods and batch Jobs are to be made now; those that need others last.
    pub(crate) slots: Vec<&'a SlotTally>,
    /// Slots that are made when others are ready.
    pub(crate) waiting: Vec<SlotId>,
    /// When the next one that must wait is due.
    pub(crate) held_until: Option<Timestamp>,
    /// What one of them waits for, in words.
    pub(crate) waits_for: Option<String>,
}

pub(crate) fn missing_slots<'a>(q: &'a Question<'_>) -> Missing<'a> {
    let mut missing = Missing::default();
    let mut slots: Vec<_> = q
        .tally
        .slots
        .iter()
        .filter(|s| s.state == SlotState::Missing)
        .collect();
    slots.sort_by_key(|slot| dependencies::needs(q, slot).is_some());
    if let Some(name) = leftover(q) {
        missing.waits_for = Some(format!("{name} of the previous attempt has to terminate first"));
        return missing;
    }
    for slot in slots {
        if let Some(due) = delays::of_replica(q, slot).filter(|due| *due > q.now()) {
            missing.held_until = Some(missing.held_until.map_or(due, |t: Timestamp| t.min(due)));
            continue;
        }
        if let Some(needed) =
            dependencies::needs(q, slot).filter(|needed| dependencies::must_wait(q, slot, *needed))
        {
            missing.waits_for = Some(format!(
                "{} waits until all {needed} pods are ready",
                slot.slot.name
            ));
            missing.waiting.push(slot.slot.id);
            continue;
        }
        missing.slots.push(slot);
    }
    missing
}

/// The first by name of the pods of the time before the last restart that are still there, whether or not their slots are.
pub(crate) fn leftover<'a>(q: &Question<'a>) -> Option<&'a str> {
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
    q.restarts_together().then_some(name)
}
