//! Step that releases an incomplete gang: if a part of a gang has pods and a quota refuses the rest, the gang releases
//! what it has. Two halves of gangs under one quota would otherwise wait for each other forever.
//!
//! Invariants:
//!
//! * A job is not released if one of its pods has a node, runs or has ended, or if the gang has as many pods as it
//!   needs.
//! * The next attempt of all replicas is stored before the pods are deleted.
//! * After that, nothing is created for longer than the time that other jobs wait between two tries.

use crate::conditions;
use jiff::Timestamp;

use crate::api::{GangStatus, JobStatus};
use crate::observe::{Refusal, RefusalCause};
use crate::plan::Plan;
use crate::replica_states::{ReplicaPhase, ReplicaState};

use super::facts::context::{Context, after, doubled, finish_plan, warning};
use super::facts::draft::draft_status;
use super::facts::{attempts, delays, deletes, gang, missing, reasons, waits};

/// Minimum time that a part of a gang waits for the rest, in seconds, if the job does not set one.
const PATIENCE: i64 = 120;
/// Number of steps of [`STEP`] seconds by which the waiting times of jobs differ. A refused job tries again within
/// about a minute, so in that time it gets what the first job has released.
const STEPS: i64 = 4;
const STEP: i64 = 80;
/// Shortest pause after a release, in seconds. It doubles with each release. Other jobs try once a minute.
const PAUSE: i64 = 120;
pub(super) fn plan(ctx: &Context<'_>) -> Option<Plan> {
    let why = reasons::cut(&waits::refusal_text(refusal(ctx)?));
    let known = ctx.job.stored.gang.clone().unwrap_or_default();
    if due(ctx, &known)? > ctx.now() || !is_part(ctx) {
        return None;
    }
    let times = known.given_back.saturating_add(1);
    let not_before = after(ctx.now(), pause(ctx, times));
    let mut status = draft_status(ctx);
    attempts::next_attempt_of_all(ctx, &mut status);
    status.gang = Some(GangStatus {
        incomplete_since: None,
        given_back: times,
        not_before: Some(conditions::whole_seconds(not_before)),
        reason: Some(why),
    });
    let text = delays::gang_words(&status, ctx.now()).unwrap_or_default();
    status.waiting_for = Some(text.clone());
    let events = vec![warning("GangGivenBack", text)];
    let plan = finish_plan(
        &ctx.job.stored,
        status.clone(),
        deletes::carriers(ctx).collect(),
        events,
    );
    Some(Plan {
        intent: Some(status),
        requeue_at: ctx.deadline().into_iter().chain([not_before]).min(),
        ..plan
    })
}

/// Stores the time since which a part of the gang has been waiting for the rest. Clears it when that is over, and
/// clears all gang status when the gang has started.
pub(super) fn record(ctx: &Context<'_>, status: &mut JobStatus) {
    if is_part(ctx) {
        if refusal(ctx).is_some() {
            let now = conditions::whole_seconds(ctx.now());
            let gang = status.gang.get_or_insert_default();
            // If the clock was ahead when the time was stored, that must not extend the wait.
            let since = gang.incomplete_since.take().filter(|since| *since <= now);
            gang.incomplete_since = Some(since.unwrap_or(now));
        }
    } else if ctx
        .states
        .replicas
        .iter()
        .all(|replica| has_begun(&replica.phase))
    {
        status.gang = None;
    } else if let Some(gang) = &mut status.gang {
        gang.incomplete_since = None;
    }
}

/// Time at which the gang is released, if the rest is still refused then.
pub(super) fn next(ctx: &Context<'_>, status: &JobStatus) -> Option<Timestamp> {
    due(ctx, status.gang.as_ref()?).filter(|due| *due > ctx.now())
}

fn due(ctx: &Context<'_>, gang: &GangStatus) -> Option<Timestamp> {
    let stated = ctx.job.policy.scheduling.schedule_timeout_seconds;
    let patience = stated.filter(|s| *s > 0).map_or(PATIENCE, i64::from);
    let longer = mixed(ctx, gang.given_back).rem_euclid(STEPS).saturating_mul(STEP);
    Some(after(
        gang.incomplete_since.as_ref()?.0,
        patience.saturating_add(longer),
    ))
}

/// Refusal of a pod by a quota: other jobs can make room by releasing their pods.
fn refusal<'a>(ctx: &'a Context<'_>) -> Option<&'a Refusal> {
    let of_pod = |refusal: &&Refusal| matches!(refusal.object.kind, "Pod" | "Job");
    let mut refusals = ctx.observed.refusals.iter().filter(of_pod);
    refusals.find(|refusal| refusal.cause == RefusalCause::Quota && !refusal.deletion)
}

/// True if the gang has too few pods, the rest is to be created now, and no pod of the job has a node.
fn is_part(ctx: &Context<'_>) -> bool {
    let Some(members) = gang::members(ctx) else {
        return false;
    };
    let replicas = || ctx.states.replicas.iter();
    let placed = |replica: &ReplicaState| replica.pod.as_ref().is_some_and(|pod| pod.node.is_some());
    let waits = |replica: &&ReplicaState| replica.phase == ReplicaPhase::Pending;
    let begun = replicas()
        .any(|replica| placed(replica) || !(waits(&replica) || replica.phase == ReplicaPhase::NotCreated));
    let there = replicas()
        .filter(waits)
        .filter(|replica| members.has(replica))
        .count();
    let enough = ctx.job.policy.scheduling.min_available;
    let enough = enough.is_some_and(|n| usize::try_from(n).is_ok_and(|n| there >= n));
    let lacks = || {
        missing::missing_replicas(ctx)
            .replicas
            .iter()
            .any(|replica| members.has(replica))
    };
    !begun && there > 0 && !enough && lacks()
}

fn has_begun(state: &ReplicaPhase) -> bool {
    match state {
        ReplicaPhase::Running | ReplicaPhase::Succeeded => true,
        ReplicaPhase::NotCreated
        | ReplicaPhase::Disappeared
        | ReplicaPhase::Outdated
        | ReplicaPhase::Terminating
        | ReplicaPhase::Pending
        | ReplicaPhase::Failed(_) => false,
    }
}

/// Pause after a release. Rivals that were released at the same time must not try again at the same time.
fn pause(ctx: &Context<'_>, times: u32) -> i64 {
    let least = doubled(PAUSE, times.saturating_sub(1), delays::MAX_PAUSE);
    least.saturating_add(mixed(ctx, times).rem_euclid(least))
}

/// Number that differs between jobs and between releases.
fn mixed(ctx: &Context<'_>, times: u32) -> i64 {
    let bytes = ctx.observed.job.uid.as_str().bytes().chain(times.to_le_bytes());
    bytes.fold(0_i64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(i64::from(byte))
    })
}
