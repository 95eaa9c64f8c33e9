//! The next attempt of a replica or of all replicas, and the restart counts that go with it.
//!
//! Invariant: attempts only grow.

use super::context::Context;
use super::{reasons, stored};
use crate::api::{JobStatus, SlotStatus};
use crate::names::{self, Attempt, ReplicaId};
use crate::replica_states::{ReplicaPhase, ReplicaState};
use crate::{conditions, status};

/// Maximum number of replicas with a stored reason, so that the largest jobs fit into one object too.
pub(crate) const MOST_REASONS: usize = 1000;

/// Counts the restart and moves the replica to its next attempt. If it failed because of its dependency, neither this
/// restart nor the last of its own retries is counted: the restart of the dependency is.
pub(crate) fn next_attempt(
    ctx: &Context<'_>,
    status: &mut JobStatus,
    replica: &ReplicaState,
    for_dependency: bool,
) {
    // A failure because of the dependency does not count as a restart of this replica.
    if !for_dependency {
        count(status, is_disruption(replica));
    }
    let counts = status.restart_counts.get_or_insert_default();
    // Retries of the old pod stay counted.
    let in_place = status::to_i32(replica.retries);
    let own = if for_dependency {
        in_place.saturating_sub(1).max(0)
    } else {
        in_place
    };
    counts.failures = counts.failures.saturating_add(own);
    counts.in_place = counts.in_place.saturating_sub(in_place).max(0);
    store_attempt(
        ctx,
        status,
        replica.id(),
        replica.attempt,
        &reasons::short_reason(ctx, replica),
    );
}

/// Counts one restart.
pub(crate) fn count(status: &mut JobStatus, disruption: bool) {
    let counts = status.restart_counts.get_or_insert_default();
    if disruption {
        counts.disruptions = counts.disruptions.saturating_add(1);
    } else {
        counts.failures = counts.failures.saturating_add(1);
    }
}

/// True if a replica is to be replaced for a reason other than a failure of its program.
pub(crate) fn is_disruption(replica: &ReplicaState) -> bool {
    match &replica.phase {
        ReplicaPhase::Failed(failure) => failure.disruption.is_some(),
        ReplicaPhase::NotCreated
        | ReplicaPhase::Disappeared
        | ReplicaPhase::Outdated
        | ReplicaPhase::Terminating
        | ReplicaPhase::Pending
        | ReplicaPhase::Running
        | ReplicaPhase::Succeeded => true,
    }
}

pub(crate) fn store_attempt(
    ctx: &Context<'_>,
    status: &mut JobStatus,
    id: ReplicaId,
    old: Attempt,
    reason: &str,
) {
    let entry = SlotStatus {
        attempt: old.next().0,
        since: Some(conditions::whole_seconds(ctx.now())),
        reason: (status.slots.len() < MOST_REASONS || reason == stored::SCALED_DOWN)
            .then(|| reason.to_owned()),
    };
    status.slots.insert(names::replica_key(id.role, id.index), entry);
}

/// Drops successes, which belong to an earlier attempt of the job.
pub(crate) fn forget_success(counts: &mut crate::api::ReplicaStatus) {
    counts.succeeded = 0;
    counts.succeeded_indices = None;
}

/// Moves all replicas to a new attempt. All existing pods become outdated, and their container restarts stay counted.
pub(crate) fn next_attempt_of_all(ctx: &Context<'_>, status: &mut JobStatus) {
    // Pods may exist without any stored status, if the operator stopped in between.
    let nothing = ctx.observed.pods.is_empty()
        && ctx.observed.batch_jobs.is_empty()
        && ctx.observed.vanished.is_empty();
    if status.start_time.is_none() && nothing {
        return;
    }
    let stored = status.slots.values().map(|replica| replica.attempt);
    let pods = ctx.observed.pods.iter().map(|pod| pod.attempt.0);
    let seen = pods.chain(ctx.observed.batch_jobs.iter().map(|job| job.attempt.0));
    let missed = ctx.observed.vanished.iter().map(|pod| pod.attempt.0);
    let highest = stored
        .chain(seen)
        .chain(missed)
        .max()
        .unwrap_or(0)
        .max(status.attempt);
    status.attempt = highest.saturating_add(1);
    status.slots.clear();
    if let Some(counts) = &mut status.restart_counts {
        counts.failures = counts.failures.saturating_add(counts.in_place);
        counts.in_place = 0;
    }
}

/// Number of restarts so far that count against backoffLimit.
pub(crate) fn used(ctx: &Context<'_>) -> u32 {
    let counted = status::counted_restarts(&ctx.job.stored, ctx.states);
    if ctx.settings.count_disruptions {
        counted.saturating_add(disruptions_so_far(ctx))
    } else {
        counted
    }
}

pub(crate) fn disruptions_so_far(ctx: &Context<'_>) -> u32 {
    let counts = ctx.job.stored.restart_counts.as_ref();
    counts.map_or(0, |counts| u32::try_from(counts.disruptions).unwrap_or(0))
}
