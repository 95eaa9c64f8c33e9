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
use crate::replica_states::{ReplicaPhase, ReplicaState};

use super::facts::context::{Context, after, doubled, finish_plan, warning};
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

/// Notes since when a part of the gang waits for the rest; forgets it when it does not any more, and all when the gang has begun.
pub(super) fn record(ctx: &Context<'_>, status: &mut JobStatus) {
    if is_part(ctx) {
        if refusal(ctx).is_some() {
            let now = conditions::whole_seconds(ctx.now());
            let gang = status.gang.get_or_insert_default();
            // A clock that was ahead would make it wait longer.
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

/// When the gang gives back what it has, if the rest is refused until then.
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

/// The refusal of a pod that others can do something about by giving back theirs: a quota's. The API server has no code of
/// its own for that (`k8s.io/apiserver/pkg/admission/plugin/resourcequota`: "exceeded quota").
fn refusal<'a>(ctx: &'a Context<'_>) -> Option<&'a Refusal> {
    let of_pod =
        |refusal: &&Refusal| refusal.object.starts_with("Pod ") || refusal.object.starts_with("Job ");
    let refusals = ctx.observed.refusals.iter().filter(of_pod);
    let mut of_others = refusals.filter(|r| {
        r.cause == RefusalCause::Forbidden && !r.deletion && r.message.contains("exceeded quota")
    });
    of_others.next()
}

/// Whether a part of a gang is there that is not enough, the rest is to be made now, and nothing of the job has a place.
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

/// Rivals that gave back at the same time must not try again at the same time.
fn pause(ctx: &Context<'_>, times: u32) -> i64 {
    let least = doubled(PAUSE, times.saturating_sub(1), delays::MAX_PAUSE);
    least.saturating_add(mixed(ctx, times).rem_euclid(least))
}

/// A number that is another for each job, and each time.
fn mixed(ctx: &Context<'_>, times: u32) -> i64 {
    let bytes = ctx.observed.job.uid.as_str().bytes().chain(times.to_le_bytes());
    bytes.fold(0_i64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(i64::from(byte))
    })
}
