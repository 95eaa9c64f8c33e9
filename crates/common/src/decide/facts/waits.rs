//! The condition message, `waitingFor` and event for a job that waits.

use super::context::{Context, created_message, warning};
use super::{delays, gang};
use crate::api::{ConditionType, JobStatus};
use crate::conditions;
use crate::kind::Workload;
use crate::observe::{ContainerState, Phase, PodView, Refusal, RefusalCause};
use crate::plan::Event;
use crate::replica_states::ReplicaPhase;
use jiff::Timestamp;

/// What is told of a pod that its scheduler finds no node for.
pub(crate) const UNSCHEDULABLE: &str = "Unschedulable";

/// What a job waits for that will pass by itself.
pub(crate) struct Waits {
    /// When the next restart is due.
    pub(crate) held_until: Option<Timestamp>,
    /// Anything else, in words.
    pub(crate) waits_for: Option<String>,
}

/// Fills in what the job waits for; an event when it begins to wait for something that will not pass by itself.
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
            let message = format!("{created} It waits: {}", refusal_text(refusal));
            conditions::refresh_message(status, ctx.now(), ConditionType::Created, &message);
        }
        return refused(ctx, status, refusal);
    }
    if creating && ctx.job.stored.waiting_for.is_some() {
        // Whether the cause is gone shows when these writes went through: until then the old words stand, and an operator
        // that was just started does not tell them twice.
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
    if let Some((reason, words)) = &gang.unschedulable {
        let text = gang::no_place(ctx, words, troubles.map(|(_, text)| text));
        let message = format!("{created} It waits: {text}");
        conditions::refresh_message(status, ctx.now(), ConditionType::Created, &message);
        status.waiting_for = Some(text.clone());
        return (!gang::is_told(ctx)).then(|| warning(reason, text));
    }
    conditions::refresh_message(status, ctx.now(), ConditionType::Created, &created);
    if let Some((reason, text)) = troubles.next() {
        // Words of the scheduler that a pod still has although its gang has found a place were told with the gang.
        let told = reason == UNSCHEDULABLE && gang::is_told(ctx);
        let news = ctx.job.stored.waiting_for.is_none() && !gang.speaks_for_pods && !told;
        status.waiting_for = Some(text.clone());
        return news.then(|| warning(reason, text));
    }
    status.waiting_for = waiting_for_time(ctx, waits.held_until).or(waits.waits_for);
    None
}

/// Says what was refused; an event if it is news.
pub(crate) fn refused(ctx: &Context<'_>, status: &mut JobStatus, refusal: &Refusal) -> Option<Event> {
    let text = refusal_text(refusal);
    let news = ctx.job.stored.waiting_for.as_deref() != Some(&text);
    status.waiting_for = Some(text.clone());
    let what = if refusal.deletion { "Delete" } else { "Create" };
    let kind = refusal.object.split(' ').next().unwrap_or("Object");
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
        RefusalCause::Forbidden | RefusalCause::Invalid | RefusalCause::Transient if *deletion => {
            format!("the deletion of {object} was refused: {message}")
        }
        RefusalCause::Forbidden | RefusalCause::Invalid | RefusalCause::Transient => {
            format!("{object} was refused: {message}")
        }
    }
}

/// Reason and text if a pod cannot start.
pub(crate) fn pod_trouble(pod: &PodView) -> Option<(String, String)> {
    let detail = pod.detail.as_deref()?;
    if pod.deleting || matches!(pod.phase, Phase::Succeeded | Phase::Failed) {
        return None;
    }
    if let Some(message) = &detail.unschedulable {
        return Some((
            UNSCHEDULABLE.to_owned(),
            format!("pod {} cannot be scheduled: {message}", pod.name),
        ));
    }
    detail
        .containers
        .iter()
        .find_map(|container| match &container.state {
            ContainerState::Waiting { reason, message } => {
                let message = message.as_deref().map(|m| format!(": {m}")).unwrap_or_default();
                Some((
                    reason.to_string(),
                    format!("pod {} container {} {reason}{message}", pod.name, container.name),
                ))
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
