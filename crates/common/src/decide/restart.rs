//! Pods that must be replaced: failed, deleted by somebody, vanished, or beyond the replicas that are wanted now.
//!
//! Invariant: the new attempt is stored before the old pod is deleted, and pods are deleted by attempt; a crash anywhere
//! in between resumes here or in `start`, and counts nothing twice.

use crate::names::{Attempt, SlotId};
use crate::objects::ChildKind;
use crate::plan::{Counter, Note, Plan};
use crate::tally::{self, SlotState, SlotTally};

use super::facts::context::{Question, answer};
use super::facts::draft::draft_status;
use super::facts::{attempts, deletes, dependencies, failures, first_failure, reasons};
use super::whole;

pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    let mut replaced: Vec<&SlotTally> = q.tally.slots.iter().filter(|s| must_be_replaced(q, s)).collect();
    let followers: Vec<&SlotTally> = q
        .tally
        .slots
        .iter()
        .filter(|s| dependencies::drives_in_vain(q, s))
        .collect();
    replaced.extend(followers.iter().filter(|f| !must_be_replaced(q, f)));
    let current = |id: SlotId, attempt: Attempt| attempt >= tally::stored_attempt(&q.job.stored, id);
    let strays = || {
        q.tally
            .strays
            .iter()
            .filter(|(id, pod)| current(*id, pod.attempt))
    };
    let lost_strays = || {
        q.tally
            .lost_strays
            .iter()
            .filter(|(id, attempt)| current(*id, *attempt))
    };
    if replaced.is_empty() && strays().next().is_none() && lost_strays().next().is_none() {
        return None;
    }
    let in_vain = |slot: &&SlotTally| followers.iter().any(|f| f.slot.id == slot.slot.id);
    if q.restarts_together() && !replaced.iter().all(in_vain) {
        return Some(whole::plan(q, &replaced));
    }
    let mut status = draft_status(q);
    first_failure::record(q, &mut status);
    let mut writes = Vec::new();
    for slot in &replaced {
        attempts::retire(q, &mut status, slot, in_vain(slot));
        writes.extend(deletes::delete_slot(q, slot));
    }
    for (id, pod) in strays() {
        attempts::next_attempt(q, &mut status, *id, pod.attempt, attempts::SCALED_DOWN);
        writes.extend(deletes::delete(&q.losses, pod));
        let services = q
            .observed
            .standing(ChildKind::Service)
            .filter(|s| s.name == pod.name);
        writes.extend(services.map(deletes::delete_child));
    }
    for (id, attempt) in lost_strays() {
        attempts::next_attempt(q, &mut status, *id, *attempt, attempts::SCALED_DOWN);
    }
    let notes = reasons::cause(q, &replaced).map(|cause| reasons::announce(q, &mut status, &cause));
    let notes: Vec<Note> = notes.into_iter().collect();
    let restarted = !notes.is_empty();
    let mut plan = answer(&q.job.stored, status.clone(), writes, notes);
    if restarted {
        plan.counters.push(Counter::Restarted);
    }
    plan.wake = q.deadline();
    Some(Plan {
        intent: Some(status),
        ..plan
    })
}

fn must_be_replaced(q: &Question<'_>, slot: &SlotTally) -> bool {
    match &slot.state {
        SlotState::Failed(failure) => !failures::tolerated(q, slot, failure),
        SlotState::Terminating | SlotState::Lost => true,
        SlotState::Missing
        | SlotState::Previous
        | SlotState::Pending
        | SlotState::Running
        | SlotState::Succeeded => false,
    }
}
