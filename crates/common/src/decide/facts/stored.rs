//! Stored status texts that later decisions read.
//!
//! They are part of the wire format: running jobs have texts that earlier versions stored. If one of them changes, the
//! old text must still be read. Decisions read no other stored text.

use crate::api::{ConditionType, SlotStatus};
use crate::conditions;
use crate::names;

use super::context::{Context, created_message};

/// Cause of a replica's last change of attempt, as far as decisions tell causes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptCause {
    /// Fewer replicas were wanted. It is no failure, and the next attempt is not delayed.
    ScaledDown,
    /// A failure or a disruption.
    Replaced,
}

/// `status.slots[].reason` of a replica that was scaled down.
pub(crate) const SCALED_DOWN: &str = "scaled down";

/// Cause of the last change of attempt of a replica.
pub(crate) fn attempt_cause(replica: &SlotStatus) -> AttemptCause {
    if replica.reason.as_deref() == Some(SCALED_DOWN) {
        AttemptCause::ScaledDown
    } else {
        AttemptCause::Replaced
    }
}

/// Prefix of the text about a PodGroup that its scheduler cannot place.
pub(crate) fn no_place(job: &str) -> String {
    format!("PodGroup {} finds no place: ", names::pod_group(job))
}

/// True if the stored status says that the gang cannot be placed. The numbers in that text change with the rest of the
/// cluster. So only its prefix is compared, and the event is sent once.
pub(crate) fn tells_no_place(ctx: &Context<'_>) -> bool {
    let created = conditions::condition(&ctx.job.stored, ConditionType::Created);
    let message = created.and_then(|condition| condition.message.as_deref());
    let rest = message.and_then(|message| {
        let message = message.strip_prefix(&*created_message(ctx.job.info, &ctx.job.key))?;
        message.strip_prefix(WAITS)
    });
    rest.is_some_and(|rest| rest.starts_with(&no_place(&ctx.job.key.name)))
}

/// Text between the message of Created and the cause of a wait.
pub(crate) const WAITS: &str = " It waits: ";
