//! Roles that depend on another role, such as a launcher on its workers: the conditions under which such a replica
//! waits, and under which its failure is attributed to the dependency.

use super::context::Context;
use crate::names::{self, Role};
use crate::observe::{ContainerState, ContainerView, PodView};
use crate::replica_states::{ReplicaPhase, ReplicaState};
use crate::status;

/// Maximum number of excused failures of a launcher. All later ones count as its own, whatever the state of its
/// workers.
pub(crate) const MOST_EXCUSED: u32 = 10;

/// True if a replica failed because its dependency was not ready, such as a launcher that fails while a worker is
/// missing. Instead of useless retries, it is restarted when all workers are ready. A launcher that continues (an
/// elastic run) is not touched.
pub(crate) fn failed_for_dependency(ctx: &Context<'_>, replica: &ReplicaState) -> bool {
    let begun_anew = replica.attempt.0.saturating_sub(ctx.job.stored.attempt);
    let missing = |needed| not_ready(ctx, needed).next().is_some();
    dependency(ctx, replica)
        .is_some_and(|needed| begun_anew < MOST_EXCUSED && is_in_trouble(ctx, replica) && missing(needed))
}

/// Number of retries that do not count against the job. A replica that failed because of its dependency made one such
/// retry; the restart of the dependency counts instead.
pub(crate) fn excused_retries(ctx: &Context<'_>) -> u32 {
    let for_dependency = ctx
        .states
        .replicas
        .iter()
        .filter(|replica| failed_for_dependency(ctx, replica));
    for_dependency.fold(0, |sum, replica| sum.saturating_add(replica.retries.min(1)))
}

/// Role that this replica depends on.
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

/// True if the container has ended with an error at least once and does not run now.
pub(crate) fn is_down(container: &ContainerView, replica: &ReplicaState) -> bool {
    match &container.state {
        ContainerState::Terminated { exit_code, .. } => *exit_code != 0,
        ContainerState::Waiting { .. } => replica.retries > 0,
    }
}

/// True if the replica must wait for its dependency. A first start need not wait unless the framework says so.
pub(crate) fn must_wait(ctx: &Context<'_>, replica: &ReplicaState, needed: Role) -> bool {
    let key = names::replica_key(replica.role(), replica.id().index);
    let again = ctx.job.stored.slots.contains_key(&key);
    (again || ctx.framework.waits_for_dependency(ctx.job)) && not_ready(ctx, needed).next().is_some()
}

/// Replicas of a role that are not ready for those that depend on them.
pub(crate) fn not_ready<'a>(ctx: &'a Context<'_>, role: Role) -> impl Iterator<Item = &'a ReplicaState> {
    let of_role = ctx.states.replicas.iter().filter(move |s| s.role() == role);
    of_role.filter(|replica| match &replica.phase {
        ReplicaPhase::Running => replica.pod.as_ref().is_none_or(|pod| !pod.ready),
        // A worker that has succeeded does not block: its end was intended.
        ReplicaPhase::Succeeded => false,
        ReplicaPhase::NotCreated
        | ReplicaPhase::Disappeared
        | ReplicaPhase::Outdated
        | ReplicaPhase::Terminating
        | ReplicaPhase::Pending
        | ReplicaPhase::Failed(_) => true,
    })
}
