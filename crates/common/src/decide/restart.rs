//! Step for pods that must be replaced: failed, deleted by others, vanished, or excess.
//!
//! Invariant: the new attempt is stored before the old pod is deleted, and pods are deleted by attempt. After a crash
//! at any point in between, the operator continues here or in `start`, and counts nothing twice.

use crate::names::{Attempt, ReplicaId};
use crate::objects::ChildKind;
use crate::plan::{Counter, Event, Plan};
use crate::replica_states::{self, ReplicaPhase, ReplicaState};

use super::facts::context::{Context, finish_plan};
use super::facts::draft::draft_status;
use super::facts::{attempts, deletes, dependencies, failures, first_failure, reasons, stored};
use super::restart_all;

pub(super) fn plan(ctx: &Context<'_>) -> Option<Plan> {
    let mut replaced: Vec<&ReplicaState> = ctx
        .states
        .replicas
        .iter()
        .filter(|s| must_be_replaced(ctx, s))
        .collect();
    let followers: Vec<&ReplicaState> = ctx
        .states
        .replicas
        .iter()
        .filter(|s| dependencies::failed_for_dependency(ctx, s))
        .collect();
    replaced.extend(followers.iter().filter(|f| !must_be_replaced(ctx, f)));
    let current =
        |id: ReplicaId, attempt: Attempt| attempt >= replica_states::stored_attempt(&ctx.job.stored, id);
    let excess = || {
        ctx.states
            .excess
            .iter()
            .filter(|(id, pod)| current(*id, pod.attempt))
    };
    let disappeared_excess = || {
        ctx.states
            .disappeared_excess
            .iter()
            .filter(|(id, attempt)| current(*id, *attempt))
    };
    if replaced.is_empty() && excess().next().is_none() && disappeared_excess().next().is_none() {
        return None;
    }
    let for_dependency = |replica: &&ReplicaState| followers.iter().any(|f| f.id() == replica.id());
    if ctx.restarts_together() && !replaced.iter().all(for_dependency) {
        return Some(restart_all::plan(ctx, &replaced));
    }
    let mut status = draft_status(ctx);
    first_failure::record(ctx, &mut status);
    let mut writes = Vec::new();
    for replica in &replaced {
        attempts::next_attempt(ctx, &mut status, replica, for_dependency(replica));
        writes.extend(deletes::delete_replica(ctx, replica));
    }
    for (id, pod) in excess() {
        attempts::store_attempt(ctx, &mut status, *id, pod.attempt, stored::SCALED_DOWN);
        writes.extend(deletes::delete(&ctx.unreachable, pod));
        let services = ctx
            .observed
            .standing(ChildKind::Service)
            .filter(|s| s.name == pod.name);
        writes.extend(services.map(deletes::delete_child));
    }
    for (id, attempt) in disappeared_excess() {
        attempts::store_attempt(ctx, &mut status, *id, *attempt, stored::SCALED_DOWN);
    }
    let events = reasons::cause(ctx, &replaced).map(|cause| reasons::announce(ctx, &mut status, &cause));
    let events: Vec<Event> = events.into_iter().collect();
    let restarted = !events.is_empty();
    let mut plan = finish_plan(&ctx.job.stored, status.clone(), writes, events);
    if restarted {
        plan.counters.push(Counter::Restarted);
    }
    plan.requeue_at = ctx.deadline();
    Some(Plan {
        intent: Some(status),
        ..plan
    })
}

fn must_be_replaced(ctx: &Context<'_>, replica: &ReplicaState) -> bool {
    match &replica.phase {
        ReplicaPhase::Failed(failure) => !failures::tolerated(ctx, replica, failure),
        ReplicaPhase::Terminating | ReplicaPhase::Disappeared => true,
        ReplicaPhase::NotCreated
        | ReplicaPhase::Outdated
        | ReplicaPhase::Pending
        | ReplicaPhase::Running
        | ReplicaPhase::Succeeded => false,
    }
}
