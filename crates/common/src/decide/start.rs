//! Make what is missing, and say what the job waits for.

use crate::conditions;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{ConditionStatus, ConditionType, JobStatus};
use crate::build;
use crate::kind::{Outcome, Workload};
use crate::names::{self, Role, SlotId};
use crate::objects::{Child, ChildKind};
use crate::observe::{ContainerState, Phase, PodView, Refusal, RefusalCause};
use crate::plan::{Note, Plan, Write};
use crate::tally::{SlotState, SlotTally};

use super::finished::delete_child;
use super::restart::{SCALED_DOWN, delete_slot, needs};
use super::{
    Question, after, answer, created_message, done, doubled, gang, give_back, kept, nodes, outcome, success,
    warning, whole,
};

/// Pause before the second restart of a slot, in seconds; doubled for each further one. The first restart is at once.
const RESTART_DELAY: i64 = 5;
/// What is told of a pod that its scheduler finds no node for.
const UNSCHEDULABLE: &str = "Unschedulable";
/// Longest pause before a restart, in seconds.
const MAX_RESTART_DELAY: i64 = 300;

pub(super) fn plan(q: &Question<'_>) -> Plan {
    let mut status = q.begin();
    let Missing {
        slots,
        waiting,
        held_until,
        waits_for,
    } = missing_slots(q);
    let gang = gang::plan(q, &slots, &waiting);
    if !gang.queued {
        let now = || conditions::whole_seconds(q.now());
        status.start_time.get_or_insert_with(now);
    }
    if success::outcome(q) == Outcome::Running {
        let (reason, message) = (
            format!("{}Running", q.job.info.kind),
            format!("{} is running.", q.subject()),
        );
        let running = ConditionType::Running;
        conditions::set_condition(
            &mut status,
            q.now(),
            running,
            ConditionStatus::True,
            &reason,
            &message,
        );
    }
    let extras = q.framework.extras(q.job, q.tally, q.settings);
    let mut writes: Vec<Write> = extras.into_iter().map(Write::Ensure).collect();
    writes.extend(services(q));
    writes.extend(kept::writes(q, ChildKind::Autoscaler, autoscaler(q)));
    writes.extend(leftovers(q));
    writes.extend(gang.writes.iter().cloned());
    let pods = if gang.hold.is_none() {
        pods(q, &slots)
    } else {
        Vec::new()
    };
    let mut notes = if q.job.stored.conditions.is_empty() {
        first_words(q)
    } else {
        Vec::new()
    };
    notes.extend(creation_note(&pods));
    writes.extend(pods);
    let creating = writes.iter().any(|w| {
        matches!(
            w,
            Write::CreatePod { .. }
                | Write::CreateBatchJob { .. }
                | Write::CreateChild(_)
                | Write::ChangeChild { .. }
        )
    });
    let waits = Waits {
        held_until,
        waits_for: waits_for.or_else(|| gang.hold.clone()),
    };
    notes.extend(trouble(q, &mut status, creating, &gang, waits));
    give_back::record(q, &mut status);
    let next = give_back::next(q, &status);
    let mut plan = answer(&q.job.stored, status, writes, notes);
    // Which meaning the job has must be stored before anything is made of it.
    if q.job.info.stamp.is_some() && q.job.stored.dialect.is_none() {
        plan.intent.clone_from(&plan.status);
    }
    let deadline = outcome::deadline(q).or_else(|| Some(after(q.now(), q.job.policy.active_deadline?)));
    plan.wake = [deadline, held_until, next].into_iter().flatten().min();
    plan
}

fn autoscaler(q: &Question<'_>) -> Option<Child> {
    let autoscaler = q.framework.autoscaler(q.job)?;
    Some(Child::Autoscaler(Box::new(autoscaler)))
}

fn services(q: &Question<'_>) -> Vec<Write> {
    let wanted = q.framework.services(q.job, q.settings);
    let is = |name: &str, service: &k8s_openapi::api::core::v1::Service| {
        service.metadata.name.as_deref() == Some(name)
    };
    let surplus = q
        .observed
        .standing(ChildKind::Service)
        .filter(|s| !wanted.iter().any(|w| is(&s.name, w)));
    let mut writes: Vec<Write> = surplus.map(delete_child).collect();
    let there = |service: &k8s_openapi::api::core::v1::Service| {
        let mut services = q
            .observed
            .children
            .iter()
            .filter(|c| c.kind == ChildKind::Service);
        services.any(|s| is(&s.name, service))
    };
    writes.extend(
        wanted
            .into_iter()
            .filter(|w| !there(w))
            .map(|w| Write::CreateChild(Child::Service(Box::new(w)))),
    );
    writes
}

/// Pods of earlier attempts whose replacement is stored already, but that still stand.
fn leftovers(q: &Question<'_>) -> impl Iterator<Item = Write> {
    let previous = q.tally.slots.iter().filter(|s| s.state == SlotState::Previous);
    let strays = q
        .tally
        .strays
        .iter()
        .filter_map(|(_, pod)| nodes::delete(&q.losses, pod));
    let carried = nodes::carried(&q.losses, q.observed);
    previous
        .filter_map(|slot| delete_slot(q, slot))
        .chain(strays)
        .chain(carried)
}

/// What is to be made of what is missing.
#[derive(Default)]
pub(super) struct Missing<'a> {
    /// Slots whose pods and batch Jobs are to be made now; those that need others last.
    pub(super) slots: Vec<&'a SlotTally>,
    /// Slots that are made when others are ready.
    waiting: Vec<SlotId>,
    /// When the next one that must wait is due.
    held_until: Option<Timestamp>,
    /// What one of them waits for, in words.
    waits_for: Option<String>,
}

pub(super) fn missing_slots<'a>(q: &'a Question<'_>) -> Missing<'a> {
    let mut missing = Missing::default();
    let mut slots: Vec<_> = q
        .tally
        .slots
        .iter()
        .filter(|s| s.state == SlotState::Missing)
        .collect();
    slots.sort_by_key(|slot| needs(q, slot).is_some());
    if let Some(name) = whole::leftover(q) {
        missing.waits_for = Some(format!("{name} of the previous attempt has to terminate first"));
        return missing;
    }
    for slot in slots {
        if let Some(due) = not_before(q, slot).filter(|due| *due > q.now()) {
            missing.held_until = Some(missing.held_until.map_or(due, |t: Timestamp| t.min(due)));
            continue;
        }
        if let Some(needed) = needs(q, slot).filter(|needed| must_wait(q, slot, *needed)) {
            missing.waits_for = Some(format!(
                "{} waits until all {needed} pods are ready",
                slot.slot.name
            ));
            missing.waiting.push(slot.slot.id);
            continue;
        }
        missing.slots.push(slot);
    }
    missing
}

/// Most pods that one pass makes: those of a very large job are not all in memory at once. What is made is seen, and that
/// brings the next pass.
const MOST_AT_ONCE: usize = 1000;

fn pods(q: &Question<'_>, slots: &[&SlotTally]) -> Vec<Write> {
    let leader = q.framework.leader(&q.job.cast, q.job);
    let members = gang::members(q);
    let create = |slot: &&SlotTally| create(q, slot, leader, members.as_ref());
    slots.iter().take(MOST_AT_ONCE).map(create).collect()
}

/// A first start need not wait unless the job says so.
fn must_wait(q: &Question<'_>, slot: &SlotTally, needed: Role) -> bool {
    let key = names::slot_key(slot.slot.id.role, slot.slot.id.index);
    let again = q.job.stored.slots.contains_key(&key);
    (again || q.framework.waits_for_needed(q.job)) && not_ready(q, needed).next().is_some()
}

/// Slots of a role that are not there for those that drive them.
pub(super) fn not_ready<'a>(q: &'a Question<'_>, role: Role) -> impl Iterator<Item = &'a SlotTally> {
    let of_role = q.tally.slots.iter().filter(move |s| s.slot.id.role == role);
    of_role.filter(|slot| match &slot.state {
        SlotState::Running => slot.pod.as_ref().is_none_or(|pod| !pod.ready),
        // Whoever lets a worker end knows why.
        SlotState::Succeeded => false,
        SlotState::Missing
        | SlotState::Lost
        | SlotState::Previous
        | SlotState::Terminating
        | SlotState::Pending
        | SlotState::Failed(_) => true,
    })
}

fn create(
    q: &Question<'_>,
    slot: &SlotTally,
    leader: Option<SlotId>,
    members: Option<&gang::Members>,
) -> Write {
    let wiring = q.framework.wiring(&slot.slot, &q.job.cast, q.job, q.settings);
    let mut pod = build::pod::pod(q.job, &slot.slot, slot.attempt, leader, wiring, q.settings);
    gang::mark(q, members, slot.slot.id.role, &mut pod);
    let (id, attempt) = (slot.slot.id, slot.attempt);
    match slot.slot.workload {
        Workload::Pod => Write::CreatePod {
            slot: id,
            attempt,
            pod: Box::new(pod),
        },
        Workload::BatchJob => {
            let used = outcome::used(q);
            Write::CreateBatchJob {
                slot: id,
                attempt,
                job: Box::new(build::batch_job::batch_job(q.job, pod, used)),
            }
        }
    }
}

/// A slot that fails again and again is restarted ever more slowly.
fn not_before(q: &Question<'_>, slot: &SlotTally) -> Option<Timestamp> {
    let stored = q
        .job
        .stored
        .slots
        .get(&names::slot_key(slot.slot.id.role, slot.slot.id.index))
        // Who went because fewer were wanted has not failed.
        .filter(|stored| stored.reason.as_deref() != Some(SCALED_DOWN));
    let own = stored.and_then(|stored| {
        let restarts = stored.attempt.saturating_sub(q.job.stored.attempt);
        due(q, stored.since.as_ref()?, restarts)
    });
    own.max(whole::not_before(q)).max(give_back::not_before(q))
}

/// When the last of so many restarts, decided at `since`, is due.
pub(super) fn due(q: &Question<'_>, since: &Time, restarts: u32) -> Option<Timestamp> {
    // A clock that was ahead when the restart was decided must not hold it up.
    if since.0 > q.now() {
        return None;
    }
    let repeated = restarts.checked_sub(2)?;
    Some(after(
        since.0,
        doubled(RESTART_DELAY, repeated, MAX_RESTART_DELAY),
    ))
}

fn creation_note(pods: &[Write]) -> Option<Note> {
    const SHOWN: usize = 8;
    let (mut names, mut jobs) = (Vec::new(), Vec::new());
    for write in pods {
        match write {
            Write::CreatePod { pod, .. } => names.extend(pod.metadata.name.as_deref()),
            Write::CreateBatchJob { job, .. } => jobs.extend(job.metadata.name.as_deref()),
            Write::Ensure(_)
            | Write::CreateChild(_)
            | Write::ChangeChild { .. }
            | Write::DeleteChild { .. }
            | Write::DeletePod { .. }
            | Write::DeleteBatchJob { .. }
            | Write::DeleteJob { .. } => {}
        }
    }
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let created = match names.len() {
        0 => None,
        1 => Some(format!("Created pod: {shown}")),
        n if n <= SHOWN => Some(format!("Created pods: {shown}")),
        n => Some(format!("Created {n} pods: {shown}, ...")),
    };
    let jobs = (!jobs.is_empty()).then(|| format!("Created job: {}", jobs.join(", ")));
    let reason = if created.is_some() {
        "SuccessfulCreatePod"
    } else {
        "SuccessfulCreateJob"
    };
    let parts: Vec<String> = created.into_iter().chain(jobs).collect();
    (!parts.is_empty()).then(|| done(reason, parts.join("; ")))
}

/// What the user should know once, at the beginning.
pub(super) fn first_words(q: &Question<'_>) -> Vec<Note> {
    let overwritten = q.job.replicas.iter().any(|r| {
        r.template
            .spec
            .as_ref()
            .and_then(|s| s.restart_policy.as_deref())
            .is_some_and(|policy| !policy.is_empty())
    });
    let text = "Restart policy in pod template will be overwritten by restart policy in replica spec";
    let mut words = gang::first_words(q);
    words.extend(overwritten.then(|| warning("SetPodTemplateRestartPolicy", text)));
    words
}

/// What a job waits for that will pass by itself.
struct Waits {
    /// When the next restart is due.
    held_until: Option<Timestamp>,
    /// Anything else, in words.
    waits_for: Option<String>,
}

/// Fills in what the job waits for; an event when it begins to wait for something that will not pass by itself.
fn trouble(
    q: &Question<'_>,
    status: &mut JobStatus,
    creating: bool,
    gang: &gang::Answer,
    waits: Waits,
) -> Option<Note> {
    let created = created_message(q.job.info, &q.job.key);
    if let Some(refusal) = q.observed.refusals.first() {
        if refusal.cause != RefusalCause::Transient {
            let message = format!("{created} It waits: {}", refusal_text(refusal));
            conditions::refresh_message(status, q.now(), ConditionType::Created, &message);
        }
        return refused(q, status, refusal);
    }
    if creating && q.job.stored.waiting_for.is_some() {
        // Whether the cause is gone shows when these writes went through: until then the old words stand, and an operator
        // that was just started does not tell them twice.
        status.waiting_for.clone_from(&q.job.stored.waiting_for);
        return None;
    }
    if let Some(text) = status.waiting_for.clone() {
        conditions::refresh_message(status, q.now(), ConditionType::Created, &created);
        let news = q.job.stored.waiting_for.is_none();
        return news.then(|| warning("NodeNotReady", text));
    }
    let pods = q.tally.slots.iter().filter_map(|s| s.pod.as_deref());
    let mut troubles = pods.filter_map(pod_trouble);
    if let Some((reason, words)) = &gang.refused {
        let text = gang::no_place(q, words, troubles.map(|(_, text)| text));
        let message = format!("{created} It waits: {text}");
        conditions::refresh_message(status, q.now(), ConditionType::Created, &message);
        status.waiting_for = Some(text.clone());
        return (!gang::is_told(q)).then(|| warning(reason, text));
    }
    conditions::refresh_message(status, q.now(), ConditionType::Created, &created);
    if let Some((reason, text)) = troubles.next() {
        // Words of the scheduler that a pod still has although its gang has found a place were told with the gang.
        let told = reason == UNSCHEDULABLE && gang::is_told(q);
        let news = q.job.stored.waiting_for.is_none() && !gang.speaks_for_pods && !told;
        status.waiting_for = Some(text.clone());
        return news.then(|| warning(reason, text));
    }
    status.waiting_for = waiting_for_time(q, waits.held_until).or(waits.waits_for);
    None
}

/// Says what was refused; an event if it is news.
pub(super) fn refused(q: &Question<'_>, status: &mut JobStatus, refusal: &Refusal) -> Option<Note> {
    let text = refusal_text(refusal);
    let news = q.job.stored.waiting_for.as_deref() != Some(&text);
    status.waiting_for = Some(text.clone());
    let what = if refusal.deletion { "Delete" } else { "Create" };
    let kind = refusal.object.split(' ').next().unwrap_or("Object");
    news.then(|| warning(format!("Failed{what}{kind}"), text))
}

pub(super) fn refusal_text(refusal: &Refusal) -> String {
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
fn pod_trouble(pod: &PodView) -> Option<(String, String)> {
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

fn waiting_for_time(q: &Question<'_>, held_until: Option<Timestamp>) -> Option<String> {
    if let Some(given_back) = give_back::words(&q.job.stored, q.now()) {
        return Some(given_back);
    }
    let previous = q.tally.slots.iter().find(|s| s.state == SlotState::Previous);
    let terminating = previous.map(|s| {
        let what = match s.slot.workload {
            Workload::Pod => "pod",
            Workload::BatchJob => "job",
        };
        format!(
            "{what} {} of the previous attempt has to terminate first",
            s.slot.name
        )
    });
    terminating.or_else(|| {
        Some(format!(
            "the next restart is due at {}",
            conditions::whole_seconds(held_until?).0
        ))
    })
}
