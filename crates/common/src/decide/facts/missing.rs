//! Replicas without a pod or batch Job: those that are created now, and the waits of the others.

use super::context::Context;
use super::{delays, dependencies};
use crate::names::ReplicaId;
use crate::replica_states::{ReplicaPhase, ReplicaState};
use jiff::Timestamp;

/// Replicas without a pod or batch Job, sorted by the next action.
#[derive(Default)]
pub(crate) struct Missing<'a> {
    /// Replicas to create now. Those that depend on others are last.
    pub(crate) replicas: Vec<&'a ReplicaState>,
    /// Replicas that are created when others are ready.
    pub(crate) waiting: Vec<ReplicaId>,
    /// Due time of the next delayed replica.
    pub(crate) held_until: Option<Timestamp>,
    /// Text about what one of them waits for.
    pub(crate) waits_for: Option<String>,
}

pub(crate) fn missing_replicas<'a>(ctx: &'a Context<'_>) -> Missing<'a> {
    let mut missing = Missing::default();
    let mut replicas: Vec<_> = ctx
        .states
        .replicas
        .iter()
        .filter(|s| s.phase == ReplicaPhase::NotCreated)
        .collect();
    replicas.sort_by_key(|replica| dependencies::dependency(ctx, replica).is_some());
    if let Some(name) = outdated(ctx) {
        missing.waits_for = Some(format!("{name} of the previous attempt has to terminate first"));
        return missing;
    }
    for replica in replicas {
        if let Some(due) = delays::of_replica(ctx, replica).filter(|due| *due > ctx.now()) {
            missing.held_until = Some(missing.held_until.map_or(due, |t: Timestamp| t.min(due)));
            continue;
        }
        if let Some(needed) = dependencies::dependency(ctx, replica)
            .filter(|needed| dependencies::must_wait(ctx, replica, *needed))
        {
            missing.waits_for = Some(format!(
                "{} waits until all {needed} pods are ready",
                replica.name()
            ));
            missing.waiting.push(replica.id());
            continue;
        }
        missing.replicas.push(replica);
    }
    missing
}

/// Name of an outdated pod from before the last restart of all, the first by name. Excess pods are included.
pub(crate) fn outdated<'a>(ctx: &Context<'a>) -> Option<&'a str> {
    let (first, observed) = (ctx.job.stored.attempt, ctx.observed);
    let pods = observed.pods.iter().map(|pod| (&*pod.name, pod.attempt));
    let jobs = observed.batch_jobs.iter().map(|job| (&*job.name, job.attempt));
    let carried = observed
        .batch_pods
        .iter()
        .map(|(_, pod)| (&*pod.name, pod.attempt));
    let all = pods.chain(jobs).chain(carried);
    let old = all.filter(|(_, attempt)| attempt.0 < first);
    let name = old.map(|(name, _)| name).min()?;
    ctx.restarts_together().then_some(name)
}
