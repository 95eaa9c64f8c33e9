//! Failed replicas: their order, whether a failure is permanent, and whether the job tolerates it.

use super::context::Context;
use crate::api::{RestartPolicy, SuccessPolicy};
use crate::kind::OnFailure;
use crate::replica_states::{Failure, RETRIES_USED_UP, ReplicaPhase, ReplicaState};

/// Exit codes from here on say that a signal or the platform ended the process: worth another try under `ExitCode`
/// (upstream pkg/util/train/train_util.go).
pub(crate) const FIRST_RETRYABLE_EXIT_CODE: i32 = 128;

/// Exit codes of processes that died of SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGKILL (out of memory, too) or SIGSEGV.
pub(crate) const ENDED_BY_KERNEL: [i32; 6] = [132, 134, 135, 136, 137, 139];

/// Failed replicas, the one that failed first first.
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
        // API times have seconds: of those that ended in the same one, who was ended by the kernel is the likelier cause.
        (
            failure.finished_at.is_none(),
            failure.finished_at,
            !ended_by_kernel(failure.exit_code),
            replica.replica.rank,
        )
    });
    failed
}

/// Whether a signal that the kernel sends ended it.
pub(crate) fn ended_by_kernel(exit_code: Option<i32>) -> bool {
    exit_code.is_some_and(|code| ENDED_BY_KERNEL.contains(&code))
}

/// `N T replica(s) failed: <the first one in words>`, of the role that failed first.
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

/// Whether another try is out of the ctx.
pub(crate) fn is_permanent(ctx: &Context<'_>, replica: &ReplicaState, failure: &Failure) -> bool {
    let retryable_code = failure
        .exit_code
        .is_none_or(|code| code >= FIRST_RETRYABLE_EXIT_CODE);
    match replica.policy {
        // Where all begin anew together a batch Job has no retries of its own: its failure is judged as a pod's that may
        // be replaced.
        _ if ctx.restarts_together() && used_up_retries(failure) => false,
        _ if failure.given_up.is_some() => true,
        _ if failure.disruption.is_some() => false,
        RestartPolicy::Never => true,
        RestartPolicy::ExitCode => !retryable_code,
        RestartPolicy::OnFailure | RestartPolicy::Always => false,
    }
}

/// Whether the job goes on without a pod that nobody will replace. It needs another of that role to go on with.
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
    // Nobody can stand in for the one whose success alone would end the job.
    let waited_for = ctx.job.success == SuccessPolicy::Leader
        && ctx.framework.leader(&ctx.job.replicas, ctx.job) == Some(replica.id());
    !waited_for
        && ctx.framework.on_failure(role, ctx.job) == OnFailure::Tolerate
        && is_permanent(ctx, replica, failure)
        && peers.any(|peer| !lost(peer))
}
