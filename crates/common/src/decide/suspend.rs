//! Suspension: no pods until somebody (a user, a queue) says so. Attempts and restart counts survive it.
//!
//! Invariant: pods are deleted only after Suspended=True is stored; `active` reads 0 only when they are gone.

use crate::api::{ConditionStatus, ConditionType, JobStatus};
use crate::observe::Phase;
use crate::plan::{Plan, Write};
use crate::status;

use super::finished::{delete_pod, delete_service};
use super::{Question, answer, normal};

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
    let (reason, message) = (
        format!("{kind}Suspended"),
        format!("{kind} {} is suspended.", q.job.key.name),
    );
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
    let (reason, message) = (
        format!("{kind}Resumed"),
        format!("{kind} {} is resumed.", q.job.key.name),
    );
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
    for replica in &q.job.replicas {
        let role = replica.role.lower();
        let live = q
            .observed
            .pods
            .iter()
            .filter(|pod| *pod.role == *role && !matches!(pod.phase, Phase::Succeeded | Phase::Failed));
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
    if status.start_time.is_none() && q.observed.pods.is_empty() && q.observed.vanished.is_empty() {
        return;
    }
    let stored = status.slots.values().map(|slot| slot.attempt);
    let seen = q.observed.pods.iter().map(|pod| pod.attempt.0);
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
        .filter(|pod| !pod.deleting)
        .map(|pod| delete_pod(&pod.name, &pod.uid));
    let services = q
        .observed
        .services
        .iter()
        .filter(|s| !s.deleting)
        .map(|s| delete_service(&s.name, &s.uid));
    pods.chain(services).collect()
}
