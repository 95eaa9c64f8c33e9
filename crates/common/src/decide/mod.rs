//! The order of questions. Each is a pure function in its own file that either answers with a [`Plan`] or passes.
//!
//! 1. Is the job ours, and alive?              here
//! 2. Has it ended?                            finished
//! 3. Is it valid?                             invalid (suspend, if that is asked for)
//! 4. Is it to have no pods?                   suspend
//! 5. Would its leader be scaled away?         leader
//! 6. Has it just ended, well or badly?        outcome (success, deadline, failures, limit)
//! 7. Must pods be replaced?                   restart (each by itself), whole (all together)
//! 8. Does a part of it wait in vain?          give_back
//! 9. What is missing?                         start; whether it may be made yet: gang
//!
//! A pod on a node that does not answer is nobody's question: whoever deletes it asks `nodes` how.

mod finished;
mod first_failure;
mod gang;
mod give_back;
mod invalid;
mod kept;
mod leader;
mod nodes;
mod outcome;
mod restart;
mod start;
mod success;
mod suspend;
mod whole;

use crate::conditions;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::EnvVar;

use crate::api::{ConditionStatus, ConditionType, JobCondition, JobStatus};
use crate::framework::Framework;
use crate::job::ResolvedJob;
use crate::kind::KindInfo;
use crate::names::JobKey;
use crate::nodes::Losses;
use crate::observe::Observed;
use crate::plan::{Counter, Note, NoteKind, Plan, Write};
use crate::problems::Problems;
use crate::settings::Settings;
use crate::tally::{self, Tally};
use crate::{resolve, status};

/// What to do for one job now. Total: whatever the input, there is an answer.
#[must_use]
pub fn plan(framework: &dyn Framework, observed: &Observed, settings: &Settings) -> Plan {
    let raw = &observed.job;
    let stored = resolve::stored_status(raw);
    let framework = resolve::dialect(framework, raw, &stored);
    if raw.deleting || !resolve::is_ours(framework.kind(), raw) {
        return Plan::default();
    }
    let losses = Losses::of(observed, settings);
    let plan = decide(framework, observed, settings, &stored, losses);
    // Made again when the next pod is given up with its node.
    Plan {
        wake: plan.wake.into_iter().chain(losses.next(observed)).min(),
        ..plan
    }
}

/// The questions, in their order.
fn decide(
    framework: &dyn Framework,
    observed: &Observed,
    settings: &Settings,
    stored: &JobStatus,
    losses: Losses<'_>,
) -> Plan {
    let raw = &observed.job;
    if conditions::is_finished(stored) {
        return finished::plan(framework.kind(), observed, stored, &losses);
    }
    let (job, mut problems) = resolve::outline(framework, raw);
    if problems.0.is_empty() {
        check_variables(framework, &job, settings, &mut problems);
    }
    let tally = tally::tally(observed, &job, &losses);
    let question = Question {
        framework,
        observed,
        settings,
        job: &job,
        tally: &tally,
        losses,
    };
    if !problems.0.is_empty() {
        // Whoever wants no pods is obeyed, whatever else is wrong: queues wait for it.
        let stop = job.policy.suspend && has_begun(stored);
        let stopped = stop.then(|| suspend::plan(&question)).flatten();
        return stopped.unwrap_or_else(|| invalid::plan(framework.kind(), observed, stored, &problems));
    }
    suspend::plan(&question)
        .or_else(|| leader::plan(&question))
        .or_else(|| outcome::plan(&question))
        .or_else(|| restart::plan(&question))
        .or_else(|| give_back::plan(&question))
        .unwrap_or_else(|| start::plan(&question))
}

/// Linux starts no program with a longer variable, its name and the end of the text included.
const LONGEST_VARIABLE: usize = 128 * 1024;
/// Jobs of fewer pods cannot have such: what is listed of one pod takes less than 400 bytes.
const FEW_PODS: u32 = 300;

/// Lists of all pods grow with the job.
fn check_variables(
    framework: &dyn Framework,
    job: &ResolvedJob,
    settings: &Settings,
    problems: &mut Problems,
) {
    let Some(slot) = job.cast.slots().last().filter(|_| job.cast.len() >= FEW_PODS) else {
        return;
    };
    let wiring = framework.wiring(slot, &job.cast, job, settings);
    let length = |variable: &EnvVar| variable.name.len() + variable.value.as_ref().map_or(0, String::len) + 2;
    let too_long = wiring
        .env
        .iter()
        .filter(|variable| length(variable) > LONGEST_VARIABLE);
    for variable in too_long {
        let message = format!(
            "too many replicas: {} would list all of them in {} KiB, and Linux starts no program with more than 128 KiB in a \
             variable",
            variable.name,
            length(variable) / 1024
        );
        problems.add(format!("spec.{}", job.info.replicas_field), message);
    }
}

/// All that a question may look at.
#[derive(Clone, Copy)]
struct Question<'a> {
    framework: &'a dyn Framework,
    observed: &'a Observed,
    settings: &'a Settings,
    job: &'a ResolvedJob,
    tally: &'a Tally,
    losses: Losses<'a>,
}

impl Question<'_> {
    fn now(&self) -> Timestamp {
        self.observed.now
    }

    /// How messages of its running and its success call the job.
    fn subject(&self) -> String {
        let key = &self.job.key;
        if self.framework.called_briefly(self.job) {
            title(self.job.info, key)
        } else {
            format!("{} {}/{}", key.kind, key.namespace, key.name)
        }
    }

    /// How all other messages call the job.
    fn title(&self) -> String {
        title(self.job.info, &self.job.key)
    }

    /// Stored status with Created stated, a start time, and the counts of now: what every answer begins with.
    fn begin(&self) -> JobStatus {
        let mut status = self.job.stored.clone();
        state_created(&mut status, self.now(), self.job.info, &self.job.key);
        status::count_replicas(&mut status, self.tally, self.job);
        for (slot, failure) in outcome::failures(self) {
            if let Some(counts) = status.replica_statuses.get_mut(slot.slot.id.role.0)
                && outcome::tolerated(self, slot, failure)
            {
                counts.failed = counts.failed.saturating_add(1);
            }
        }
        status.waiting_for = self.losses.wait(self.observed);
        status
    }
}

/// Whether the job has ever had pods, as far as status tells.
fn has_begun(stored: &JobStatus) -> bool {
    stored.start_time.is_some() || stored.attempt > 0
}

fn title(info: &KindInfo, key: &JobKey) -> String {
    if info.long_names {
        format!("{} {}/{}", key.kind, key.namespace, key.name)
    } else {
        format!("{} {}", key.kind, key.name)
    }
}

/// What is said of a job at first sight, and from then on stands.
fn state_created(status: &mut JobStatus, now: Timestamp, info: &KindInfo, key: &JobKey) {
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

fn created_message(info: &KindInfo, key: &JobKey) -> String {
    format!("{} is created.", title(info, key))
}

fn normal(reason: impl Into<String>, message: impl Into<String>) -> Note {
    Note {
        kind: NoteKind::Normal,
        reason: reason.into(),
        message: message.into(),
        of_writes: false,
    }
}

/// A note that is true only if the plan's writes went through.
fn done(reason: impl Into<String>, message: impl Into<String>) -> Note {
    Note {
        of_writes: true,
        ..normal(reason, message)
    }
}

fn warning(reason: impl Into<String>, message: impl Into<String>) -> Note {
    Note {
        kind: NoteKind::Warning,
        reason: reason.into(),
        message: message.into(),
        of_writes: false,
    }
}

/// `time` plus seconds, as far as times go.
fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// A delay in seconds, doubled so many times, and `max` at most.
fn doubled(first: i64, times: u32, max: i64) -> i64 {
    let factor = 1_i64.checked_shl(times.min(16)).unwrap_or(1);
    first.saturating_mul(factor).min(max)
}

/// Sorts the writes and says whether the status is worth a request of its own at once.
fn answer(stored: &JobStatus, status: JobStatus, mut writes: Vec<Write>, notes: Vec<Note>) -> Plan {
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
fn quiet(mut status: JobStatus) -> JobStatus {
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
