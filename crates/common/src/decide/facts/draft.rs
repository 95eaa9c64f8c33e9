//! Status draft that all plans begin with.

use crate::api::JobStatus;
use crate::status;

use super::context::{Context, state_created};
use super::failures;

/// Stored status with the condition Created, a start time and current counts.
pub(crate) fn draft_status(ctx: &Context<'_>) -> JobStatus {
    let mut status = ctx.job.stored.clone();
    state_created(&mut status, ctx.now(), ctx.job.info, &ctx.job.key);
    status::count_replicas(&mut status, ctx.states, ctx.job);
    for (replica, failure) in failures::failures(ctx) {
        if let Some(counts) = status.replica_statuses.get_mut(replica.role().0)
            && failures::tolerated(ctx, replica, failure)
        {
            counts.failed = counts.failed.saturating_add(1);
        }
    }
    status.waiting_for = ctx.unreachable.wait(ctx.observed);
    status
}
