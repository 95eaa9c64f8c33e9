//! Input of the decision steps, and the parts that all plans share.

use crate::kind::MessageStyle;
use crate::kind::WORKER;
use crate::success;
use jiff::{SignedDuration, Timestamp};

use crate::api::{ConditionStatus, ConditionType, JobCondition, JobStatus, RestartScope};
use crate::conditions;
use crate::framework::Framework;
use crate::job::ResolvedJob;
use crate::kind::KindInfo;
use crate::names::JobKey;
use crate::observe::Observed;
use crate::plan::{Counter, Event, EventType, Plan, Write};
use crate::replica_states::ReplicaStates;
use crate::settings::Settings;
use crate::unreachable::UnreachableNodes;

/// All input of a decision step.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) framework: &'a dyn Framework,
    pub(crate) observed: &'a Observed,
    pub(crate) settings: &'a Settings,
    pub(crate) job: &'a ResolvedJob,
    pub(crate) states: &'a ReplicaStates,
    pub(crate) unreachable: UnreachableNodes<'a>,
}

impl Context<'_> {
    pub(crate) fn now(&self) -> Timestamp {
        self.observed.now
    }

    /// Name of the job in messages about Running and Succeeded.
    pub(crate) fn result_name(&self) -> String {
        let key = &self.job.key;
        if self.result_is_short() {
            short_name(self.job.info, key)
        } else {
            format!("{} {}/{}", key.kind, key.namespace, key.name)
        }
    }

    /// True if messages about Running and Succeeded name the job without its namespace.
    pub(crate) fn result_is_short(&self) -> bool {
        match self.job.info.message_style {
            MessageStyle::ShortUnlessWorkersDecide => {
                success::deciding(self.job).is_some_and(|role| role != WORKER)
            }
            MessageStyle::Qualified | MessageStyle::QualifiedResult => false,
        }
    }

    /// Name of the job in all other messages.
    pub(crate) fn name(&self) -> String {
        short_name(self.job.info, &self.job.key)
    }

    /// Time at which the job's `activeDeadlineSeconds` is over.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        Some(after(
            self.job.stored.start_time.as_ref()?.0,
            self.job.policy.active_deadline?,
        ))
    }

    /// True if a restart of one replica restarts all of them.
    pub(crate) fn restarts_together(&self) -> bool {
        self.job.policy.restart_scope == RestartScope::Job
    }
}

/// True if the job has ever had pods, according to its status.
pub(crate) fn has_begun(stored: &JobStatus) -> bool {
    stored.start_time.is_some() || stored.attempt > 0
}

pub(crate) fn short_name(info: &KindInfo, key: &JobKey) -> String {
    if info.message_style == MessageStyle::Qualified {
        format!("{} {}/{}", key.kind, key.namespace, key.name)
    } else {
        format!("{} {}", key.kind, key.name)
    }
}

/// Sets the condition Created and the dialect, which then stay unchanged.
pub(crate) fn state_created(status: &mut JobStatus, now: Timestamp, info: &KindInfo, key: &JobKey) {
    if info.stamp.is_some() {
        status.dialect.get_or_insert_with(|| info.version.to_owned());
    }
    let (reason, message) = (format!("{}Created", info.kind), created_message(info, key));
    conditions::set_condition(
        status,
        now,
        ConditionType::Created,
        ConditionStatus::True,
        &reason,
        &message,
    );
}

pub(crate) fn created_message(info: &KindInfo, key: &JobKey) -> String {
    format!("{} is created.", short_name(info, key))
}

pub(crate) fn normal(reason: impl Into<String>, message: impl Into<String>) -> Event {
    Event {
        kind: EventType::Normal,
        reason: reason.into(),
        message: message.into(),
        of_writes: false,
    }
}

/// An event that is sent only if all of the plan's writes succeeded.
pub(crate) fn done(reason: impl Into<String>, message: impl Into<String>) -> Event {
    Event {
        of_writes: true,
        ..normal(reason, message)
    }
}

pub(crate) fn warning(reason: impl Into<String>, message: impl Into<String>) -> Event {
    Event {
        kind: EventType::Warning,
        reason: reason.into(),
        message: message.into(),
        of_writes: false,
    }
}

/// `time` plus seconds, limited to the maximum of the type.
pub(crate) fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// A delay in seconds, doubled `times` times, at most `max`.
pub(crate) fn doubled(first: i64, times: u32, max: i64) -> i64 {
    let factor = 1_i64.checked_shl(times.min(16)).unwrap_or(1);
    first.saturating_mul(factor).min(max)
}

/// Plan with sorted writes. Determines if the status must be stored at once.
pub(crate) fn finish_plan(
    stored: &JobStatus,
    status: JobStatus,
    mut writes: Vec<Write>,
    events: Vec<Event>,
) -> Plan {
    writes.sort_by_key(Write::class);
    let status_is_urgent = quiet(status.clone()) != quiet(stored.clone());
    let first = stored.conditions.is_empty();
    let counters = if first { vec![Counter::Created] } else { Vec::new() };
    Plan {
        intent: None,
        writes,
        status: Some(status),
        keeps_vanished: false,
        status_is_urgent,
        events,
        counters,
        requeue_at: None,
    }
}

/// Status without the parts that may be stored a little later.
pub(crate) fn quiet(mut status: JobStatus) -> JobStatus {
    for counts in status.replica_statuses.values_mut() {
        counts.active = 0;
    }
    if let Some(restarts) = &mut status.restart_counts {
        restarts.in_place = 0;
    }
    // The condition Created includes the text about what a job waits for. That text changes with unrelated changes in
    // the cluster.
    let created = |c: &&mut JobCondition| c.type_ == ConditionType::Created;
    for condition in status.conditions.iter_mut().filter(created) {
        (condition.message, condition.last_update_time) = (None, None);
    }
    status.waiting_for = None;
    status
}
