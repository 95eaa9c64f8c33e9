//! Everything that a decision step may look at, and the parts that all answers share.

use jiff::{SignedDuration, Timestamp};

use crate::api::{ConditionStatus, ConditionType, JobCondition, JobStatus, RestartScope};
use crate::conditions;
use crate::framework::Framework;
use crate::job::ResolvedJob;
use crate::kind::KindInfo;
use crate::names::JobKey;
use crate::nodes::Losses;
use crate::observe::Observed;
use crate::plan::{Counter, Note, NoteKind, Plan, Write};
use crate::settings::Settings;
use crate::tally::Tally;

/// All that a question may look at.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) framework: &'a dyn Framework,
    pub(crate) observed: &'a Observed,
    pub(crate) settings: &'a Settings,
    pub(crate) job: &'a ResolvedJob,
    pub(crate) tally: &'a Tally,
    pub(crate) losses: Losses<'a>,
}

impl Question<'_> {
    pub(crate) fn now(&self) -> Timestamp {
        self.observed.now
    }

    /// How messages of its running and its success call the job.
    pub(crate) fn subject(&self) -> String {
        let key = &self.job.key;
        if self.framework.called_briefly(self.job) {
            title(self.job.info, key)
        } else {
            format!("{} {}/{}", key.kind, key.namespace, key.name)
        }
    }

    /// How all other messages call the job.
    pub(crate) fn title(&self) -> String {
        title(self.job.info, &self.job.key)
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

/// Whether the job has ever had pods, as far as status tells.
pub(crate) fn has_begun(stored: &JobStatus) -> bool {
    stored.start_time.is_some() || stored.attempt > 0
}

pub(crate) fn title(info: &KindInfo, key: &JobKey) -> String {
    if info.long_names {
        format!("{} {}/{}", key.kind, key.namespace, key.name)
    } else {
        format!("{} {}", key.kind, key.name)
    }
}

/// What is said of a job at first sight, and from then on stands.
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
    format!("{} is created.", title(info, key))
}

pub(crate) fn normal(reason: impl Into<String>, message: impl Into<String>) -> Note {
    Note {
        kind: NoteKind::Normal,
        reason: reason.into(),
        message: message.into(),
        of_writes: false,
    }
}

/// A note that is true only if the plan's writes went through.
pub(crate) fn done(reason: impl Into<String>, message: impl Into<String>) -> Note {
    Note {
        of_writes: true,
        ..normal(reason, message)
    }
}

pub(crate) fn warning(reason: impl Into<String>, message: impl Into<String>) -> Note {
    Note {
        kind: NoteKind::Warning,
        reason: reason.into(),
        message: message.into(),
        of_writes: false,
    }
}

/// `time` plus seconds, as far as times go.
pub(crate) fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// A delay in seconds, doubled so many times, and `max` at most.
pub(crate) fn doubled(first: i64, times: u32, max: i64) -> i64 {
    let factor = 1_i64.checked_shl(times.min(16)).unwrap_or(1);
    first.saturating_mul(factor).min(max)
}

/// Sorts the writes and says whether the status is worth a request of its own at once.
pub(crate) fn answer(
    stored: &JobStatus,
    status: JobStatus,
    mut writes: Vec<Write>,
    notes: Vec<Note>,
) -> Plan {
    writes.sort_by_key(Write::class);
    let urgent = quiet(status.clone()) != quiet(stored.clone());
    let first = stored.conditions.is_empty();
    let counters = if first { vec![Counter::Created] } else { Vec::new() };
    Plan {
        intent: None,
        writes,
        status: Some(status),
        blind: false,
        urgent,
        notes,
        counters,
        wake: None,
    }
}

/// Status without what may be told a little later.
pub(crate) fn quiet(mut status: JobStatus) -> JobStatus {
    for counts in status.replica_statuses.values_mut() {
        counts.active = 0;
    }
    if let Some(restarts) = &mut status.restart_counts {
        restarts.in_place = 0;
    }
    // What a job waits for is told with it, in words that change with whatever else the cluster does.
    let created = |c: &&mut JobCondition| c.type_ == ConditionType::Created;
    for condition in status.conditions.iter_mut().filter(created) {
        (condition.message, condition.last_update_time) = (None, None);
    }
    status.waiting_for = None;
    status
}
