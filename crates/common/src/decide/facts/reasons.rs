//! The cause of a restart, as text for status and events.

use super::context::{Context, warning};
use super::{deletes, dependencies, failures};
use crate::api::{ConditionStatus, ConditionType, JobStatus};
use crate::plan::Event;
use crate::replica_states::{ReplicaPhase, ReplicaState};
use crate::{conditions, names};

/// Maximum length of a stored reason, in characters. The status of a job with a thousand restarting pods must fit into
/// one object.
pub(crate) const LONGEST_REASON: usize = 160;

/// True if the replica's pod was removed, vanished or is presumed dead.
pub(crate) fn is_removed(replica: &ReplicaState) -> bool {
    matches!(
        replica.phase,
        ReplicaPhase::Disappeared | ReplicaPhase::Terminating
    )
}

/// `N T replica(s) were lost: <text of the first>`, for the role of the first one.
pub(crate) fn describe_removed(ctx: &Context<'_>, taken: &[&ReplicaState]) -> Option<String> {
    let first = taken.first()?;
    let role = first.role();
    let count = taken.iter().filter(|s| s.role() == role).count();
    let what = if is_removed(first) {
        "were lost"
    } else {
        "begin anew"
    };
    Some(format!(
        "{count} {role} replica(s) {what}: {}",
        reason(ctx, first)
    ))
}

pub(crate) fn reason(ctx: &Context<'_>, replica: &ReplicaState) -> String {
    match &replica.phase {
        ReplicaPhase::Failed(failure) => failure.text.clone(),
        ReplicaPhase::Disappeared => format!("pod {} vanished", replica.name()),
        ReplicaPhase::Terminating => deletes::removal(&ctx.unreachable, replica),
        ReplicaPhase::NotCreated
        | ReplicaPhase::Outdated
        | ReplicaPhase::Pending
        | ReplicaPhase::Running
        | ReplicaPhase::Succeeded => why_dependency(ctx, replica),
    }
}

/// A reason, cut to the length that is stored.
pub(crate) fn cut(reason: &str) -> String {
    reason.chars().take(LONGEST_REASON).collect()
}

/// Reason of a replica, cut to the length that is stored.
pub(crate) fn short_reason(ctx: &Context<'_>, replica: &ReplicaState) -> String {
    cut(&reason(ctx, replica))
}

/// Reason in one word why the replica's pod was removed, if the pod has one.
pub(crate) fn disruption_of(replica: &ReplicaState) -> Option<String> {
    let detail = replica.pod.as_deref()?.detail.as_deref()?;
    detail.disruption.as_ref().map(ToString::to_string)
}

/// Text about the dependency that was not ready, and the cause.
pub(crate) fn why_dependency(ctx: &Context<'_>, replica: &ReplicaState) -> String {
    let name = replica.name();
    let needed =
        dependencies::dependency(ctx, replica).and_then(|role| dependencies::not_ready(ctx, role).next());
    let Some(missing) = needed else {
        return format!("{name} failed while not all that it needs was ready");
    };
    let key = names::replica_key(missing.role(), missing.id().index);
    let cause = ctx.job.stored.slots.get(&key).and_then(|s| s.reason.as_deref());
    let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
    format!("{name} failed while {} was not ready{cause}", missing.name())
}

/// Cause of the replacements; `None` for a mere scale-down.
pub(crate) fn cause(ctx: &Context<'_>, replaced: &[&ReplicaState]) -> Option<String> {
    let mut failures = failures::failures(ctx);
    failures.retain(|(replica, failure)| !failures::tolerated(ctx, replica, failure));
    // A replica that failed because of its dependency is not the cause.
    if failures
        .iter()
        .any(|(replica, _)| !dependencies::failed_for_dependency(ctx, replica))
    {
        failures.retain(|(replica, _)| !dependencies::failed_for_dependency(ctx, replica));
    }
    let taken = replaced
        .iter()
        .filter(|s| !matches!(s.phase, ReplicaPhase::Failed(_)));
    let taken: Vec<&ReplicaState> = taken.copied().collect();
    failures::describe(&failures, "failed").or_else(|| describe_removed(ctx, &taken))
}

/// Sets the condition Restarting, and returns the event about it.
pub(crate) fn announce(ctx: &Context<'_>, status: &mut JobStatus, cause: &str) -> Event {
    let now = ctx.now();
    let (reason, message) = (
        format!("{}Restarting", ctx.job.info.kind),
        format!("{} is restarting because {cause}", ctx.name()),
    );
    let restarting = ConditionType::Restarting;
    conditions::set_condition(status, now, restarting, ConditionStatus::True, &reason, &message);
    conditions::refresh_message(status, now, restarting, &message);
    warning(reason, message)
}
