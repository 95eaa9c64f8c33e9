//! Failed replicas: their order, whether a failure is permanent, and whether the job tolerates it.

use super::context::Question;
use crate::api::{RestartPolicy, SuccessPolicy};
use crate::kind::OnFailure;
use crate::tally::{Failure, RETRIES_USED_UP, SlotState, SlotTally};

/// Exit codes from here on say that a signal or the platform ended the process: worth another try under `ExitCode`
/// (upstream pkg/util/train/train_util.go).
pub(crate) const FIRST_RETRYABLE_EXIT_CODE: i32 = 128;

/// Exit codes of processes that died of SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGKILL (out of memory, too) or SIGSEGV.
pub(crate) const ENDED_BY_KERNEL: [i32; 6] = [132, 134, 135, 136, 137, 139];

/// Failed slots, the one that failed first first.
pub(crate) fn failures<'a>(q: &'a Question<'_>) -> Vec<(&'a SlotTally, &'a Failure)> {
    let failed = q.tally.slots.iter().filter_map(|slot| match &slot.state {
        SlotState::Failed(failure) => Some((slot, failure)),
        SlotState::Missing
        | SlotState::Lost
        | SlotState::Previous
        | SlotState::Terminating
        | SlotState::Pending
        | SlotState::Running
        | SlotState::Succeeded => None,
    });
    let mut failed: Vec<_> = failed.collect();
    failed.sort_by_key(|(slot, failure)| {
        // API times have seconds: of those that ended in the same one, who was ended by the kernel is the likelier cause.
        (
            failure.finished_at.is_none(),
            failure.finished_at,
            !ended_by_kernel(failure.exit_code),
            slot.slot.rank,
        )
    });
    failed
}

/// Whether a signal that the kernel sends ended it.
pub(crate) fn ended_by_kernel(exit_code: Option<i32>) -> bool {
    exit_code.is_some_and(|code| ENDED_BY_KERNEL.contains(&code))
}

/// `N T replica(s) failed: <the first one in words>`, of the role that failed first.
pub(crate) fn describe(failures: &[(&SlotTally, &Failure)], verb: &str) -> Option<String> {
    let (first, failure) = failures.first()?;
    let role = first.slot.id.role;
    let count = failures
        .iter()
        .filter(|(slot, _)| slot.slot.id.role == role)
        .count();
    Some(format!("{count} {role} replica(s) {verb}: {}", failure.text))
}

pub(crate) fn used_up_retries(failure: &Failure) -> bool {
    failure
        .given_up
        .as_deref()
        .is_some_and(|reason| reason.starts_with(RETRIES_USED_UP))
}

/// Whether another try is out of the question.
pub(crate) fn is_permanent(q: &Question<'_>, slot: &SlotTally, failure: &Failure) -> bool {
    let retryable_code = failure
        .exit_code
        .is_none_or(|code| code >= FIRST_RETRYABLE_EXIT_CODE);
    match slot.policy {
        // Where all begin anew together a batch Job has no retries of its own: its failure is judged as a pod's that may
        // be replaced.
        _ if q.restarts_together() && used_up_retries(failure) => false,
        _ if failure.given_up.is_some() => true,
        _ if failure.disruption.is_some() => false,
        RestartPolicy::Never => true,
        RestartPolicy::ExitCode => !retryable_code,
        RestartPolicy::OnFailure | RestartPolicy::Always => false,
    }
}

/// Whether the job goes on without a pod that nobody will replace. It needs another of that role to go on with.
pub(crate) fn tolerated(q: &Question<'_>, slot: &SlotTally, failure: &Failure) -> bool {
    let role = slot.slot.id.role;
    let lost = |slot: &SlotTally| match &slot.state {
        SlotState::Failed(failure) => is_permanent(q, slot, failure),
        SlotState::Missing
        | SlotState::Lost
        | SlotState::Previous
        | SlotState::Terminating
        | SlotState::Pending
        | SlotState::Running
        | SlotState::Succeeded => false,
    };
    let mut peers = q.tally.slots.iter().filter(|peer| peer.slot.id.role == role);
    // Nobody can stand in for the one whose success alone would end the job.
    let waited_for = q.job.success == SuccessPolicy::Leader
        && q.framework.leader(&q.job.cast, q.job) == Some(slot.slot.id);
    !waited_for
        && q.framework.on_failure(role, q.job) == OnFailure::Tolerate
        && is_permanent(q, slot, failure)
        && peers.any(|peer| !lost(peer))
}
