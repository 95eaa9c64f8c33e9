//! Make what is missing, and say what the job waits for.

use crate::api::{ConditionStatus, ConditionType};
use crate::build;
use crate::conditions;
use crate::kind::{Outcome, Workload};
use crate::names::SlotId;
use crate::objects::{Child, ChildKind};
use crate::plan::{Note, Plan, Write};
use crate::tally::{SlotState, SlotTally};

use super::facts::context::{Question, after, answer, done, warning};
use super::facts::draft::draft_status;
use super::facts::{attempts, deletes, gang, kept, missing, success, waits};
use super::give_back;

pub(super) fn plan(q: &Question<'_>) -> Plan {
    let mut status = draft_status(q);
    let missing::Missing {
        slots,
        waiting,
        held_until,
        waits_for,
    } = missing::missing_slots(q);
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
    let waits = waits::Waits {
        held_until,
        waits_for: waits_for.or_else(|| gang.hold.clone()),
    };
    notes.extend(waits::trouble(q, &mut status, creating, &gang, waits));
    give_back::record(q, &mut status);
    let next = give_back::next(q, &status);
    let mut plan = answer(&q.job.stored, status, writes, notes);
    // Which meaning the job has must be stored before anything is made of it.
    if q.job.info.stamp.is_some() && q.job.stored.dialect.is_none() {
        plan.intent.clone_from(&plan.status);
    }
    let deadline = q
        .deadline()
        .or_else(|| Some(after(q.now(), q.job.policy.active_deadline?)));
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
    let mut writes: Vec<Write> = surplus.map(deletes::delete_child).collect();
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
        .filter_map(|(_, pod)| deletes::delete(&q.losses, pod));
    let carried = deletes::carried(&q.losses, q.observed);
    previous
        .filter_map(|slot| deletes::delete_slot(q, slot))
        .chain(strays)
        .chain(carried)
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
            let used = attempts::used(q);
            Write::CreateBatchJob {
                slot: id,
                attempt,
                job: Box::new(build::batch_job::batch_job(q.job, pod, used)),
            }
        }
    }
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
