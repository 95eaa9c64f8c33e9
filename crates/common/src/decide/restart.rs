//! Pods that must be replaced: failed, deleted by somebody, vanished, or beyond the replicas that are wanted now.
//!
//! Invariant: the new attempt is stored before the old pod is deleted, and pods are deleted by attempt; a crash anywhere
//! in between resumes here or in `start`, and counts nothing twice.

use crate::api::{ConditionStatus, ConditionType, JobStatus, SlotStatus};
use crate::kind::Workload;
use crate::names::{self, Attempt, Role, SlotId};
use crate::objects::ChildKind;
use crate::observe::{ContainerState, ContainerView, PodView};
use crate::plan::{Counter, Note, Plan, Write};
use crate::tally::{self, SlotState, SlotTally};
use crate::{conditions, status};

use super::finished::{delete_batch_job, delete_child};
use super::{Question, answer, first_failure, nodes, outcome, start, warning, whole};

/// A job of a thousand pods that all restart must still fit into one object: 160 characters each.
const LONGEST_REASON: usize = 160;
/// Beyond so many slots none is given a reason, so that the largest jobs fit too.
const MOST_REASONS: usize = 1000;
/// So often a launcher is forgiven; after that its failures are its own, whatever its workers do.
const MOST_IN_VAIN: u32 = 10;
/// Why a slot that is wanted no more moved to its next attempt.
pub(super) const SCALED_DOWN: &str = "scaled down";

pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    let mut replaced: Vec<&SlotTally> = q.tally.slots.iter().filter(|s| must_be_replaced(q, s)).collect();
    let followers: Vec<&SlotTally> = q.tally.slots.iter().filter(|s| drives_in_vain(q, s)).collect();
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
    if whole::applies(q) && !replaced.iter().all(in_vain) {
        return Some(whole::plan(q, &replaced));
    }
    let mut status = q.begin();
    first_failure::record(q, &mut status);
    let mut writes = Vec::new();
    for slot in &replaced {
        retire(q, &mut status, slot, in_vain(slot));
        writes.extend(delete_slot(q, slot));
    }
    for (id, pod) in strays() {
        next_attempt(q, &mut status, *id, pod.attempt, SCALED_DOWN);
        writes.extend(nodes::delete(&q.losses, pod));
        let services = q
            .observed
            .standing(ChildKind::Service)
            .filter(|s| s.name == pod.name);
        writes.extend(services.map(delete_child));
    }
    for (id, attempt) in lost_strays() {
        next_attempt(q, &mut status, *id, *attempt, SCALED_DOWN);
    }
    let notes = cause(q, &replaced).map(|cause| announce(q, &mut status, &cause));
    let notes: Vec<Note> = notes.into_iter().collect();
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

fn must_be_replaced(q: &Question<'_>, slot: &SlotTally) -> bool {
    match &slot.state {
        SlotState::Failed(failure) => !outcome::tolerated(q, slot, failure),
        SlotState::Terminating | SlotState::Lost => true,
        SlotState::Missing
        | SlotState::Previous
        | SlotState::Pending
        | SlotState::Running
        | SlotState::Succeeded => false,
    }
}

/// Whether its pod was taken away, or is lost.
pub(super) fn is_taken(slot: &SlotTally) -> bool {
    matches!(slot.state, SlotState::Lost | SlotState::Terminating)
}

/// `N T replica(s) were lost: the first one in words`, of the role of the first.
pub(super) fn describe_taken(q: &Question<'_>, taken: &[&SlotTally]) -> Option<String> {
    let first = taken.first()?;
    let role = first.slot.id.role;
    let count = taken.iter().filter(|s| s.slot.id.role == role).count();
    let what = if is_taken(first) {
        "were lost"
    } else {
        "begin anew"
    };
    Some(format!("{count} {role} replica(s) {what}: {}", reason(q, first)))
}

/// A launcher that fails while a worker is not there does so for that reason: rather than let it try again and again
/// in vain, it is begun anew when all workers are ready. One that goes on (an elastic run) is left alone.
pub(super) fn drives_in_vain(q: &Question<'_>, slot: &SlotTally) -> bool {
    let begun_anew = slot.attempt.0.saturating_sub(q.job.stored.attempt);
    let missing = |needed| start::not_ready(q, needed).next().is_some();
    needs(q, slot)
        .is_some_and(|needed| begun_anew < MOST_IN_VAIN && is_in_trouble(q, slot) && missing(needed))
}

/// Retries that are not held against the job: what failed because of another did so once, and the other counts.
pub(super) fn forgiven(q: &Question<'_>) -> u32 {
    let in_vain = q.tally.slots.iter().filter(|slot| drives_in_vain(q, slot));
    in_vain.fold(0, |sum, slot| sum.saturating_add(slot.retries.min(1)))
}

/// The role whose pods this slot drives.
pub(super) fn needs(q: &Question<'_>, slot: &SlotTally) -> Option<Role> {
    q.job.info.of_role(slot.slot.id.role)?.needs
}

fn is_in_trouble(q: &Question<'_>, slot: &SlotTally) -> bool {
    let known = q
        .job
        .stored
        .restart_counts
        .as_ref()
        .map_or(0, |counts| counts.in_place);
    let retried = status::to_i32(slot.retries) > known;
    let down = |pod: &PodView| {
        pod.detail
            .as_ref()
            .is_some_and(|d| d.containers.iter().any(|c| is_down(c, slot)))
    };
    match slot.state {
        SlotState::Failed(_) => true,
        SlotState::Running | SlotState::Pending => retried || slot.pod.as_deref().is_some_and(down),
        SlotState::Missing
        | SlotState::Lost
        | SlotState::Previous
        | SlotState::Terminating
        | SlotState::Succeeded => false,
    }
}

/// Whether the container has ended badly at least once and does not run now.
fn is_down(container: &ContainerView, slot: &SlotTally) -> bool {
    match &container.state {
        ContainerState::Terminated { exit_code, .. } => *exit_code != 0,
        ContainerState::Waiting { .. } => slot.retries > 0,
    }
}

/// The request that takes away what carries a slot, unless it is on its way out.
pub(super) fn delete_slot(q: &Question<'_>, slot: &SlotTally) -> Option<Write> {
    match (slot.slot.workload, &slot.batch_job) {
        (Workload::BatchJob, Some(job)) => (!job.deleting).then(|| delete_batch_job(job)),
        (Workload::BatchJob, None) => None,
        (Workload::Pod, _) => slot.pod.as_deref().and_then(|pod| nodes::delete(&q.losses, pod)),
    }
}

/// Counts the restart and moves the slot to its next attempt. Where it failed because of another, that one counts, and
/// the last of its own retries does not.
fn retire(q: &Question<'_>, status: &mut JobStatus, slot: &SlotTally, in_vain: bool) {
    // If it failed because of another, the restart is not its own.
    if !in_vain {
        count(status, is_disruption(slot));
    }
    let counts = status.restart_counts.get_or_insert_default();
    // Retries of what goes stay counted.
    let in_place = status::to_i32(slot.retries);
    let own = if in_vain {
        in_place.saturating_sub(1).max(0)
    } else {
        in_place
    };
    counts.failures = counts.failures.saturating_add(own);
    counts.in_place = counts.in_place.saturating_sub(in_place).max(0);
    next_attempt(q, status, slot.slot.id, slot.attempt, &short_reason(q, slot));
}

/// Counts one restart.
pub(super) fn count(status: &mut JobStatus, disruption: bool) {
    let counts = status.restart_counts.get_or_insert_default();
    if disruption {
        counts.disruptions = counts.disruptions.saturating_add(1);
    } else {
        counts.failures = counts.failures.saturating_add(1);
    }
}

/// Whether a slot is to be replaced through no fault of its program.
pub(super) fn is_disruption(slot: &SlotTally) -> bool {
    match &slot.state {
        SlotState::Failed(failure) => failure.disruption.is_some(),
        SlotState::Missing
        | SlotState::Lost
        | SlotState::Previous
        | SlotState::Terminating
        | SlotState::Pending
        | SlotState::Running
        | SlotState::Succeeded => true,
    }
}

fn next_attempt(q: &Question<'_>, status: &mut JobStatus, id: SlotId, old: Attempt, reason: &str) {
    let entry = SlotStatus {
        attempt: old.next().0,
        since: Some(conditions::whole_seconds(q.now())),
        reason: (status.slots.len() < MOST_REASONS || reason == SCALED_DOWN).then(|| reason.to_owned()),
    };
    status.slots.insert(names::slot_key(id.role, id.index), entry);
}

fn reason(q: &Question<'_>, slot: &SlotTally) -> String {
    match &slot.state {
        SlotState::Failed(failure) => failure.text.clone(),
        SlotState::Lost => format!("pod {} vanished", slot.slot.name),
        SlotState::Terminating => nodes::taken_away(&q.losses, slot),
        SlotState::Missing
        | SlotState::Previous
        | SlotState::Pending
        | SlotState::Running
        | SlotState::Succeeded => why_in_vain(q, slot),
    }
}

/// A reason, cut to what a status has room for.
pub(super) fn cut(reason: &str) -> String {
    reason.chars().take(LONGEST_REASON).collect()
}

/// The same, cut to what a status has room for.
fn short_reason(q: &Question<'_>, slot: &SlotTally) -> String {
    cut(&reason(q, slot))
}

/// Why the pod of a slot was taken away, in one word, if it says so.
pub(super) fn disruption_of(slot: &SlotTally) -> Option<String> {
    let detail = slot.pod.as_deref()?.detail.as_deref()?;
    detail.disruption.as_ref().map(ToString::to_string)
}

/// Who was missing, and why.
fn why_in_vain(q: &Question<'_>, slot: &SlotTally) -> String {
    let name = &slot.slot.name;
    let needed = needs(q, slot).and_then(|role| start::not_ready(q, role).next());
    let Some(missing) = needed else {
        return format!("{name} failed while not all that it needs was ready");
    };
    let key = names::slot_key(missing.slot.id.role, missing.slot.id.index);
    let cause = q.job.stored.slots.get(&key).and_then(|s| s.reason.as_deref());
    let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
    format!("{name} failed while {} was not ready{cause}", missing.slot.name)
}

/// Why pods are replaced; nothing for a mere scale-down.
pub(super) fn cause(q: &Question<'_>, replaced: &[&SlotTally]) -> Option<String> {
    let mut failures = outcome::failures(q);
    failures.retain(|(slot, failure)| !outcome::tolerated(q, slot, failure));
    // Who failed because of another does not stand for the cause.
    if failures.iter().any(|(slot, _)| !drives_in_vain(q, slot)) {
        failures.retain(|(slot, _)| !drives_in_vain(q, slot));
    }
    let taken = replaced
        .iter()
        .filter(|s| !matches!(s.state, SlotState::Failed(_)));
    let taken: Vec<&SlotTally> = taken.copied().collect();
    outcome::describe(&failures, "failed").or_else(|| describe_taken(q, &taken))
}

/// States Restarting and tells why.
pub(super) fn announce(q: &Question<'_>, status: &mut JobStatus, cause: &str) -> Note {
    let now = q.now();
    let (reason, message) = (
        format!("{}Restarting", q.job.info.kind),
        format!("{} is restarting because {cause}", q.title()),
    );
    let restarting = ConditionType::Restarting;
    conditions::set_condition(status, now, restarting, ConditionStatus::True, &reason, &message);
    conditions::refresh_message(status, now, restarting, &message);
    warning(reason, message)
}
