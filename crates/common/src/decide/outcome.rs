//! Has the job just ended? Success first: a master that is done makes later failures of its workers meaningless.

use crate::api::{CleanPodPolicy, ConditionStatus, ConditionType, JobStatus};
use crate::kind::{OnFailure, Outcome};
use crate::plan::{Counter, Plan};
use crate::tally::{Failure, SlotTally};
use crate::{conditions, status};

use super::facts::context::{Question, answer, normal, warning};
use super::facts::draft::draft_status;
use super::facts::{attempts, dependencies, failures, first_failure, reasons, success};

pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    if success::outcome(q) == Outcome::Succeeded {
        return Some(succeed(q));
    }
    let stopped = q.job.policy.clean_pod_policy.max_with_running();
    let failed = format!("{}Failed", q.job.info.kind);
    if q.deadline().is_some_and(|due| due <= q.now()) {
        let message = format!(
            "{} has failed because it was active longer than specified deadline",
            q.title()
        );
        return Some(fail(q, &failed, &message, stopped));
    }
    if let Some((reason, message)) = permanent_failure(q) {
        let reason = reason.unwrap_or(failed);
        return Some(fail(q, &reason, &message, q.job.policy.clean_pod_policy));
    }
    let message = past_limit(q)?;
    Some(fail(q, &failed, &message, stopped))
}

/// Reason, if it is not the usual one, and message.
fn permanent_failure(q: &Question<'_>) -> Option<(Option<String>, String)> {
    let all = failures::failures(q);
    let permanent: Vec<_> = all
        .into_iter()
        .filter(
            |(slot, failure)| match q.framework.on_failure(slot.slot.id.role, q.job) {
                OnFailure::ByPolicy | OnFailure::Tolerate => {
                    failures::is_permanent(q, slot, failure)
                        && !failures::tolerated(q, slot, failure)
                        && !gave_up_in_vain(q, slot, failure)
                }
                OnFailure::Replace => false,
            },
        )
        .collect();
    let what = failures::describe(&permanent, "failed")?;
    let given_up = permanent.iter().find_map(|(_, failure)| failure.given_up.clone());
    Some((given_up, format!("{} is failed because {what}", q.title())))
}

/// Whether a batch Job has used up its retries because of another slot.
fn gave_up_in_vain(q: &Question<'_>, slot: &SlotTally, failure: &Failure) -> bool {
    failures::used_up_retries(failure) && dependencies::drives_in_vain(q, slot)
}

fn past_limit(q: &Question<'_>) -> Option<String> {
    let limit = q.job.backoff_limit()?;
    let used = attempts::used(q).saturating_sub(dependencies::forgiven(q));
    let disruptions = q.settings.count_disruptions;
    let counted: Vec<_> = failures::failures(q)
        .into_iter()
        .filter(|(slot, failure)| {
            (disruptions || failure.disruption.is_none())
                && !failures::tolerated(q, slot, failure)
                && !dependencies::drives_in_vain(q, slot)
        })
        .collect();
    let taken: Vec<_> = q
        .tally
        .slots
        .iter()
        .filter(|slot| disruptions && reasons::is_taken(slot))
        .collect();
    let new = counted.len().saturating_add(taken.len());
    let new = match q.restarts_together() {
        true if !disruptions && first_failure::is_disruption(q) => 0,
        true => new.min(1),
        false => new,
    };
    let wanted = used.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
    if wanted <= limit {
        return None;
    }
    let subject = q.title();
    let why = failures::describe(&counted, "failed")
        .or_else(|| reasons::describe_taken(q, &taken))
        .unwrap_or_else(|| format!("its containers were restarted {used} times"));
    let disrupted = !taken.is_empty() || attempts::disruptions_so_far(q) > 0;
    let rule = if disrupted && disruptions {
        " (disruptions count)"
    } else {
        ""
    };
    Some(format!(
        "{subject} has failed because it has reached the specified backoff limit of {limit}{rule}: {why}"
    ))
}

fn succeed(q: &Question<'_>) -> Plan {
    let mut status = draft_status(q);
    // Clients wait for `succeeded` to reach the number of replicas; what still runs beside a finished job has done its part.
    let stopped = q.job.policy.clean_pod_policy != CleanPodPolicy::None;
    for counts in status.replica_statuses.values_mut() {
        if q.job.info.active_succeeds {
            counts.succeeded = counts.succeeded.saturating_add(counts.active);
        }
        if q.job.info.active_succeeds || stopped {
            counts.active = 0;
        }
    }
    let message = if q.framework.called_briefly(q.job) {
        format!("{} is successfully completed.", q.subject())
    } else {
        format!("{} successfully completed.", q.subject())
    };
    let reason = format!("{}Succeeded", q.job.info.kind);
    end(
        q,
        &mut status,
        ConditionType::Succeeded,
        &reason,
        &message,
        q.job.policy.clean_pod_policy,
    );
    let mut plan = answer(&q.job.stored, status, Vec::new(), vec![normal(reason, message)]);
    plan.counters.push(Counter::Succeeded);
    plan
}

fn fail(q: &Question<'_>, reason: &str, message: &str, cleanup: CleanPodPolicy) -> Plan {
    let mut status = draft_status(q);
    let all = failures::failures(q);
    first_failure::record(q, &mut status);
    for (slot, _) in all
        .iter()
        .filter(|(slot, failure)| !failures::tolerated(q, slot, failure))
    {
        if let Some(counts) = status.replica_statuses.get_mut(slot.slot.id.role.0) {
            let failed = slot.batch_job.as_ref().map_or(1, |job| job.failed.max(1));
            counts.failed = counts.failed.saturating_add(status::to_i32(failed));
        }
    }
    if cleanup != CleanPodPolicy::None {
        // They are about to be deleted; counts of a finished job do not change any more.
        status
            .replica_statuses
            .values_mut()
            .for_each(|counts| counts.active = 0);
    }
    end(q, &mut status, ConditionType::Failed, reason, message, cleanup);
    let mut plan = answer(&q.job.stored, status, Vec::new(), vec![warning(reason, message)]);
    plan.counters.push(Counter::Failed);
    plan
}

fn end(
    q: &Question<'_>,
    status: &mut JobStatus,
    type_: ConditionType,
    reason: &str,
    message: &str,
    cleanup: CleanPodPolicy,
) {
    let now = conditions::whole_seconds(q.now());
    let started = status.start_time.get_or_insert_with(|| now.clone()).0;
    // A clock that was set back must not end a job before its start.
    status.completion_time = Some(if now.0 < started {
        conditions::whole_seconds(started)
    } else {
        now
    });
    status.cleanup = Some(cleanup);
    status.waiting_for = None;
    conditions::set_condition(status, q.now(), type_, ConditionStatus::True, reason, message);
}
