//! The status that every answer begins with.

use crate::api::JobStatus;
use crate::status;

use super::context::{Question, state_created};
use super::failures;

/// Stored status with Created stated, a start time, and the counts of now: what every answer begins with.
pub(crate) fn draft_status(q: &Question<'_>) -> JobStatus {
    let mut status = q.job.stored.clone();
    state_created(&mut status, q.now(), q.job.info, &q.job.key);
    status::count_replicas(&mut status, q.tally, q.job);
    for (slot, failure) in failures::failures(q) {
        if let Some(counts) = status.replica_statuses.get_mut(slot.slot.id.role.0)
            && failures::tolerated(q, slot, failure)
        {
            counts.failed = counts.failed.saturating_add(1);
        }
    }
    status.waiting_for = q.losses.wait(q.observed);
    status
}
