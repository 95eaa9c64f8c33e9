//! The cause of a restart, as text for status and events.

use super::context::{Question, warning};
use super::{deletes, dependencies, failures};
use crate::api::{ConditionStatus, ConditionType, JobStatus};
use crate::plan::Note;
use crate::tally::{SlotState, SlotTally};
use crate::{conditions, names};

/// A job of a thousand pods that all restart must still fit into one object: 160 characters each.
pub(crate) const LONGEST_REASON: usize = 160;

/// Whether its pod was taken away, or is lost.
pub(crate) fn is_taken(slot: &SlotTally) -> bool {
    matches!(slot.state, SlotState::Lost | SlotState::Terminating)
}

/// `N T replica(s) were lost: the first one in words`, of the role of the first.
pub(crate) fn describe_taken(q: &Question<'_>, taken: &[&SlotTally]) -> Option<String> {
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

pub(crate) fn reason(q: &Question<'_>, slot: &SlotTally) -> String {
    match &slot.state {
        SlotState::Failed(failure) => failure.text.clone(),
        SlotState::Lost => format!("pod {} vanished", slot.slot.name),
        SlotState::Terminating => deletes::taken_away(&q.losses, slot),
        SlotState::Missing
        | SlotState::Previous
        | SlotState::Pending
        | SlotState::Running
        | SlotState::Succeeded => why_in_vain(q, slot),
    }
}

/// A reason, cut to what a status has room for.
pub(crate) fn cut(reason: &str) -> String {
    reason.chars().take(LONGEST_REASON).collect()
}

/// The same, cut to what a status has room for.
pub(crate) fn short_reason(q: &Question<'_>, slot: &SlotTally) -> String {
    cut(&reason(q, slot))
}

/// Why the pod of a slot was taken away, in one word, if it says so.
pub(crate) fn disruption_of(slot: &SlotTally) -> Option<String> {
    let detail = slot.pod.as_deref()?.detail.as_deref()?;
    detail.disruption.as_ref().map(ToString::to_string)
}

/// Who was missing, and why.
pub(crate) fn why_in_vain(q: &Question<'_>, slot: &SlotTally) -> String {
    let name = &slot.slot.name;
    let needed = dependencies::needs(q, slot).and_then(|role| dependencies::not_ready(q, role).next());
    let Some(missing) = needed else {
        return format!("{name} failed while not all that it needs was ready");
    };
    let key = names::slot_key(missing.slot.id.role, missing.slot.id.index);
    let cause = q.job.stored.slots.get(&key).and_then(|s| s.reason.as_deref());
    let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
    format!("{name} failed while {} was not ready{cause}", missing.slot.name)
}

/// Why pods are replaced; nothing for a mere scale-down.
pub(crate) fn cause(q: &Question<'_>, replaced: &[&SlotTally]) -> Option<String> {
    let mut failures = failures::failures(q);
    failures.retain(|(slot, failure)| !failures::tolerated(q, slot, failure));
    // Who failed because of another does not stand for the cause.
    if failures
        .iter()
        .any(|(slot, _)| !dependencies::drives_in_vain(q, slot))
    {
        failures.retain(|(slot, _)| !dependencies::drives_in_vain(q, slot));
    }
    let taken = replaced
        .iter()
        .filter(|s| !matches!(s.state, SlotState::Failed(_)));
    let taken: Vec<&SlotTally> = taken.copied().collect();
    failures::describe(&failures, "failed").or_else(|| describe_taken(q, &taken))
}

/// States Restarting and tells why.
pub(crate) fn announce(q: &Question<'_>, status: &mut JobStatus, cause: &str) -> Note {
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
