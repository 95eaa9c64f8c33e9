//! Failed replicas: their order, permanent failures and tolerated failures.

use super::context::Context;
use crate::api::{RestartPolicy, SuccessPolicy};
use crate::kind::OnFailure;
use crate::replica_states::{Failure, RETRIES_USED_UP, ReplicaPhase, ReplicaState};

/// Lowest exit code that means that a signal or the platform ended the process. Such a failure is retried under
/// `ExitCode` (upstream pkg/util/train/train_util.go).
pub(crate) const FIRST_RETRYABLE_EXIT_CODE: i32 = 128;

/// Exit codes of processes that ended by SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGKILL (also for out of memory) or SIGSEGV.
pub(crate) const ENDED_BY_KERNEL: [i32; 6] = [132, 134, 135, 136, 137, 139];

/// Failed replicas, ordered by the time of failure.
pub(crate) fn failures<'a>(ctx: &'a Context<'_>) -> Vec<(&'a ReplicaState, &'a Failure)> {
    let failed = ctx
        .states
        .replicas
        .iter()
        .filter_map(|replica| match &replica.phase {
            ReplicaPhase::Failed(failure) => Some((replica, failure)),
            ReplicaPhase::NotCreated
            | ReplicaPhase::Disappeared
            | ReplicaPhase::Outdated
            | ReplicaPhase::Terminating
            | ReplicaPhase::Pending
            | ReplicaPhase::Running
            | ReplicaPhase::Succeeded => None,
        });
    let mut failed: Vec<_> = failed.collect();
    failed.sort_by_key(|(replica, failure)| {
        // API times have whole seconds. Among failures of the same second, one that was ended by the kernel is the more
        // likely cause.
        (
            failure.finished_at.is_none(),
            failure.finished_at,
            !ended_by_kernel(failure.exit_code),
            replica.replica.rank,
        )
    });
    failed
}

/// True if the exit code means a signal that the kernel sends.
pub(crate) fn ended_by_kernel(exit_code: Option<i32>) -> bool {
    exit_code.is_some_and(|code| ENDED_BY_KERNEL.contains(&code))
}

/// `N T replica(s) failed: <text of the first failure>`, for the role that failed first.
pub(crate) fn describe(failures: &[(&ReplicaState, &Failure)], verb: &str) -> Option<String> {
    let (first, failure) = failures.first()?;
    let role = first.role();
    let count = failures
        .iter()
        .filter(|(replica, _)| replica.role() == role)
        .count();
    Some(format!("{count} {role} replica(s) {verb}: {}", failure.text))
}

pub(crate) fn used_up_retries(failure: &Failure) -> bool {
    failure
        .given_up
        .as_deref()
        .is_some_and(|reason| reason.starts_with(RETRIES_USED_UP))
}

/// True if the replica must not be retried.
pub(crate) fn is_permanent(ctx: &Context<'_>, replica: &ReplicaState, failure: &Failure) -> bool {
    let retryable_code = failure
        .exit_code
        .is_none_or(|code| code >= FIRST_RETRYABLE_EXIT_CODE);
    match replica.policy {
        // If all replicas restart together, a batch Job has no retries of its own. Its failure is then treated as that
        // of a replaceable pod.
        _ if ctx.restarts_together() && used_up_retries(failure) => false,
        _ if failure.given_up.is_some() => true,
        _ if failure.disruption.is_some() => false,
        RestartPolicy::Never => true,
        RestartPolicy::ExitCode => !retryable_code,
        RestartPolicy::OnFailure | RestartPolicy::Always => false,
    }
}

/// True if the job continues without a pod that will not be replaced. Another replica of the role must be left.
pub(crate) fn tolerated(ctx: &Context<'_>, replica: &ReplicaState, failure: &Failure) -> bool {
    let role = replica.role();
    let lost = |replica: &ReplicaState| match &replica.phase {
        ReplicaPhase::Failed(failure) => is_permanent(ctx, replica, failure),
        ReplicaPhase::NotCreated
        | ReplicaPhase::Disappeared
        | ReplicaPhase::Outdated
        | ReplicaPhase::Terminating
        | ReplicaPhase::Pending
        | ReplicaPhase::Running
        | ReplicaPhase::Succeeded => false,
    };
    let mut peers = ctx.states.replicas.iter().filter(|peer| peer.role() == role);
    // The leader cannot be tolerated if its success alone decides the job.
    let waited_for = ctx.job.success == SuccessPolicy::Leader
        && ctx.framework.leader(&ctx.job.replicas, ctx.job) == Some(replica.id());
    !waited_for
        && ctx.framework.on_failure(role, ctx.job) == OnFailure::Tolerate
        && is_permanent(ctx, replica, failure)
        && peers.any(|peer| !lost(peer))
}
