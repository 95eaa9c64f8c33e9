//! Suspension: no pods until somebody (a user, a queue) says so. Attempts and restart counts survive it.
//!
//! Invariant: pods are deleted only after Suspended=True is stored; `active` reads 0 only when they are gone.

use crate::api::{ConditionStatus, ConditionType, JobStatus};
use crate::framework::Workload;
use crate::names::{Role, Uid};
use crate::observe::{Phase, PodView};
use crate::plan::{Plan, Write};
use crate::status;

use super::finished::{delete_batch_job, delete_child};
use super::{Question, answer, nodes, normal};

pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    let suspended = status::is_true(&q.job.stored, ConditionType::Suspended);
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
    retire_attempts(q, &mut status);
    let now = q.now();
    if status::is_true(&status, ConditionType::Running) {
        let running = ConditionType::Running;
        status::set_condition(
            &mut status,
            now,
            running,
            ConditionStatus::False,
            &reason,
            &message,
        );
    }
    status.conditions.retain(|c| c.type_ != ConditionType::Restarting);
    status::set_condition(
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
    answer(&q.job.stored, without_pods(q), deletes(q), Vec::new())
}

fn resume(q: &Question<'_>) -> Plan {
    let kind = q.job.info.kind;
    let (reason, message) = (format!("{kind}Resumed"), format!("{} is resumed.", q.title()));
    let mut status = q.begin();
    let now = q.now();
    status::set_condition(
        &mut status,
        now,
        ConditionType::Suspended,
        ConditionStatus::False,
        &reason,
        &message,
    );
    status.start_time = Some(status::whole_seconds(now));
    answer(&q.job.stored, status, Vec::new(), vec![normal(reason, message)])
}

/// Counts of a suspended job: what still lives counts as active, what was done belongs to the time before.
fn without_pods(q: &Question<'_>) -> JobStatus {
    let mut status = q.begin();
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
            counts.succeeded = 0;
            counts.succeeded_indices = None;
        }
    }
    status
}

/// All pods there are become pods of the past; their container restarts stay counted.
fn retire_attempts(q: &Question<'_>, status: &mut JobStatus) {
    // Pods may be there although no status was ever stored: the operator may have died in between.
    let nothing =
        q.observed.pods.is_empty() && q.observed.batch_jobs.is_empty() && q.observed.vanished.is_empty();
    if status.start_time.is_none() && nothing {
        return;
    }
    let stored = status.slots.values().map(|slot| slot.attempt);
    let pods = q.observed.pods.iter().map(|pod| pod.attempt.0);
    let seen = pods.chain(q.observed.batch_jobs.iter().map(|job| job.attempt.0));
    let missed = q.observed.vanished.iter().map(|pod| pod.attempt.0);
    let highest = stored
        .chain(seen)
        .chain(missed)
        .max()
        .unwrap_or(0)
        .max(status.attempt);
    status.attempt = highest.saturating_add(1);
    status.slots.clear();
    if let Some(counts) = &mut status.restart_counts {
        counts.failures = counts.failures.saturating_add(counts.in_place);
        counts.in_place = 0;
    }
}

fn deletes(q: &Question<'_>) -> Vec<Write> {
    let pods = q
        .observed
        .pods
        .iter()
        .filter_map(|pod| nodes::delete(&q.losses, pod));
    let children = q
        .observed
        .children
        .iter()
        .filter(|child| !child.deleting)
        .map(|child| delete_child(child));
    let jobs = q
        .observed
        .batch_jobs
        .iter()
        .filter(|job| !job.deleting)
        .map(|job| delete_batch_job(job));
    let carried = nodes::carried(&q.losses, q.observed);
    pods.chain(children).chain(jobs).chain(carried).collect()
}
