//! Suspension: no pods until somebody (a user, a queue) says so. Attempts and restart counts survive it.
//!
//! Invariant: pods are deleted only after Suspended=True is stored; `active` reads 0 only when they are gone.

use crate::api::{ConditionStatus, ConditionType, JobStatus};
use crate::conditions;
use crate::gang::Gang;
use crate::kind::Workload;
use crate::names::{Role, Uid};
use crate::observe::{Phase, PodView};
use crate::plan::{Plan, Write};

use super::facts::context::{Question, answer, created_message, has_begun, normal};
use super::facts::draft::draft_status;
use super::facts::{attempts, deletes, waits};
use super::start;

pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    let suspended = conditions::is_true(&q.job.stored, ConditionType::Suspended);
    match (q.job.policy.suspend, suspended) {
        (true, false) => Some(suspend(q)),
        (true, true) => Some(stay_suspended(q)),
        (false, true) => Some(resume(q)),
        (false, false) => None,
    }
}

fn suspend(q: &Question<'_>) -> Plan {
    let kind = q.job.info.kind;
    let (reason, message) = (format!("{kind}Suspended"), format!("{} is suspended.", q.title()));
    let mut status = without_pods(q);
    attempts::retire_all(q, &mut status);
    status.gang = None;
    let now = q.now();
    if conditions::is_true(&status, ConditionType::Running) {
        let running = ConditionType::Running;
        conditions::set_condition(
            &mut status,
            now,
            running,
            ConditionStatus::False,
            &reason,
            &message,
        );
    }
    status.conditions.retain(|c| c.type_ != ConditionType::Restarting);
    conditions::set_condition(
        &mut status,
        now,
        ConditionType::Suspended,
        ConditionStatus::True,
        &reason,
        &message,
    );
    let plan = answer(
        &q.job.stored,
        status.clone(),
        deletes(q),
        vec![normal(reason, message)],
    );
    Plan {
        intent: Some(status),
        ..plan
    }
}

fn stay_suspended(q: &Question<'_>) -> Plan {
    let (mut status, writes) = (without_pods(q), deletes(q));
    // Whether a deletion is still refused shows when these went through.
    if !writes.is_empty() {
        status.waiting_for.clone_from(&q.job.stored.waiting_for);
    }
    // A queue waits for what must not be deleted.
    let refusal = q.observed.refusals.iter().find(|refusal| refusal.deletion);
    let told = refusal.and_then(|refusal| waits::refused(q, &mut status, refusal));
    // Pods that nobody saw when the suspension was stored: theirs must not be an attempt that comes again.
    let pods = q.observed.pods.iter().map(|pod| pod.attempt);
    let mut there = pods.chain(q.observed.batch_jobs.iter().map(|job| job.attempt));
    let unseen = there.any(|attempt| attempt.0 >= status.attempt);
    if unseen {
        attempts::retire_all(q, &mut status);
    }
    Plan {
        intent: unseen.then(|| status.clone()),
        ..answer(&q.job.stored, status, writes, told.into_iter().collect())
    }
}

fn resume(q: &Question<'_>) -> Plan {
    let kind = q.job.info.kind;
    let (reason, message) = (format!("{kind}Resumed"), format!("{} is resumed.", q.title()));
    let mut status = draft_status(q);
    let now = q.now();
    conditions::set_condition(
        &mut status,
        now,
        ConditionType::Suspended,
        ConditionStatus::False,
        &reason,
        &message,
    );
    // Where a queue admits gangs the time of the job begins when it is admitted.
    let queued = q.settings.gang == Gang::Volcano;
    status.start_time = (!queued).then(|| conditions::whole_seconds(now));
    let mut notes = vec![normal(reason, message)];
    if !has_begun(&q.job.stored) {
        notes.extend(start::first_words(q));
    }
    answer(&q.job.stored, status, Vec::new(), notes)
}

/// Counts of a suspended job: what still lives counts as active, what was done belongs to the time before.
fn without_pods(q: &Question<'_>) -> JobStatus {
    let mut status = draft_status(q);
    // Whatever it waited for, it waits for that no more.
    let created = created_message(q.job.info, &q.job.key);
    conditions::refresh_message(&mut status, q.now(), ConditionType::Created, &created);
    // One that has ended on its way out is still there.
    let live = |pod: &PodView| pod.deleting || !matches!(pod.phase, Phase::Succeeded | Phase::Failed);
    let role_of = |name: &str| q.job.info.slot_of(&q.job.key.name, name).map(|id| id.role);
    let of_batch_job = |uid: &Uid| q.observed.batch_jobs.iter().find(|job| job.uid == *uid);
    // Of a batch Job that is gone already, pods may be left for a moment.
    let batch_role = q
        .job
        .info
        .roles
        .iter()
        .find(|r| r.workload == Workload::BatchJob)
        .map(|r| r.role);
    let direct = q.observed.pods.iter().map(|pod| (role_of(&pod.name), pod));
    let carried = q.observed.batch_pods.iter().map(|(uid, pod)| {
        let role = of_batch_job(uid).map_or(batch_role, |job| role_of(&job.name));
        (role, pod)
    });
    let living: Vec<Role> = direct
        .chain(carried)
        .filter_map(|(role, pod)| role.filter(|_| live(pod)))
        .collect();
    for replica in &q.job.replicas {
        let live = living.iter().filter(|role| **role == replica.role);
        if let Some(counts) = status.replica_statuses.get_mut(replica.role.0) {
            counts.active = i32::try_from(live.count()).unwrap_or(i32::MAX);
            attempts::forget_success(counts);
        }
    }
    status
}

fn deletes(q: &Question<'_>) -> Vec<Write> {
    let children = q.observed.children.iter().filter(|child| !child.deleting);
    deletes::carriers(q)
        .chain(children.map(|child| deletes::delete_child(child)))
        .collect()
}
