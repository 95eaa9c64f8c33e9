//! The leader is never scaled away. Whoever takes the last replica of the role that leads a running job (or that role
//! itself) has slipped, or means to stop it: the job goes on as it is and says how that is done.

use crate::names::{Attempt, ReplicaId};
use crate::observe::Phase;
use crate::plan::Plan;
use crate::replica_states;
use crate::replicas::Replicas;

use super::facts::context::{Context, state_created};
use super::invalid;

pub(super) fn plan(ctx: &Context<'_>) -> Option<Plan> {
    let leader = lost(ctx)?;
    // Its time is over all the same.
    let due = ctx.deadline();
    if due.is_some_and(|due| due <= ctx.now()) {
        return None;
    }
    let (info, key) = (ctx.job.info, &ctx.job.key);
    let name = info.of_role(leader.role)?.replica_name(&key.name, leader.index);
    let message = format!(
        "{} goes on with the pods that it has: spec.{}[{}] without replicas would take away {name}, which leads the job; \
         to stop it, set spec.runPolicy.suspend to true",
        ctx.name(),
        info.replicas_field,
        leader.role,
    );
    // Its pods are in no replica, and yet they run.
    let mut status = ctx.job.stored.clone();
    state_created(&mut status, ctx.now(), info, key);
    let of_role = ctx.states.excess.iter().filter(|(id, _)| id.role == leader.role);
    let runs = of_role.filter(|(_, pod)| pod.phase == Phase::Running && !pod.deleting);
    if let Some(counts) = status.replica_statuses.get_mut(leader.role.0) {
        counts.active = i32::try_from(runs.count()).unwrap_or(i32::MAX);
    }
    Some(Plan {
        requeue_at: due,
        ..invalid::goes_on(info, &ctx.job.stored, status, message)
    })
}

/// The replica that leads the job as it runs, if it is not to be any more.
fn lost(ctx: &Context<'_>) -> Option<ReplicaId> {
    let current =
        |id: ReplicaId, attempt: Attempt| attempt >= replica_states::stored_attempt(&ctx.job.stored, id);
    let excess = ctx.states.excess.iter().map(|(id, pod)| (*id, pod.attempt));
    let lost: Vec<ReplicaId> = excess
        .chain(ctx.states.disappeared_excess.iter().copied())
        .filter(|(id, attempt)| current(*id, *attempt))
        .map(|(id, _)| id)
        .collect();
    if lost.is_empty() {
        return None;
    }
    let runs = ctx.job.info.roles.iter().map(|info| {
        let wanted = ctx.job.role(info.role).map_or(0, |r| r.count);
        let there = lost.iter().filter(|id| id.role == info.role);
        let there = there.map(|id| id.index.0.saturating_add(1)).max().unwrap_or(0);
        (info, wanted.max(there))
    });
    let replicas = Replicas::new(&ctx.job.key.name, runs);
    // Where nobody leads, such as parameter servers alone, it is rank 0.
    let first = || replicas.all().first().map(|replica| replica.id);
    let leader = ctx.framework.leader(&replicas, ctx.job).or_else(first);
    let leaders = [leader, ctx.framework.rendezvous(&replicas, ctx.job)];
    // Whether or not it has a pod at this moment.
    let wanted = |id: &ReplicaId| ctx.job.role(id.role).is_some_and(|r| id.index.0 < r.count);
    leaders.into_iter().flatten().find(|id| !wanted(id))
}
