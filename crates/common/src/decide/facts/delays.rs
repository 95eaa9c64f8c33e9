//! The time before which a replica may not be created again: back-off after restarts, and after a gang was released.

use super::context::{Context, after, doubled};
use super::stored::{self, AttemptCause};
use crate::api::JobStatus;
use crate::names;
use crate::replica_states::ReplicaState;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Pause before the second restart of a replica, in seconds. It doubles with each further restart. The first restart
/// has no delay.
pub(crate) const RESTART_DELAY: i64 = 5;

/// Maximum pause before a restart, in seconds.
pub(crate) const MAX_RESTART_DELAY: i64 = 300;

/// Earliest time for the next start of a replica. The delay grows with repeated failures.
pub(crate) fn of_replica(ctx: &Context<'_>, replica: &ReplicaState) -> Option<Timestamp> {
    let stored = ctx
        .job
        .stored
        .slots
        .get(&names::replica_key(replica.role(), replica.id().index))
        // A replica that was scaled down has not failed.
        .filter(|stored| stored::attempt_cause(stored) != AttemptCause::ScaledDown);
    let own = stored.and_then(|stored| {
        let restarts = stored.attempt.saturating_sub(ctx.job.stored.attempt);
        restart_due(ctx, stored.since.as_ref()?, restarts)
    });
    own.max(of_all(ctx)).max(of_gang(ctx))
}

/// Due time of the last of `restarts` restarts, decided at `since`.
pub(crate) fn restart_due(ctx: &Context<'_>, since: &Time, restarts: u32) -> Option<Timestamp> {
    // If the clock was ahead when the restart was decided, that must not delay it.
    if since.0 > ctx.now() {
        return None;
    }
    let repeated = restarts.checked_sub(2)?;
    Some(after(
        since.0,
        doubled(RESTART_DELAY, repeated, MAX_RESTART_DELAY),
    ))
}

/// Earliest time for creating pods after a restart of all: without delay after the first restart, then with growing
/// delays.
pub(crate) fn of_all(ctx: &Context<'_>) -> Option<Timestamp> {
    let restarts = ctx.job.stored.whole_restarts.as_ref()?;
    restart_due(ctx, restarts.since.as_ref()?, restarts.count)
}

/// Upper limit of the shortest pause after a release of the gang, in seconds.
pub(crate) const MAX_PAUSE: i64 = 600;

/// Time before which no pod of the job is created, after a release of the gang.
pub(crate) fn of_gang(ctx: &Context<'_>) -> Option<Timestamp> {
    until(&ctx.job.stored, ctx.now())
}

/// Text with the reason why no pod is created now and the time of the next try.
pub(crate) fn gang_words(status: &JobStatus, now: Timestamp) -> Option<String> {
    let (gang, at) = (status.gang.as_ref()?, until(status, now)?);
    let why = gang.reason.as_deref().unwrap_or("a part of them was refused");
    (at > now).then(|| {
        format!("what there was of its pods was given back, so that others can go on; all are made again at {at}: {why}")
    })
}

pub(crate) fn until(status: &JobStatus, now: Timestamp) -> Option<Timestamp> {
    let stated = status.gang.as_ref()?.not_before.as_ref()?.0;
    // If the clock was ahead when the time was stored, that must not delay the job.
    (stated <= after(now, 2 * MAX_PAUSE)).then_some(stated)
}
