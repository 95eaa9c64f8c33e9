//! A gang of which a part is refused gives back what it has: two halves under one quota would wait for each other for ever.
//!
//! Invariants: nothing is given back of a job of which a pod has a place, runs or has ended, nor of a gang that has as many
//! pods as it needs; the next attempt of all is stored first; then nothing is made for longer than others wait between two
//! tries.

use crate::conditions;
use jiff::Timestamp;

use crate::api::{GangStatus, JobStatus};
use crate::observe::{Refusal, RefusalCause};
use crate::plan::Plan;
use crate::tally::{SlotState, SlotTally};

use super::facts::context::{Question, after, answer, doubled, warning};
use super::facts::draft::draft_status;
use super::facts::{attempts, delays, deletes, gang, missing, reasons, waits};

/// So long a part of a gang waits for the rest at least, in seconds, where its job does not say.
const PATIENCE: i64 = 120;
/// By so many of these steps, in seconds, some wait longer than others: who is refused tries again within a minute or so, and
/// then has got what the first one has given back.
const STEPS: i64 = 4;
const STEP: i64 = 80;
/// Shortest pause after it was given back, in seconds; doubled with each time. Others try once a minute.
const PAUSE: i64 = 120;
pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    let why = reasons::cut(&waits::refusal_text(refusal(q)?));
    let known = q.job.stored.gang.clone().unwrap_or_default();
    if due(q, &known)? > q.now() || !is_part(q) {
        return None;
    }
    let times = known.given_back.saturating_add(1);
    let not_before = after(q.now(), pause(q, times));
    let mut status = draft_status(q);
    attempts::retire_all(q, &mut status);
    status.gang = Some(GangStatus {
        incomplete_since: None,
        given_back: times,
        not_before: Some(conditions::whole_seconds(not_before)),
        reason: Some(why),
    });
    let text = delays::gang_words(&status, q.now()).unwrap_or_default();
    status.waiting_for = Some(text.clone());
    let notes = vec![warning("GangGivenBack", text)];
    let plan = answer(
        &q.job.stored,
        status.clone(),
        deletes::carriers(q).collect(),
        notes,
    );
    Some(Plan {
        intent: Some(status),
        wake: q.deadline().into_iter().chain([not_before]).min(),
        ..plan
    })
}

/// Notes since when a part of the gang waits for the rest; forgets it when it does not any more, and all when the gang has begun.
pub(super) fn record(q: &Question<'_>, status: &mut JobStatus) {
    if is_part(q) {
        if refusal(q).is_some() {
            let now = conditions::whole_seconds(q.now());
            let gang = status.gang.get_or_insert_default();
            // A clock that was ahead would make it wait longer.
            let since = gang.incomplete_since.take().filter(|since| *since <= now);
            gang.incomplete_since = Some(since.unwrap_or(now));
        }
    } else if q.tally.slots.iter().all(|slot| has_begun(&slot.state)) {
        status.gang = None;
    } else if let Some(gang) = &mut status.gang {
        gang.incomplete_since = None;
    }
}

/// When the gang gives back what it has, if the rest is refused until then.
pub(super) fn next(q: &Question<'_>, status: &JobStatus) -> Option<Timestamp> {
    due(q, status.gang.as_ref()?).filter(|due| *due > q.now())
}

fn due(q: &Question<'_>, gang: &GangStatus) -> Option<Timestamp> {
    let stated = q.job.policy.scheduling.schedule_timeout_seconds;
    let patience = stated.filter(|s| *s > 0).map_or(PATIENCE, i64::from);
    let longer = mixed(q, gang.given_back).rem_euclid(STEPS).saturating_mul(STEP);
    Some(after(
        gang.incomplete_since.as_ref()?.0,
        patience.saturating_add(longer),
    ))
}

/// The refusal of a pod that others can do something about by giving back theirs: a quota's. The API server has no code of
/// its own for that (`k8s.io/apiserver/pkg/admission/plugin/resourcequota`: "exceeded quota").
fn refusal<'a>(q: &'a Question<'_>) -> Option<&'a Refusal> {
    let of_pod =
        |refusal: &&Refusal| refusal.object.starts_with("Pod ") || refusal.object.starts_with("Job ");
    let refusals = q.observed.refusals.iter().filter(of_pod);
    let mut of_others = refusals.filter(|r| {
        r.cause == RefusalCause::Forbidden && !r.deletion && r.message.contains("exceeded quota")
    });
    of_others.next()
}

/// Whether a part of a gang is there that is not enough, the rest is to be made now, and nothing of the job has a place.
fn is_part(q: &Question<'_>) -> bool {
    let Some(members) = gang::members(q) else {
        return false;
    };
    let slots = || q.tally.slots.iter();
    let placed = |slot: &SlotTally| slot.pod.as_ref().is_some_and(|pod| pod.node.is_some());
    let waits = |slot: &&SlotTally| slot.state == SlotState::Pending;
    let begun = slots().any(|slot| placed(slot) || !(waits(&slot) || slot.state == SlotState::Missing));
    let there = slots().filter(waits).filter(|slot| members.has(slot)).count();
    let enough = q.job.policy.scheduling.min_available;
    let enough = enough.is_some_and(|n| usize::try_from(n).is_ok_and(|n| there >= n));
    let lacks = || {
        missing::missing_slots(q)
            .slots
            .iter()
            .any(|slot| members.has(slot))
    };
    !begun && there > 0 && !enough && lacks()
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
    let least = doubled(PAUSE, times.saturating_sub(1), delays::MAX_PAUSE);
    least.saturating_add(mixed(q, times).rem_euclid(least))
}

/// A number that is another for each job, and each time.
fn mixed(q: &Question<'_>, times: u32) -> i64 {
    let bytes = q.observed.job.uid.as_str().bytes().chain(times.to_le_bytes());
    bytes.fold(0_i64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(i64::from(byte))
    })
}
