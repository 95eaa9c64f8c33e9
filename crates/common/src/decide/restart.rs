//! Pods that must be replaced: failed, deleted by somebody, vanished, or beyond the replicas that are wanted now.
//!
//! Invariant: the new attempt is stored before the old pod is deleted, and pods are deleted by attempt; a crash anywhere
//! in between resumes here or in `start`, and counts nothing twice.

use crate::api::{ConditionStatus, ConditionType, JobStatus, SlotStatus};
use crate::cast::SlotId;
use crate::names::{self, Attempt};
use crate::observe::PodView;
use crate::plan::{Counter, Note, Plan, Write};
use crate::status;
use crate::tally::{self, SlotState, SlotTally};

use super::finished::{delete_pod, delete_service};
use super::{Question, answer, outcome, warning};

/// A job of a thousand pods that all restart must still fit into one object: 160 characters each.
const LONGEST_REASON: usize = 160;

pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    let replaced: Vec<&SlotTally> = q
        .tally
        .slots
        .iter()
        .filter(|s| must_be_replaced(&s.state))
        .collect();
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
    let mut status = q.begin();
    let mut writes = Vec::new();
    for slot in &replaced {
        retire(q, &mut status, slot);
        writes.extend(slot.pod.as_deref().and_then(delete));
    }
    for (id, pod) in strays() {
        next_attempt(q, &mut status, *id, pod.attempt, "scaled down");
        writes.extend(delete(pod));
        let services = q
            .observed
            .services
            .iter()
            .filter(|s| !s.deleting && s.name == pod.name);
        writes.extend(services.map(|s| delete_service(&s.name, &s.uid)));
    }
    for (id, attempt) in lost_strays() {
        next_attempt(q, &mut status, *id, *attempt, "scaled down");
    }
    let notes = announce(q, &mut status, &replaced);
    let restarted = !notes.is_empty();
    let mut plan = answer(&q.job.stored, status.clone(), writes, notes);
    if restarted {
        plan.counters.push(Counter::Restarted);
    }
    plan.wake = outcome::deadline(q);
    Some(Plan {
        intent: Some(status),
        ..plan
    })
}

fn must_be_replaced(state: &SlotState) -> bool {
    matches!(
        state,
        SlotState::Failed(_) | SlotState::Terminating | SlotState::Lost
    )
}

fn delete(pod: &PodView) -> Option<Write> {
    (!pod.deleting).then(|| delete_pod(&pod.name, &pod.uid))
}

/// Counts the restart and moves the slot to its next attempt.
fn retire(q: &Question<'_>, status: &mut JobStatus, slot: &SlotTally) {
    let counts = status.restart_counts.get_or_insert_default();
    let disruption = match &slot.state {
        SlotState::Failed(failure) => failure.disruption.is_some(),
        SlotState::Missing
        | SlotState::Lost
        | SlotState::Previous
        | SlotState::Terminating
        | SlotState::Pending
        | SlotState::Running
        | SlotState::Succeeded => true,
    };
    if disruption {
        counts.disruptions = counts.disruptions.saturating_add(1);
    } else {
        counts.failures = counts.failures.saturating_add(1);
    }
    // Container restarts of a pod that goes stay counted.
    let in_place = status::to_i32(slot.pod.as_ref().map_or(0, |pod| pod.restarts));
    let lost = status::to_i32(slot.lost_restarts);
    counts.failures = counts.failures.saturating_add(in_place).saturating_add(lost);
    counts.in_place = counts.in_place.saturating_sub(in_place).max(0);
    next_attempt(q, status, slot.slot.id, slot.attempt, &reason(slot));
}

fn next_attempt(q: &Question<'_>, status: &mut JobStatus, id: SlotId, old: Attempt, reason: &str) {
    let entry = SlotStatus {
        attempt: old.next().0,
        since: Some(status::whole_seconds(q.now())),
        reason: Some(reason.chars().take(LONGEST_REASON).collect()),
    };
    status.slots.insert(names::slot_key(id.role, id.index), entry);
}

fn reason(slot: &SlotTally) -> String {
    match &slot.state {
        SlotState::Failed(failure) => failure.text.clone(),
        SlotState::Lost => format!("pod {} vanished", slot.slot.name),
        SlotState::Terminating => match slot
            .pod
            .as_deref()
            .and_then(|pod| pod.detail.as_deref()?.disruption.as_ref())
        {
            Some(disruption) => format!("pod {} was taken away (disruption: {disruption})", slot.slot.name),
            None => format!("pod {} was deleted", slot.slot.name),
        },
        SlotState::Missing
        | SlotState::Previous
        | SlotState::Pending
        | SlotState::Running
        | SlotState::Succeeded => String::new(),
    }
}

/// States Restarting and tells why; nothing for a mere scale-down.
fn announce(q: &Question<'_>, status: &mut JobStatus, replaced: &[&SlotTally]) -> Vec<Note> {
    let failures = outcome::failures(q);
    let taken = replaced
        .iter()
        .filter(|s| !matches!(s.state, SlotState::Failed(_)));
    let what = outcome::describe(&failures, "failed").or_else(|| {
        let first = taken.clone().next()?;
        let role = first.slot.id.role;
        let count = taken.clone().filter(|s| s.slot.id.role == role).count();
        Some(format!("{count} {role} replica(s) were lost: {}", reason(first)))
    });
    let Some(what) = what else { return Vec::new() };
    let (kind, name, now) = (q.job.info.kind, &q.job.key.name, q.now());
    let (reason, message) = (
        format!("{kind}Restarting"),
        format!("{kind} {name} is restarting because {what}"),
    );
    let restarting = ConditionType::Restarting;
    status::set_condition(status, now, restarting, ConditionStatus::True, &reason, &message);
    status::refresh_message(status, now, restarting, &message);
    vec![warning(reason, message)]
}
