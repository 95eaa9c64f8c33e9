//! Step for suspension: no pods until a user or a queue resumes the job. Attempts and restart counts are kept.
//!
//! Invariant: pods are deleted only after Suspended=True is stored, and `active` is 0 only when they are gone.

use crate::api::{ConditionStatus, ConditionType, JobStatus};
use crate::conditions;
use crate::gang::Gang;
use crate::kind::Workload;
use crate::names::{Role, Uid};
use crate::observe::{Phase, PodView};
use crate::plan::{Plan, Write};

use super::facts::context::{Context, created_message, finish_plan, has_begun, normal};
use super::facts::draft::draft_status;
use super::facts::{attempts, deletes, waits};
use super::start;

pub(super) fn plan(ctx: &Context<'_>) -> Option<Plan> {
    let suspended = conditions::is_true(&ctx.job.stored, ConditionType::Suspended);
    match (ctx.job.policy.suspend, suspended) {
        (true, false) => Some(suspend(ctx)),
        (true, true) => Some(stay_suspended(ctx)),
        (false, true) => Some(resume(ctx)),
        (false, false) => None,
    }
}

fn suspend(ctx: &Context<'_>) -> Plan {
    let kind = ctx.job.info.kind;
    let (reason, message) = (
        format!("{kind}Suspended"),
        format!("{} is suspended.", ctx.name()),
    );
    let mut status = without_pods(ctx);
    attempts::next_attempt_of_all(ctx, &mut status);
    status.gang = None;
    let now = ctx.now();
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
    let plan = finish_plan(
        &ctx.job.stored,
        status.clone(),
        deletes(ctx),
        vec![normal(reason, message)],
    );
    Plan {
        intent: Some(status),
        ..plan
    }
}

fn stay_suspended(ctx: &Context<'_>) -> Plan {
    let (mut status, writes) = (without_pods(ctx), deletes(ctx));
    // It shows only after these writes if a deletion is still refused.
    if !writes.is_empty() {
        status.waiting_for.clone_from(&ctx.job.stored.waiting_for);
    }
    // A queue waits for the deletions, so a refused one is reported.
    let refusal = ctx.observed.refusals.iter().find(|refusal| refusal.deletion);
    let told = refusal.and_then(|refusal| waits::refused(ctx, &mut status, refusal));
    // Pods that were not observed when the suspension was stored: their attempt must not be used again.
    let pods = ctx.observed.pods.iter().map(|pod| pod.attempt);
    let mut there = pods.chain(ctx.observed.batch_jobs.iter().map(|job| job.attempt));
    let unseen = there.any(|attempt| attempt.0 >= status.attempt);
    if unseen {
        attempts::next_attempt_of_all(ctx, &mut status);
    }
    Plan {
        intent: unseen.then(|| status.clone()),
        ..finish_plan(&ctx.job.stored, status, writes, told.into_iter().collect())
    }
}

fn resume(ctx: &Context<'_>) -> Plan {
    let kind = ctx.job.info.kind;
    let (reason, message) = (format!("{kind}Resumed"), format!("{} is resumed.", ctx.name()));
    let mut status = draft_status(ctx);
    let now = ctx.now();
    conditions::set_condition(
        &mut status,
        now,
        ConditionType::Suspended,
        ConditionStatus::False,
        &reason,
        &message,
    );
    // If a queue admits gangs, the start time of the job is the time of admission.
    let queued = ctx.settings.gang == Gang::Volcano;
    status.start_time = (!queued).then(|| conditions::whole_seconds(now));
    let mut events = vec![normal(reason, message)];
    if !has_begun(&ctx.job.stored) {
        events.extend(start::first_words(ctx));
    }
    finish_plan(&ctx.job.stored, status, Vec::new(), events)
}

/// Status of a suspended job. Pods that still exist count as active. Successes are dropped: they belong to the time
/// before the suspension.
fn without_pods(ctx: &Context<'_>) -> JobStatus {
    let mut status = draft_status(ctx);
    // The job no longer waits for anything it waited for before.
    let created = created_message(ctx.job.info, &ctx.job.key);
    conditions::refresh_message(&mut status, ctx.now(), ConditionType::Created, &created);
    // A pod that has ended but is still being deleted still exists.
    let live = |pod: &PodView| pod.deleting || !matches!(pod.phase, Phase::Succeeded | Phase::Failed);
    let role_of = |name: &str| ctx.job.info.replica_of(&ctx.job.key.name, name).map(|id| id.role);
    let of_batch_job = |uid: &Uid| ctx.observed.batch_jobs.iter().find(|job| job.uid == *uid);
    // Pods of a deleted batch Job may exist for another moment.
    let batch_role = ctx
        .job
        .info
        .roles
        .iter()
        .find(|r| r.workload == Workload::BatchJob)
        .map(|r| r.role);
    let direct = ctx.observed.pods.iter().map(|pod| (role_of(&pod.name), pod));
    let carried = ctx.observed.batch_pods.iter().map(|(uid, pod)| {
        let role = of_batch_job(uid).map_or(batch_role, |job| role_of(&job.name));
        (role, pod)
    });
    let living: Vec<Role> = direct
        .chain(carried)
        .filter_map(|(role, pod)| role.filter(|_| live(pod)))
        .collect();
    for replica in &ctx.job.roles {
        let live = living.iter().filter(|role| **role == replica.role);
        if let Some(counts) = status.replica_statuses.get_mut(replica.role.0) {
            counts.active = i32::try_from(live.count()).unwrap_or(i32::MAX);
            attempts::forget_success(counts);
        }
    }
    status
}

fn deletes(ctx: &Context<'_>) -> Vec<Write> {
    let children = ctx.observed.children.iter().filter(|child| !child.deleting);
    deletes::carriers(ctx)
        .chain(children.map(|child| deletes::delete_child(child)))
        .collect()
}
