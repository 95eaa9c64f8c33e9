//! Progress of the job according to its success policy.

use crate::api::SuccessPolicy;
use crate::kind::Progress;
use crate::replica_states::ReplicaPhase;

use super::context::Context;

/// Progress by the kind's rule. Under `Leader`, only the leader's success decides.
pub(crate) fn progress(ctx: &Context<'_>) -> Progress {
    let by_kind = ctx.framework.progress(ctx.states, ctx.job);
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
        (Some(ReplicaPhase::Succeeded), _) => Progress::Succeeded,
        (Some(ReplicaPhase::Running), Progress::Succeeded) => Progress::Running,
        (_, Progress::Succeeded) => Progress::Waiting,
        (_, Progress::Running | Progress::Waiting) => by_kind,
    }
}
