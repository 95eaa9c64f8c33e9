//! Step that creates missing objects and reports what the job waits for.

use crate::api::{ConditionStatus, ConditionType};
use crate::build;
use crate::conditions;
use crate::kind::{Progress, Workload};
use crate::names::ReplicaId;
use crate::objects::{Child, ChildKind};
use crate::plan::{Event, Plan, Write};
use crate::replica_states::{ReplicaPhase, ReplicaState};

use super::facts::context::{Context, after, done, finish_plan, warning};
use super::facts::draft::draft_status;
use super::facts::{attempts, deletes, gang, kept, missing, success, waits};
use super::release_gang;

pub(super) fn plan(ctx: &Context<'_>) -> Plan {
    let mut status = draft_status(ctx);
    let missing::Missing {
        replicas,
        waiting,
        held_until,
        waits_for,
    } = missing::missing_replicas(ctx);
    let gang = gang::plan(ctx, &replicas, &waiting);
    if !gang.queued {
        let now = || conditions::whole_seconds(ctx.now());
        status.start_time.get_or_insert_with(now);
    }
    if success::progress(ctx) == Progress::Running {
        let (reason, message) = (
            format!("{}Running", ctx.job.info.kind),
            format!("{} is running.", ctx.result_name()),
        );
        let running = ConditionType::Running;
        conditions::set_condition(
            &mut status,
            ctx.now(),
            running,
            ConditionStatus::True,
            &reason,
            &message,
        );
    }
    let extras = ctx.framework.extras(ctx.job, ctx.states, ctx.settings);
    let mut writes: Vec<Write> = extras.into_iter().map(Write::Ensure).collect();
    writes.extend(services(ctx));
    writes.extend(kept::writes(ctx, ChildKind::Autoscaler, autoscaler(ctx)));
    writes.extend(outdated_pods(ctx));
    writes.extend(gang.writes.iter().cloned());
    let pods = if gang.hold.is_none() {
        pods(ctx, &replicas)
    } else {
        Vec::new()
    };
    let mut events = if ctx.job.stored.conditions.is_empty() {
        first_words(ctx)
    } else {
        Vec::new()
    };
    events.extend(creation_event(&pods));
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
    events.extend(waits::trouble(ctx, &mut status, creating, &gang, waits));
    release_gang::record(ctx, &mut status);
    let next = release_gang::next(ctx, &status);
    let mut plan = finish_plan(&ctx.job.stored, status, writes, events);
    // The dialect of the job must be stored before any object is created from it.
    if ctx.job.info.stamp.is_some() && ctx.job.stored.dialect.is_none() {
        plan.intent.clone_from(&plan.status);
    }
    let deadline = ctx
        .deadline()
        .or_else(|| Some(after(ctx.now(), ctx.job.policy.active_deadline?)));
    plan.requeue_at = [deadline, held_until, next].into_iter().flatten().min();
    plan
}

fn autoscaler(ctx: &Context<'_>) -> Option<Child> {
    let autoscaler = ctx.framework.autoscaler(ctx.job)?;
    Some(Child::Autoscaler(Box::new(autoscaler)))
}

fn services(ctx: &Context<'_>) -> Vec<Write> {
    let wanted = ctx.framework.services(ctx.job, ctx.settings);
    let is = |name: &str, service: &k8s_openapi::api::core::v1::Service| {
        service.metadata.name.as_deref() == Some(name)
    };
    let surplus = ctx
        .observed
        .standing(ChildKind::Service)
        .filter(|s| !wanted.iter().any(|w| is(&s.name, w)));
    let mut writes: Vec<Write> = surplus.map(deletes::delete_child).collect();
    let there = |service: &k8s_openapi::api::core::v1::Service| {
        let mut services = ctx
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

/// Deletes of pods of earlier attempts that still exist although their next attempt is already stored.
fn outdated_pods(ctx: &Context<'_>) -> impl Iterator<Item = Write> {
    let previous = ctx
        .states
        .replicas
        .iter()
        .filter(|s| s.phase == ReplicaPhase::Outdated);
    let excess = ctx
        .states
        .excess
        .iter()
        .filter_map(|(_, pod)| deletes::delete(&ctx.unreachable, pod));
    let carried = deletes::carried(&ctx.unreachable, ctx.observed);
    previous
        .filter_map(|replica| deletes::delete_replica(ctx, replica))
        .chain(excess)
        .chain(carried)
}

/// Maximum number of pods that one reconcile creates, so that not all pods of a very large job are in memory at once.
/// The watch reports the created pods, which triggers the next reconcile.
const MOST_AT_ONCE: usize = 1000;

fn pods(ctx: &Context<'_>, replicas: &[&ReplicaState]) -> Vec<Write> {
    let leader = ctx.framework.leader(&ctx.job.replicas, ctx.job);
    let members = gang::members(ctx);
    let create = |replica: &&ReplicaState| create(ctx, replica, leader, members.as_ref());
    replicas.iter().take(MOST_AT_ONCE).map(create).collect()
}

fn create(
    ctx: &Context<'_>,
    replica: &ReplicaState,
    leader: Option<ReplicaId>,
    members: Option<&gang::Members>,
) -> Write {
    let wiring = ctx
        .framework
        .wiring(&replica.replica, &ctx.job.replicas, ctx.job, ctx.settings);
    let mut pod = build::pod::pod(
        ctx.job,
        &replica.replica,
        replica.attempt,
        leader,
        wiring,
        ctx.settings,
    );
    gang::mark(ctx, members, replica.role(), &mut pod);
    let (id, attempt) = (replica.id(), replica.attempt);
    match replica.replica.workload {
        Workload::Pod => Write::CreatePod {
            replica: id,
            attempt,
            pod: Box::new(pod),
        },
        Workload::BatchJob => {
            let used = attempts::used(ctx);
            Write::CreateBatchJob {
                replica: id,
                attempt,
                job: Box::new(build::batch_job::batch_job(ctx.job, pod, used)),
            }
        }
    }
}

fn creation_event(pods: &[Write]) -> Option<Event> {
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

/// Events that inform the user once, when the job starts.
pub(super) fn first_words(ctx: &Context<'_>) -> Vec<Event> {
    let overwritten = ctx.job.roles.iter().any(|r| {
        r.template
            .spec
            .as_ref()
            .and_then(|s| s.restart_policy.as_deref())
            .is_some_and(|policy| !policy.is_empty())
    });
    let text = "Restart policy in pod template will be overwritten by restart policy in replica spec";
    let mut words = gang::first_words(ctx);
    words.extend(overwritten.then(|| warning("SetPodTemplateRestartPolicy", text)));
    words
}
