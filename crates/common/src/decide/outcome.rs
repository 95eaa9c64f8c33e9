//! Has the job just ended? Success first: a master that is done makes later failures of its workers meaningless.

use crate::api::{CleanPodPolicy, ConditionStatus, ConditionType, JobStatus, RestartPolicy, SuccessPolicy};
use crate::kind::{OnFailure, Outcome};
use crate::plan::{Counter, Plan};
use crate::tally::{Failure, RETRIES_USED_UP, SlotState, SlotTally};
use crate::{conditions, status};

use super::{Question, after, answer, first_failure, normal, restart, success, warning, whole};

/// Exit codes from here on say that a signal or the platform ended the process: worth another try under `ExitCode`
/// (upstream pkg/util/train/train_util.go).
const FIRST_RETRYABLE_EXIT_CODE: i32 = 128;

/// Exit codes of processes that died of SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGKILL (out of memory, too) or SIGSEGV.
const ENDED_BY_KERNEL: [i32; 6] = [132, 134, 135, 136, 137, 139];

pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    if success::outcome(q) == Outcome::Succeeded {
        return Some(succeed(q));
    }
    let stopped = q.job.policy.clean_pod_policy.max_with_running();
    let failed = format!("{}Failed", q.job.info.kind);
    if deadline(q).is_some_and(|due| due <= q.now()) {
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

/// When the job's time is over.
pub(super) fn deadline(q: &Question<'_>) -> Option<jiff::Timestamp> {
    Some(after(
        q.job.stored.start_time.as_ref()?.0,
        q.job.policy.active_deadline?,
    ))
}

/// Failed slots, the one that failed first first.
pub(super) fn failures<'a>(q: &'a Question<'_>) -> Vec<(&'a SlotTally, &'a Failure)> {
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
pub(super) fn ended_by_kernel(exit_code: Option<i32>) -> bool {
    exit_code.is_some_and(|code| ENDED_BY_KERNEL.contains(&code))
}

/// `N T replica(s) failed: <the first one in words>`, of the role that failed first.
pub(super) fn describe(failures: &[(&SlotTally, &Failure)], verb: &str) -> Option<String> {
    let (first, failure) = failures.first()?;
    let role = first.slot.id.role;
    let count = failures
        .iter()
        .filter(|(slot, _)| slot.slot.id.role == role)
        .count();
    Some(format!("{count} {role} replica(s) {verb}: {}", failure.text))
}

/// Reason, if it is not the usual one, and message.
fn permanent_failure(q: &Question<'_>) -> Option<(Option<String>, String)> {
    let all = failures(q);
    let permanent: Vec<_> = all
        .into_iter()
        .filter(
            |(slot, failure)| match q.framework.on_failure(slot.slot.id.role, q.job) {
                OnFailure::ByPolicy | OnFailure::Tolerate => {
                    is_permanent(q, slot, failure)
                        && !tolerated(q, slot, failure)
                        && !gave_up_in_vain(q, slot, failure)
                }
                OnFailure::Replace => false,
            },
        )
        .collect();
    let what = describe(&permanent, "failed")?;
    let given_up = permanent.iter().find_map(|(_, failure)| failure.given_up.clone());
    Some((given_up, format!("{} is failed because {what}", q.title())))
}

/// Whether a batch Job has used up its retries because of another slot.
fn gave_up_in_vain(q: &Question<'_>, slot: &SlotTally, failure: &Failure) -> bool {
    used_up_retries(failure) && restart::drives_in_vain(q, slot)
}

fn used_up_retries(failure: &Failure) -> bool {
    failure
        .given_up
        .as_deref()
        .is_some_and(|reason| reason.starts_with(RETRIES_USED_UP))
}

/// Whether another try is out of the question.
pub(super) fn is_permanent(q: &Question<'_>, slot: &SlotTally, failure: &Failure) -> bool {
    let retryable_code = failure
        .exit_code
        .is_none_or(|code| code >= FIRST_RETRYABLE_EXIT_CODE);
    match slot.policy {
        // Where all begin anew together a batch Job has no retries of its own: its failure is judged as a pod's that may
        // be replaced.
        _ if whole::applies(q) && used_up_retries(failure) => false,
        _ if failure.given_up.is_some() => true,
        _ if failure.disruption.is_some() => false,
        RestartPolicy::Never => true,
        RestartPolicy::ExitCode => !retryable_code,
        RestartPolicy::OnFailure | RestartPolicy::Always => false,
    }
}

/// Whether the job goes on without a pod that nobody will replace. It needs another of that role to go on with.
pub(super) fn tolerated(q: &Question<'_>, slot: &SlotTally, failure: &Failure) -> bool {
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

fn past_limit(q: &Question<'_>) -> Option<String> {
    let limit = q.job.backoff_limit()?;
    let used = used(q).saturating_sub(restart::forgiven(q));
    let disruptions = q.settings.count_disruptions;
    let counted: Vec<_> = failures(q)
        .into_iter()
        .filter(|(slot, failure)| {
            (disruptions || failure.disruption.is_none())
                && !tolerated(q, slot, failure)
                && !restart::drives_in_vain(q, slot)
        })
        .collect();
    let taken: Vec<_> = q
        .tally
        .slots
        .iter()
        .filter(|slot| disruptions && restart::is_taken(slot))
        .collect();
    let new = counted.len().saturating_add(taken.len());
    let new = match whole::applies(q) {
        true if !disruptions && first_failure::is_disruption(q) => 0,
        true => new.min(1),
        false => new,
    };
    let wanted = used.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
    if wanted <= limit {
        return None;
    }
    let subject = q.title();
    let why = describe(&counted, "failed")
        .or_else(|| restart::describe_taken(q, &taken))
        .unwrap_or_else(|| format!("its containers were restarted {used} times"));
    let disrupted = !taken.is_empty() || disruptions_so_far(q) > 0;
    let rule = if disrupted && disruptions {
        " (disruptions count)"
    } else {
        ""
    };
    Some(format!(
        "{subject} has failed because it has reached the specified backoff limit of {limit}{rule}: {why}"
    ))
}

/// Restarts so far that count against backoffLimit.
pub(super) fn used(q: &Question<'_>) -> u32 {
    let counted = status::counted_restarts(&q.job.stored, q.tally);
    if q.settings.count_disruptions {
        counted.saturating_add(disruptions_so_far(q))
    } else {
        counted
    }
}

fn disruptions_so_far(q: &Question<'_>) -> u32 {
    let counts = q.job.stored.restart_counts.as_ref();
    counts.map_or(0, |counts| u32::try_from(counts.disruptions).unwrap_or(0))
}

fn succeed(q: &Question<'_>) -> Plan {
    let mut status = q.begin();
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
    let mut status = q.begin();
    let all = failures(q);
    first_failure::record(q, &mut status);
    for (slot, _) in all.iter().filter(|(slot, failure)| !tolerated(q, slot, failure)) {
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
