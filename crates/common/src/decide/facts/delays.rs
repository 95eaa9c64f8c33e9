//! The time before which a replica may not be created again: back-off after restarts, and after a gang was released.

use super::attempts;
use super::context::{Context, after, doubled};
use crate::api::JobStatus;
use crate::names;
use crate::replica_states::ReplicaState;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Pause before the second restart of a replica, in seconds; doubled for each further one. The first restart is at once.
pub(crate) const RESTART_DELAY: i64 = 5;

/// Longest pause before a restart, in seconds.
pub(crate) const MAX_RESTART_DELAY: i64 = 300;

/// A replica that fails again and again is restarted ever more slowly.
pub(crate) fn of_replica(ctx: &Context<'_>, replica: &ReplicaState) -> Option<Timestamp> {
    let stored = ctx
        .job
        .stored
        .slots
        .get(&names::replica_key(replica.role(), replica.id().index))
        // Who went because fewer were wanted has not failed.
        .filter(|stored| stored.reason.as_deref() != Some(attempts::SCALED_DOWN));
    let own = stored.and_then(|stored| {
        let restarts = stored.attempt.saturating_sub(ctx.job.stored.attempt);
        restart_due(ctx, stored.since.as_ref()?, restarts)
    });
    own.max(of_all(ctx)).max(of_gang(ctx))
}

/// When the last of so many restarts, decided at `since`, is due.
pub(crate) fn restart_due(ctx: &Context<'_>, since: &Time, restarts: u32) -> Option<Timestamp> {
    // A clock that was ahead when the restart was decided must not hold it up.
    if since.0 > ctx.now() {
        return None;
    }
    let repeated = restarts.checked_sub(2)?;
    Some(after(
        since.0,
        doubled(RESTART_DELAY, repeated, MAX_RESTART_DELAY),
    ))
}

/// When pods may be made again: at once after the first restart, then ever later.
pub(crate) fn of_all(ctx: &Context<'_>) -> Option<Timestamp> {
    let restarts = ctx.job.stored.whole_restarts.as_ref()?;
    restart_due(ctx, restarts.since.as_ref()?, restarts.count)
}

/// Longest shortest pause, in seconds.
pub(crate) const MAX_PAUSE: i64 = 600;

/// Before this time nothing of the job is made.
pub(crate) fn of_gang(ctx: &Context<'_>) -> Option<Timestamp> {
    until(&ctx.job.stored, ctx.now())
}

/// Why nothing is made now, and when it will be.
pub(crate) fn gang_words(status: &JobStatus, now: Timestamp) -> Option<String> {
    let (gang, at) = (status.gang.as_ref()?, until(status, now)?);
    let why = gang.reason.as_deref().unwrap_or("a part of them was refused");
    (at > now).then(|| {
        format!("what there was of its pods was given back, so that others can go on; all are made again at {at}: {why}")
    })
}

pub(crate) fn until(status: &JobStatus, now: Timestamp) -> Option<Timestamp> {
    let stated = status.gang.as_ref()?.not_before.as_ref()?.0;
    // What a clock has said that was ahead must not hold it up.
    (stated <= after(now, 2 * MAX_PAUSE)).then_some(stated)
}
