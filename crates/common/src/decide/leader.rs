//! Step that keeps the leader from being scaled away. A user who removes the last replica of the role that leads a
//! running job, or that whole role, either made a mistake or wants to stop the job. The job continues unchanged, and a
//! message explains how to stop it.

use crate::names::{Attempt, ReplicaId};
use crate::observe::Phase;
use crate::plan::Plan;
use crate::replica_states;
use crate::replicas::Replicas;

use super::facts::context::{Context, state_created};
use super::invalid;

pub(super) fn plan(ctx: &Context<'_>) -> Option<Plan> {
    let leader = lost(ctx)?;
    // The deadline of the job still applies.
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
    // The leader's pods belong to no current replica, but they still run.
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

/// Leader of the running job, if the spec no longer contains it.
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
    // In jobs without a leading role, such as parameter servers alone, rank 0 counts as the leader.
    let first = || replicas.all().first().map(|replica| replica.id);
    let leader = ctx.framework.leader(&replicas, ctx.job).or_else(first);
    let leaders = [leader, ctx.framework.rendezvous(&replicas, ctx.job)];
    // This applies whether or not the replica has a pod at the moment.
    let wanted = |id: &ReplicaId| ctx.job.role(id.role).is_some_and(|r| id.index.0 < r.count);
    leaders.into_iter().flatten().find(|id| !wanted(id))
}
