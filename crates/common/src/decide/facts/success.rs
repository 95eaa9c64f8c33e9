//! How the job does, by its success policy.

use crate::api::SuccessPolicy;
use crate::kind::Outcome;
use crate::replica_states::ReplicaPhase;

use super::context::Question;

/// The kind's judgement; under `Leader` the leader's success is the job's, and nothing else is.
pub(crate) fn outcome(q: &Question<'_>) -> Outcome {
    let by_kind = q.framework.outcome(q.states, q.job);
    if q.job.success != SuccessPolicy::Leader {
        return by_kind;
    }
    let leader = q.framework.leader(&q.job.replicas, q.job);
    let leader = q
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
