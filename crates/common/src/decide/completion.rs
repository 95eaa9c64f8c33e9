//! Step for a job that has just ended. Success is checked first: failures of workers do not matter once the master has
//! succeeded.

use crate::api::{CleanPodPolicy, ConditionStatus, ConditionType, JobStatus};
use crate::kind::{OnFailure, Progress};
use crate::plan::{Counter, Plan};
use crate::replica_states::{Failure, ReplicaState};
use crate::{conditions, status};

use super::facts::context::{Context, finish_plan, normal, warning};
use super::facts::draft::draft_status;
use super::facts::{attempts, dependencies, failures, first_failure, reasons, success};

pub(super) fn plan(ctx: &Context<'_>) -> Option<Plan> {
    if success::progress(ctx) == Progress::Succeeded {
        return Some(succeed(ctx));
    }
    let stopped = ctx.job.policy.clean_pod_policy.max_with_running();
    let failed = format!("{}Failed", ctx.job.info.kind);
    if ctx.deadline().is_some_and(|due| due <= ctx.now()) {
        let message = format!(
            "{} has failed because it was active longer than specified deadline",
            ctx.name()
        );
        return Some(fail(ctx, &failed, &message, stopped));
    }
    if let Some((reason, message)) = permanent_failure(ctx) {
        let reason = reason.unwrap_or(failed);
        return Some(fail(ctx, &reason, &message, ctx.job.policy.clean_pod_policy));
    }
    let message = past_limit(ctx)?;
    Some(fail(ctx, &failed, &message, stopped))
}

/// Reason (`None` for the default one) and message.
fn permanent_failure(ctx: &Context<'_>) -> Option<(Option<String>, String)> {
    let all = failures::failures(ctx);
    let permanent: Vec<_> = all
        .into_iter()
        .filter(
            |(replica, failure)| match ctx.framework.on_failure(replica.role(), ctx.job) {
                OnFailure::ByPolicy | OnFailure::Tolerate => {
                    failures::is_permanent(ctx, replica, failure)
                        && !failures::tolerated(ctx, replica, failure)
                        && !gave_up_for_dependency(ctx, replica, failure)
                }
                OnFailure::Replace => false,
            },
        )
        .collect();
    let what = failures::describe(&permanent, "failed")?;
    let given_up = permanent.iter().find_map(|(_, failure)| failure.given_up.clone());
    Some((given_up, format!("{} is failed because {what}", ctx.name())))
}

/// True if a batch Job has used up its retries because of another replica.
fn gave_up_for_dependency(ctx: &Context<'_>, replica: &ReplicaState, failure: &Failure) -> bool {
    failures::used_up_retries(failure) && dependencies::failed_for_dependency(ctx, replica)
}

fn past_limit(ctx: &Context<'_>) -> Option<String> {
    let limit = ctx.job.backoff_limit()?;
    let used = attempts::used(ctx).saturating_sub(dependencies::excused_retries(ctx));
    let disruptions = ctx.settings.count_disruptions;
    let counted: Vec<_> = failures::failures(ctx)
        .into_iter()
        .filter(|(replica, failure)| {
            (disruptions || failure.disruption.is_none())
                && !failures::tolerated(ctx, replica, failure)
                && !dependencies::failed_for_dependency(ctx, replica)
        })
        .collect();
    let taken: Vec<_> = ctx
        .states
        .replicas
        .iter()
        .filter(|replica| disruptions && reasons::is_removed(replica))
        .collect();
    let new = counted.len().saturating_add(taken.len());
    let new = match ctx.restarts_together() {
        true if !disruptions && first_failure::is_disruption(ctx) => 0,
        true => new.min(1),
        false => new,
    };
    let wanted = used.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
    if wanted <= limit {
        return None;
    }
    let subject = ctx.name();
    let why = failures::describe(&counted, "failed")
        .or_else(|| reasons::describe_removed(ctx, &taken))
        .unwrap_or_else(|| format!("its containers were restarted {used} times"));
    let disrupted = !taken.is_empty() || attempts::disruptions_so_far(ctx) > 0;
    let rule = if disrupted && disruptions {
        " (disruptions count)"
    } else {
        ""
    };
    Some(format!(
        "{subject} has failed because it has reached the specified backoff limit of {limit}{rule}: {why}"
    ))
}

fn succeed(ctx: &Context<'_>) -> Plan {
    let mut status = draft_status(ctx);
    // Clients wait for `succeeded` to reach the number of replicas. Pods that still run when the job succeeds count as
    // succeeded in kinds with `active_succeeds`.
    let stopped = ctx.job.policy.clean_pod_policy != CleanPodPolicy::None;
    for counts in status.replica_statuses.values_mut() {
        if ctx.job.info.active_succeeds {
            counts.succeeded = counts.succeeded.saturating_add(counts.active);
        }
        if ctx.job.info.active_succeeds || stopped {
            counts.active = 0;
        }
    }
    let message = if ctx.result_is_short() {
        format!("{} is successfully completed.", ctx.result_name())
    } else {
        format!("{} successfully completed.", ctx.result_name())
    };
    let reason = format!("{}Succeeded", ctx.job.info.kind);
    end(
        ctx,
        &mut status,
        ConditionType::Succeeded,
        &reason,
        &message,
        ctx.job.policy.clean_pod_policy,
    );
    let mut plan = finish_plan(&ctx.job.stored, status, Vec::new(), vec![normal(reason, message)]);
    plan.counters.push(Counter::Succeeded);
    plan
}

fn fail(ctx: &Context<'_>, reason: &str, message: &str, cleanup: CleanPodPolicy) -> Plan {
    let mut status = draft_status(ctx);
    let all = failures::failures(ctx);
    first_failure::record(ctx, &mut status);
    for (replica, _) in all
        .iter()
        .filter(|(replica, failure)| !failures::tolerated(ctx, replica, failure))
    {
        if let Some(counts) = status.replica_statuses.get_mut(replica.role().0) {
            let failed = replica.batch_job.as_ref().map_or(1, |job| job.failed.max(1));
            counts.failed = counts.failed.saturating_add(status::to_i32(failed));
        }
    }
    if cleanup != CleanPodPolicy::None {
        // The running pods are about to be deleted, and counts of a finished job do not change any more.
        status
            .replica_statuses
            .values_mut()
            .for_each(|counts| counts.active = 0);
    }
    end(ctx, &mut status, ConditionType::Failed, reason, message, cleanup);
    let mut plan = finish_plan(
        &ctx.job.stored,
        status,
        Vec::new(),
        vec![warning(reason, message)],
    );
    plan.counters.push(Counter::Failed);
    plan
}

fn end(
    ctx: &Context<'_>,
    status: &mut JobStatus,
    type_: ConditionType,
    reason: &str,
    message: &str,
    cleanup: CleanPodPolicy,
) {
    let now = conditions::whole_seconds(ctx.now());
    let started = status.start_time.get_or_insert_with(|| now.clone()).0;
    // If the clock was set back, the job must not end before its start.
    status.completion_time = Some(if now.0 < started {
        conditions::whole_seconds(started)
    } else {
        now
    });
    status.cleanup = Some(cleanup);
    status.waiting_for = None;
    conditions::set_condition(status, ctx.now(), type_, ConditionStatus::True, reason, message);
}
