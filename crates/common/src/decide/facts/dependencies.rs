//! Roles that depend on another role, such as a launcher on its workers: when such a replica waits, and when its failure is
//! the dependency's.

use super::context::Context;
use crate::names::{self, Role};
use crate::observe::{ContainerState, ContainerView, PodView};
use crate::replica_states::{ReplicaPhase, ReplicaState};
use crate::status;

/// So often a launcher is excused_retries; after that its failures are its own, whatever its workers do.
pub(crate) const MOST_EXCUSED: u32 = 10;

/// A launcher that fails while a worker is not there does so for that reason: rather than let it try again and again
/// in vain, it is begun anew when all workers are ready. One that goes on (an elastic run) is left alone.
pub(crate) fn failed_for_dependency(ctx: &Context<'_>, replica: &ReplicaState) -> bool {
    let begun_anew = replica.attempt.0.saturating_sub(ctx.job.stored.attempt);
    let missing = |needed| not_ready(ctx, needed).next().is_some();
    dependency(ctx, replica)
        .is_some_and(|needed| begun_anew < MOST_EXCUSED && is_in_trouble(ctx, replica) && missing(needed))
}

/// Retries that are not held against the job: what failed because of another did so once, and the other counts.
pub(crate) fn excused_retries(ctx: &Context<'_>) -> u32 {
    let for_dependency = ctx
        .states
        .replicas
        .iter()
        .filter(|replica| failed_for_dependency(ctx, replica));
    for_dependency.fold(0, |sum, replica| sum.saturating_add(replica.retries.min(1)))
}

/// The role whose pods this replica drives.
pub(crate) fn dependency(ctx: &Context<'_>, replica: &ReplicaState) -> Option<Role> {
    ctx.job.info.of_role(replica.role())?.depends_on
}

pub(crate) fn is_in_trouble(ctx: &Context<'_>, replica: &ReplicaState) -> bool {
    let known = ctx
        .job
        .stored
        .restart_counts
        .as_ref()
        .map_or(0, |counts| counts.in_place);
    let retried = status::to_i32(replica.retries) > known;
    let down = |pod: &PodView| {
        pod.detail
            .as_ref()
            .is_some_and(|d| d.containers.iter().any(|c| is_down(c, replica)))
    };
    match replica.phase {
        ReplicaPhase::Failed(_) => true,
        ReplicaPhase::Running | ReplicaPhase::Pending => retried || replica.pod.as_deref().is_some_and(down),
        ReplicaPhase::NotCreated
        | ReplicaPhase::Disappeared
        | ReplicaPhase::Outdated
        | ReplicaPhase::Terminating
        | ReplicaPhase::Succeeded => false,
    }
}

/// Whether the container has ended badly at least once and does not run now.
pub(crate) fn is_down(container: &ContainerView, replica: &ReplicaState) -> bool {
    match &container.state {
        ContainerState::Terminated { exit_code, .. } => *exit_code != 0,
        ContainerState::Waiting { .. } => replica.retries > 0,
    }
}

/// A first start need not wait unless the job says so.
pub(crate) fn must_wait(ctx: &Context<'_>, replica: &ReplicaState, needed: Role) -> bool {
    let key = names::replica_key(replica.role(), replica.id().index);
    let again = ctx.job.stored.slots.contains_key(&key);
    (again || ctx.framework.waits_for_dependency(ctx.job)) && not_ready(ctx, needed).next().is_some()
}

/// Replicas of a role that are not there for those that drive them.
pub(crate) fn not_ready<'a>(ctx: &'a Context<'_>, role: Role) -> impl Iterator<Item = &'a ReplicaState> {
    let of_role = ctx.states.replicas.iter().filter(move |s| s.role() == role);
    of_role.filter(|replica| match &replica.phase {
        ReplicaPhase::Running => replica.pod.as_ref().is_none_or(|pod| !pod.ready),
        // Whoever lets a worker end knows why.
        ReplicaPhase::Succeeded => false,
        ReplicaPhase::NotCreated
        | ReplicaPhase::Disappeared
        | ReplicaPhase::Outdated
        | ReplicaPhase::Terminating
        | ReplicaPhase::Pending
        | ReplicaPhase::Failed(_) => true,
    })
}
