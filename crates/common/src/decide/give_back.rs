//! A gang of which a part is refused gives back what it has: two halves under one quota would wait for each other for ever.
//!
//! Invariants: nothing is given back of a job of which a pod has a place, runs or has ended; the next attempt of all is
//! stored first; then nothing is made for longer than others wait between two tries.

use jiff::Timestamp;

use crate::api::{GangStatus, JobStatus};
use crate::observe::{Refusal, RefusalCause};
use crate::plan::Plan;
use crate::status;
use crate::tally::SlotState;

use super::{Question, after, answer, start, warning, whole};

/// So long a part of a gang waits for the rest, in seconds, where its job does not say.
const PATIENCE: i64 = 120;
/// Shortest pause after it was given back, in seconds; doubled with each time. Others try once a minute.
const PAUSE: i64 = 120;
/// Longest shortest pause, in seconds.
const MAX_PAUSE: i64 = 600;

pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    let why = start::refusal_text(refusal(q)?);
    let known = q.job.stored.gang.clone().unwrap_or_default();
    if due(q, &known)? > q.now() || !is_part(q) {
        return None;
    }
    let times = known.given_back.saturating_add(1);
    let not_before = after(q.now(), pause(q, times));
    let mut status = q.begin();
    whole::retire_all(q, &mut status);
    status.gang = Some(GangStatus {
        incomplete_since: None,
        given_back: times,
        not_before: Some(status::whole_seconds(not_before)),
        reason: Some(why),
    });
    let text = words(&status, q.now()).unwrap_or_default();
    status.waiting_for = Some(text.clone());
    let notes = vec![warning("GangGivenBack", text)];
    let plan = answer(&q.job.stored, status.clone(), whole::carriers(q).collect(), notes);
    Some(Plan {
        intent: Some(status),
        wake: Some(not_before),
        ..plan
    })
}

/// Notes since when a part of the gang waits for the rest; forgets it when the gang is whole, and all when it has begun.
pub(super) fn record(q: &Question<'_>, status: &mut JobStatus) {
    if is_part(q) {
        if refusal(q).is_some() {
            let now = status::whole_seconds(q.now());
            let gang = status.gang.get_or_insert_default();
            // A clock that was ahead would make it wait longer.
            let since = gang.incomplete_since.take().filter(|since| *since <= now);
            gang.incomplete_since = Some(since.unwrap_or(now));
        }
    } else if q.tally.slots.iter().all(|slot| has_begun(&slot.state)) {
        status.gang = None;
    } else if let Some(gang) = &mut status.gang
        && q.tally.slots.iter().all(|slot| slot.state != SlotState::Missing)
    {
        gang.incomplete_since = None;
    }
}

/// When the gang gives back what it has, if the rest is refused until then.
pub(super) fn next(q: &Question<'_>, status: &JobStatus) -> Option<Timestamp> {
    due(q, status.gang.as_ref()?).filter(|due| *due > q.now())
}

/// Before this time nothing of the job is made.
pub(super) fn not_before(q: &Question<'_>) -> Option<Timestamp> {
    let stated = q.job.stored.gang.as_ref()?.not_before.as_ref()?.0;
    // What a clock has said that was ahead must not hold it up.
    (stated <= after(q.now(), 2 * MAX_PAUSE)).then_some(stated)
}

/// Why nothing is made now, and when it will be.
pub(super) fn words(status: &JobStatus, now: Timestamp) -> Option<String> {
    let gang = status.gang.as_ref()?;
    let at = gang.not_before.as_ref()?.0;
    let why = gang.reason.as_deref().unwrap_or("a part of them was refused");
    (at > now).then(|| {
        format!("what there was of its pods was given back, so that others can go on; all are made again at {at}: {why}")
    })
}

fn due(q: &Question<'_>, gang: &GangStatus) -> Option<Timestamp> {
    let stated = q.job.policy.scheduling.schedule_timeout_seconds;
    let patience = stated.filter(|s| *s > 0).map_or(PATIENCE, i64::from);
    Some(after(gang.incomplete_since.as_ref()?.0, patience))
}

/// The refusal of a pod that has nothing to do with what the pod says.
fn refusal<'a>(q: &'a Question<'_>) -> Option<&'a Refusal> {
    let of_pod =
        |refusal: &&Refusal| refusal.object.starts_with("Pod ") || refusal.object.starts_with("Job ");
    let refusals = q.observed.refusals.iter().filter(of_pod);
    let mut of_others = refusals.filter(|r| r.cause == RefusalCause::Forbidden && !r.deletion);
    of_others.next()
}

/// Whether a part of a gang is there, and nothing of it has a place.
fn is_part(q: &Question<'_>) -> bool {
    let slots = || q.tally.slots.iter();
    let waits = |state: &SlotState| *state == SlotState::Pending;
    let placed = slots().any(|slot| slot.pod.as_ref().is_some_and(|pod| pod.node.is_some()));
    q.settings.gang.api().is_some()
        && !placed
        && slots().any(|slot| waits(&slot.state))
        && slots().any(|slot| slot.state == SlotState::Missing)
        && slots().all(|slot| waits(&slot.state) || slot.state == SlotState::Missing)
}

fn has_begun(state: &SlotState) -> bool {
    match state {
        SlotState::Running | SlotState::Succeeded => true,
        SlotState::Missing
        | SlotState::Lost
        | SlotState::Previous
        | SlotState::Terminating
        | SlotState::Pending
        | SlotState::Failed(_) => false,
    }
}

/// Rivals that gave back at the same time must not try again at the same time.
fn pause(q: &Question<'_>, times: u32) -> i64 {
    let least = PAUSE
        .saturating_mul(1_i64.checked_shl(times.saturating_sub(1).min(8)).unwrap_or(1))
        .min(MAX_PAUSE);
    let bytes = q.observed.job.uid.as_str().bytes().chain(times.to_le_bytes());
    let mixed = bytes.fold(0_i64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(i64::from(byte))
    });
    least.saturating_add(mixed.rem_euclid(least))
}
