//! The condition message, `waitingFor` and event for a job that waits.

use super::context::{Context, created_message, warning};
use super::explanation::Explanation;
use super::{delays, gang, stored};
use crate::api::{ConditionType, JobStatus};
use crate::conditions;
use crate::kind::Workload;
use crate::observe::{ContainerState, Phase, PodView, Refusal, RefusalCause};
use crate::plan::Event;
use crate::replica_states::ReplicaPhase;
use jiff::Timestamp;

/// Reason for a pod that its scheduler cannot place.
pub(crate) const UNSCHEDULABLE: &str = "Unschedulable";

/// Waits that end without a user's action.
pub(crate) struct Waits {
    /// Due time of the next restart.
    pub(crate) held_until: Option<Timestamp>,
    /// Text about any other wait.
    pub(crate) waits_for: Option<String>,
}

/// Sets the texts about what the job waits for. Returns an event if a wait begins that does not end by itself.
pub(crate) fn trouble(
    ctx: &Context<'_>,
    status: &mut JobStatus,
    creating: bool,
    gang: &gang::GangPlan,
    waits: Waits,
) -> Option<Event> {
    let created = created_message(ctx.job.info, &ctx.job.key);
    if let Some(refusal) = ctx.observed.refusals.first() {
        if refusal.cause != RefusalCause::Transient {
            let message = format!("{created}{}{}", stored::WAITS, refusal_text(refusal));
            conditions::refresh_message(status, ctx.now(), ConditionType::Created, &message);
        }
        return refused(ctx, status, refusal);
    }
    if creating && ctx.job.stored.waiting_for.is_some() {
        // It shows only after these writes if the cause is gone. Until then the old text stays, so that a restarted
        // operator does not send the event twice.
        status.waiting_for.clone_from(&ctx.job.stored.waiting_for);
        return None;
    }
    if let Some(text) = status.waiting_for.clone() {
        conditions::refresh_message(status, ctx.now(), ConditionType::Created, &created);
        let news = ctx.job.stored.waiting_for.is_none();
        return news.then(|| warning("NodeNotReady", text));
    }
    let pods = ctx.states.replicas.iter().filter_map(|s| s.pod.as_deref());
    let mut troubles = pods.filter_map(pod_trouble);
    if let Some(Explanation {
        reason,
        message: words,
    }) = &gang.unschedulable
    {
        let text = gang::no_place(ctx, words, troubles.map(|trouble| trouble.message));
        let message = format!("{created}{}{text}", stored::WAITS);
        conditions::refresh_message(status, ctx.now(), ConditionType::Created, &message);
        status.waiting_for = Some(text.clone());
        return (!stored::tells_no_place(ctx)).then(|| warning(reason, text));
    }
    conditions::refresh_message(status, ctx.now(), ConditionType::Created, &created);
    if let Some(Explanation {
        reason,
        message: text,
    }) = troubles.next()
    {
        // A pod may still have the scheduler's message although its gang has been placed. The event of the gang has
        // already reported it.
        let told = reason == UNSCHEDULABLE && stored::tells_no_place(ctx);
        let news = ctx.job.stored.waiting_for.is_none() && !gang.speaks_for_pods && !told;
        status.waiting_for = Some(text.clone());
        return news.then(|| warning(reason, text));
    }
    status.waiting_for = waiting_for_time(ctx, waits.held_until).or(waits.waits_for);
    None
}

/// Sets the text about a refused write. Returns an event if it is new.
pub(crate) fn refused(ctx: &Context<'_>, status: &mut JobStatus, refusal: &Refusal) -> Option<Event> {
    let text = refusal_text(refusal);
    let news = ctx.job.stored.waiting_for.as_deref() != Some(&text);
    status.waiting_for = Some(text.clone());
    let what = if refusal.deletion { "Delete" } else { "Create" };
    let kind = refusal.object.kind;
    news.then(|| warning(format!("Failed{what}{kind}"), text))
}

pub(crate) fn refusal_text(refusal: &Refusal) -> String {
    let Refusal {
        object,
        deletion,
        cause,
        message,
    } = refusal;
    match cause {
        RefusalCause::Foreign => format!("{object} exists and does not belong to this job: {message}"),
        RefusalCause::Unlabelled => format!("{object} of this job is not seen: {message}"),
        RefusalCause::Predecessor => format!("{object} has to terminate first: {message}"),
        RefusalCause::Quota | RefusalCause::Forbidden | RefusalCause::Invalid | RefusalCause::Transient
            if *deletion =>
        {
            format!("the deletion of {object} was refused: {message}")
        }
        RefusalCause::Quota | RefusalCause::Forbidden | RefusalCause::Invalid | RefusalCause::Transient => {
            format!("{object} was refused: {message}")
        }
    }
}

/// Reason and message of a pod that cannot start.
pub(crate) fn pod_trouble(pod: &PodView) -> Option<Explanation> {
    let detail = pod.detail.as_deref()?;
    if pod.deleting || matches!(pod.phase, Phase::Succeeded | Phase::Failed) {
        return None;
    }
    if let Some(message) = &detail.unschedulable {
        return Some(Explanation {
            reason: UNSCHEDULABLE.to_owned(),
            message: format!("pod {} cannot be scheduled: {message}", pod.name),
        });
    }
    detail
        .containers
        .iter()
        .find_map(|container| match &container.state {
            ContainerState::Waiting { reason, message } => {
                let message = message.as_deref().map(|m| format!(": {m}")).unwrap_or_default();
                Some(Explanation {
                    reason: reason.to_string(),
                    message: format!("pod {} container {} {reason}{message}", pod.name, container.name),
                })
            }
            ContainerState::Terminated { .. } => None,
        })
}

pub(crate) fn waiting_for_time(ctx: &Context<'_>, held_until: Option<Timestamp>) -> Option<String> {
    if let Some(given_back) = delays::gang_words(&ctx.job.stored, ctx.now()) {
        return Some(given_back);
    }
    let previous = ctx
        .states
        .replicas
        .iter()
        .find(|s| s.phase == ReplicaPhase::Outdated);
    let terminating = previous.map(|s| {
        let what = match s.replica.workload {
            Workload::Pod => "pod",
            Workload::BatchJob => "job",
        };
        format!(
            "{what} {} of the previous attempt has to terminate first",
            s.name()
        )
    });
    terminating.or_else(|| {
        Some(format!(
            "the next restart is due at {}",
            conditions::whole_seconds(held_until?).0
        ))
    })
}
