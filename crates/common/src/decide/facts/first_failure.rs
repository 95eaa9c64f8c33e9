//! The pod that failed first. This is the main question of a user when twenty pods have failed, since most of the
//! others failed because of it.

use crate::conditions;
use jiff::Timestamp;

use crate::api::{ConditionType, FirstFailure, JobStatus};
use crate::replica_states::{Failure, ReplicaPhase, ReplicaState};

use super::context::Context;
use super::{attempts, failures, reasons};

/// Maximum number of stored follower names.
const MOST_FOLLOWERS: usize = 32;

/// Stores the pod that failed first, and the others as its followers. Failures while the job is still restarting belong
/// to the same incident. An earlier failure that is observed later replaces the first one.
pub(crate) fn record(ctx: &Context<'_>, status: &mut JobStatus) {
    let troubles = troubles(ctx);
    if troubles.is_empty() {
        return;
    }
    let same_trouble = conditions::is_true(&ctx.job.stored, ConditionType::Restarting);
    let known = status
        .first_failure
        .take()
        .filter(|known| same_trouble && !troubles.iter().any(|t| is_another(ctx, &t.entry, known)));
    let mut others = troubles.into_iter().map(|trouble| trouble.entry);
    let first = match (known, others.next()) {
        (Some(known), Some(next)) if is_before(&next, &known) => follow(next, known),
        (Some(known), Some(next)) => follow(known, next),
        (None, Some(next)) => next,
        (known, None) => {
            status.first_failure = known;
            return;
        }
    };
    status.first_failure = Some(others.fold(first, follow));
}

/// True if the incident began with a pod that was removed, so that the others failed because it was missing.
pub(crate) fn is_disruption(ctx: &Context<'_>) -> bool {
    troubles(ctx).first().is_some_and(|first| first.disruption)
}

/// All pods that have failed or were removed, in the order of their failures.
fn troubles(ctx: &Context<'_>) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = ctx
        .states
        .replicas
        .iter()
        .filter_map(|replica| trouble(ctx, replica))
        .collect();
    troubles.sort_by_key(|trouble| trouble.order);
    troubles
}

/// True if a failure belongs to another incident than the known one. A pod cannot follow itself, and after a restart of
/// all replicas no failure follows one from before the restart.
fn is_another(ctx: &Context<'_>, next: &FirstFailure, known: &FirstFailure) -> bool {
    let again = next.role == known.role && next.index == known.index;
    again || known.followers.contains(&next.pod) || (ctx.restarts_together() && next.attempt > known.attempt)
}

/// Same order as [`Trouble::order`], for two failures that are observed at the same time.
fn is_before(a: &FirstFailure, b: &FirstFailure) -> bool {
    let by_itself = |it: &FirstFailure| it.exit_code.is_some() && !failures::ended_by_kernel(it.exit_code);
    match (&a.finished_at, &b.finished_at) {
        (Some(at_a), Some(at_b)) => (at_a.0, by_itself(a)) < (at_b.0, by_itself(b)),
        _ => false,
    }
}

/// Adds a pod that failed later, together with its followers.
fn follow(mut first: FirstFailure, later: FirstFailure) -> FirstFailure {
    let count = later.follower_count.saturating_add(1);
    first.follower_count = first.follower_count.saturating_add(count);
    first
        .followers
        .extend(std::iter::once(later.pod).chain(later.followers));
    first.followers.truncate(MOST_FOLLOWERS);
    first
}

struct Trouble {
    /// Sort key. A removed pod is the cause of failures at the same moment. API times have whole seconds: among
    /// failures of the same second, one that was ended by the kernel is the more likely cause.
    order: (u8, Timestamp, bool, u32),
    /// True if the program is not at fault.
    disruption: bool,
    entry: FirstFailure,
}

fn trouble(ctx: &Context<'_>, replica: &ReplicaState) -> Option<Trouble> {
    let now = ctx.now();
    let silent = replica
        .pod
        .as_deref()
        .and_then(|pod| ctx.unreachable.not_ready_since(pod));
    let (entry, class, by_itself) = match &replica.phase {
        ReplicaPhase::Failed(failure) if failures::tolerated(ctx, replica, failure) => return None,
        ReplicaPhase::Failed(failure) => {
            let class = match (failure.finished_at, &failure.disruption) {
                (None, Some(_)) => 0,
                (Some(_), _) => 1,
                (None, None) => 2,
            };
            (
                failed(replica, failure, now),
                class,
                !failures::ended_by_kernel(failure.exit_code),
            )
        }
        ReplicaPhase::Terminating | ReplicaPhase::Disappeared => (taken(ctx, replica), 0, false),
        // The pod is not presumed dead yet, but pods that depend on it fail earlier.
        ReplicaPhase::Running if silent.is_some() => (taken(ctx, replica), 0, false),
        ReplicaPhase::NotCreated
        | ReplicaPhase::Outdated
        | ReplicaPhase::Pending
        | ReplicaPhase::Running
        | ReplicaPhase::Succeeded => return None,
    };
    let at = entry.finished_at.as_ref().map_or(now, |time| time.0);
    Some(Trouble {
        order: (class, at, by_itself, replica.replica.rank.0),
        disruption: attempts::is_disruption(replica),
        entry,
    })
}

fn failed(replica: &ReplicaState, failure: &Failure, now: Timestamp) -> FirstFailure {
    let Failure {
        disruption: _, // included in `reason` if there is no other reason
        exit_code,
        finished_at,
        given_up: _,
        text: _,
        reason,
        container,
        message,
    } = failure;
    FirstFailure {
        container: container.clone(),
        exit_code: *exit_code,
        // Exit codes above 128 stand for signals, by the convention of shells and container runtimes.
        signal: exit_code.and_then(|code| code.checked_sub(128).filter(|n| (1..=64).contains(n))),
        reason: reason.clone(),
        finished_at: Some(conditions::whole_seconds(finished_at.unwrap_or(now))),
        message: message.clone(),
        ..entry(replica)
    }
}

fn taken(ctx: &Context<'_>, replica: &ReplicaState) -> FirstFailure {
    let silent = replica
        .pod
        .as_deref()
        .and_then(|pod| ctx.unreachable.not_ready_since(pod));
    let reason = if silent.is_some() {
        Some("NodeLost".to_owned())
    } else {
        reasons::disruption_of(replica)
    };
    FirstFailure {
        reason: Some(reason.unwrap_or_else(|| "Deleted".to_owned())),
        finished_at: Some(conditions::whole_seconds(silent.unwrap_or(ctx.now()))),
        ..entry(replica)
    }
}

fn entry(replica: &ReplicaState) -> FirstFailure {
    let pod = replica.pod.as_deref();
    FirstFailure {
        pod: pod.map_or_else(|| replica.name().to_owned(), |pod| pod.name.to_string()),
        role: replica.role().to_string(),
        index: replica.id().index.0,
        attempt: replica.attempt.0,
        node: pod.and_then(|pod| pod.node.as_ref().map(ToString::to_string)),
        ..FirstFailure::default()
    }
}
