//! How the job does, by its success policy.

use crate::api::SuccessPolicy;
use crate::kind::Outcome;
use crate::tally::SlotState;

use super::context::Question;

/// The kind's judgement; under `Leader` the leader's success is the job's, and nothing else is.
pub(crate) fn outcome(q: &Question<'_>) -> Outcome {
    let by_kind = q.framework.outcome(q.tally, q.job);
    if q.job.success != SuccessPolicy::Leader {
        return by_kind;
    }
    let leader = q.framework.leader(&q.job.cast, q.job);
    let leader = q.tally.slots.iter().find(|slot| Some(slot.slot.id) == leader);
    match (leader.map(|slot| &slot.state), by_kind) {
        (Some(SlotState::Succeeded), _) => Outcome::Succeeded,
        (Some(SlotState::Running), Outcome::Succeeded) => Outcome::Running,
        (_, Outcome::Succeeded) => Outcome::Waiting,
        (_, Outcome::Running | Outcome::Waiting) => by_kind,
    }
}
