//! Make what is missing, and say what the job waits for.

use jiff::Timestamp;

use crate::api::{ConditionStatus, ConditionType, JobStatus};
use crate::build;
use crate::framework::Outcome;
use crate::names;
use crate::observe::{ContainerState, Phase, PodView, Refusal, RefusalCause};
use crate::plan::{Note, Plan, Write};
use crate::status;
use crate::tally::{SlotState, SlotTally};

use super::finished::{delete_pod, delete_service};
use super::{Question, after, answer, created_message, done, outcome, warning};

/// Pause before the second restart of a slot, in seconds; doubled for each further one. The first restart is at once.
const RESTART_DELAY: i64 = 5;
/// Longest pause before a restart, in seconds.
const MAX_RESTART_DELAY: i64 = 300;

pub(super) fn plan(q: &Question<'_>) -> Plan {
    let mut status = q.begin();
    status
        .start_time
        .get_or_insert_with(|| status::whole_seconds(q.now()));
    if q.framework.outcome(q.tally, q.job) == Outcome::Running {
        let (reason, message) = (
            format!("{}Running", q.job.info.kind),
            format!("{} is running.", q.subject()),
        );
        let running = ConditionType::Running;
        status::set_condition(
            &mut status,
            q.now(),
            running,
            ConditionStatus::True,
            &reason,
            &message,
        );
    }
    let mut writes = services(q);
    writes.extend(leftovers(q));
    let (pods, held_until) = missing_pods(q);
    let mut notes = first_words(q);
    notes.extend(creation_note(&pods));
    writes.extend(pods);
    let creating = writes
        .iter()
        .any(|w| matches!(w, Write::CreatePod { .. } | Write::CreateService(_)));
    notes.extend(trouble(q, &mut status, creating, held_until));
    let mut plan = answer(&q.job.stored, status, writes, notes);
    let deadline = outcome::deadline(q).or_else(|| Some(after(q.now(), q.job.policy.active_deadline?)));
    plan.wake = [deadline, held_until].into_iter().flatten().min();
    plan
}

fn services(q: &Question<'_>) -> Vec<Write> {
    let addressed = q.framework.addressed(&q.job.cast, q.job);
    let wanted = build::service::services(q.job, &addressed, q.settings);
    let is = |name: &str, service: &k8s_openapi::api::core::v1::Service| {
        service.metadata.name.as_deref() == Some(name)
    };
    let surplus = q
        .observed
        .services
        .iter()
        .filter(|s| !s.deleting && !wanted.iter().any(|w| is(&s.name, w)));
    let mut writes: Vec<Write> = surplus.map(|s| delete_service(&s.name, &s.uid)).collect();
    let there = |service: &k8s_openapi::api::core::v1::Service| {
        q.observed.services.iter().any(|s| is(&s.name, service))
    };
    writes.extend(
        wanted
            .into_iter()
            .filter(|w| !there(w))
            .map(|w| Write::CreateService(Box::new(w))),
    );
    writes
}

/// Pods of earlier attempts whose replacement is stored already, but that still stand.
fn leftovers(q: &Question<'_>) -> impl Iterator<Item = Write> {
    let previous = q
        .tally
        .slots
        .iter()
        .filter(|s| s.state == SlotState::Previous)
        .filter_map(|s| s.pod.as_ref());
    let strays = q.tally.strays.iter().map(|(_, pod)| pod);
    previous
        .chain(strays)
        .filter(|pod| !pod.deleting)
        .map(|pod| delete_pod(&pod.name, &pod.uid))
}

/// Pods to create now, and when the next one that must wait is due.
fn missing_pods(q: &Question<'_>) -> (Vec<Write>, Option<Timestamp>) {
    let leader = q.framework.leader(&q.job.cast, q.job);
    let (mut pods, mut held_until) = (Vec::new(), None);
    for slot in q.tally.slots.iter().filter(|s| s.state == SlotState::Missing) {
        if let Some(due) = not_before(q, slot).filter(|due| *due > q.now()) {
            held_until = Some(held_until.map_or(due, |t: Timestamp| t.min(due)));
            continue;
        }
        let wiring = q.framework.wiring(&slot.slot, &q.job.cast, q.job, q.settings);
        let pod = build::pod::pod(q.job, &slot.slot, slot.attempt, leader, wiring, q.settings);
        pods.push(Write::CreatePod {
            slot: slot.slot.id,
            attempt: slot.attempt,
            pod: Box::new(pod),
        });
    }
    (pods, held_until)
}

/// A slot that fails again and again is restarted ever more slowly.
fn not_before(q: &Question<'_>, slot: &SlotTally) -> Option<Timestamp> {
    let stored = q
        .job
        .stored
        .slots
        .get(&names::slot_key(slot.slot.id.role, slot.slot.id.index))?;
    let repeated = stored
        .attempt
        .saturating_sub(q.job.stored.attempt)
        .checked_sub(2)?;
    let delay = RESTART_DELAY
        .saturating_mul(1_i64.checked_shl(repeated.min(16)).unwrap_or(1))
        .min(MAX_RESTART_DELAY);
    Some(after(stored.since.as_ref()?.0, delay))
}

fn creation_note(pods: &[Write]) -> Option<Note> {
    const SHOWN: usize = 8;
    let names: Vec<&str> = pods
        .iter()
        .filter_map(|write| match write {
            Write::CreatePod { pod, .. } => pod.metadata.name.as_deref(),
            Write::CreateService(_)
            | Write::DeleteService { .. }
            | Write::DeletePod { .. }
            | Write::DeleteJob { .. } => None,
        })
        .collect();
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let message = match names.len() {
        0 => return None,
        1 => format!("Created pod: {shown}"),
        n if n <= SHOWN => format!("Created pods: {shown}"),
        n => format!("Created {n} pods: {shown}, ..."),
    };
    Some(done("SuccessfulCreatePod", message))
}

/// What the user should know once, at the beginning.
fn first_words(q: &Question<'_>) -> Vec<Note> {
    if !q.job.stored.conditions.is_empty() {
        return Vec::new();
    }
    let overwritten = q.job.replicas.iter().any(|r| {
        r.template
            .spec
            .as_ref()
            .and_then(|s| s.restart_policy.as_deref())
            .is_some_and(|policy| !policy.is_empty())
    });
    let text = "Restart policy in pod template will be overwritten by restart policy in replica spec";
    overwritten
        .then(|| warning("SetPodTemplateRestartPolicy", text))
        .into_iter()
        .collect()
}

/// Fills in what the job waits for; an event when it begins to wait for something that will not pass by itself.
fn trouble(
    q: &Question<'_>,
    status: &mut JobStatus,
    creating: bool,
    held_until: Option<Timestamp>,
) -> Option<Note> {
    let (kind, name) = (q.job.info.kind, &q.job.key.name);
    let created = created_message(kind, name);
    if let Some(refusal) = q.observed.refusals.first() {
        let text = refusal_text(refusal);
        if refusal.cause != RefusalCause::Transient {
            let message = format!("{created} It waits: {text}");
            status::refresh_message(status, q.now(), ConditionType::Created, &message);
        }
        let news = q.job.stored.waiting_for.as_deref() != Some(&text);
        status.waiting_for = Some(text.clone());
        let reason = format!(
            "FailedCreate{}",
            refusal.object.split(' ').next().unwrap_or("Object")
        );
        return news.then(|| warning(reason, text));
    }
    if creating && q.job.stored.waiting_for.is_some() {
        // Whether the cause is gone shows when these writes went through: until then the old words stand, and an operator
        // that was just started does not tell them twice.
        status.waiting_for.clone_from(&q.job.stored.waiting_for);
        return None;
    }
    status::refresh_message(status, q.now(), ConditionType::Created, &created);
    let mut pods = q.tally.slots.iter().filter_map(|s| s.pod.as_deref());
    if let Some((reason, text)) = pods.find_map(pod_trouble) {
        let news = q.job.stored.waiting_for.is_none();
        status.waiting_for = Some(text.clone());
        return news.then(|| warning(reason, text));
    }
    status.waiting_for = waiting_for_time(q, held_until);
    None
}

fn refusal_text(refusal: &Refusal) -> String {
    let Refusal {
        object,
        cause,
        message,
    } = refusal;
    match cause {
        RefusalCause::Foreign => format!("{object} exists and does not belong to this job: {message}"),
        RefusalCause::Predecessor => {
            format!("{object} of an earlier job of this name has to terminate first")
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
            "Unschedulable".to_owned(),
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
    let previous = q.tally.slots.iter().find(|s| s.state == SlotState::Previous);
    let terminating = previous.map(|s| {
        format!(
            "pod {} of the previous attempt has to terminate first",
            s.slot.name
        )
    });
    terminating.or_else(|| {
        Some(format!(
            "the next restart is due at {}",
            status::whole_seconds(held_until?).0
        ))
    })
}
