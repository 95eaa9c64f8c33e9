//! How the job does, by its success policy.

use crate::api::SuccessPolicy;
use crate::kind::Outcome;
use crate::replica_states::ReplicaPhase;

use super::context::Context;

/// The kind's judgement; under `Leader` the leader's success is the job's, and nothing else is.
pub(crate) fn outcome(ctx: &Context<'_>) -> Outcome {
    let by_kind = ctx.framework.outcome(ctx.states, ctx.job);
    if ctx.job.success != SuccessPolicy::Leader {
        return by_kind;
    }
    let leader = ctx.framework.leader(&ctx.job.replicas, ctx.job);
    let leader = ctx
        .states
        .replicas
        .iter()
        .find(|replica| Some(replica.id()) == leader);
    match (leader.map(|replica| &replica.phase), by_kind) {
        (Some(ReplicaPhase::Succeeded), _) => Outcome::Succeeded,
        (Some(ReplicaPhase::Running), Outcome::Succeeded) => Outcome::Running,
        (_, Outcome::Succeeded) => Outcome::Waiting,
        (_, Outcome::Running | Outcome::Waiting) => by_kind,
    }
}
