//! Order of the decision steps. Each step is a pure function in a file of its own. It returns a [`Plan`], or `None` to
//! pass on to the next step.
//!
//! 1. Not this operator's job, or being deleted:  no plan (here)
//! 2. The job has ended:                          cleanup
//! 3. The spec is invalid:                        invalid (suspend, if that is asked for)
//! 4. The job is to have no pods:                 suspend
//! 5. The leader would be scaled away:            leader
//! 6. The job has just succeeded or failed:       completion (success, deadline, failures, limit)
//! 7. Pods must be replaced:                      restart (each by itself), restart_all (all together)
//! 8. A part of the gang waits for too long:      release_gang
//! 9. Replicas have no pod:                       start; facts/gang decides if they may be created yet
//!
//! Pods on unreachable nodes have no step of their own: `unreachable` determines which of them are presumed dead, and
//! `facts/deletes` how they are deleted.

mod cleanup;
mod completion;
mod facts;
mod invalid;
mod leader;
mod release_gang;
mod restart;
mod restart_all;
mod start;
mod suspend;

use k8s_openapi::api::core::v1::EnvVar;

use crate::api::JobStatus;
use crate::framework::Framework;
use crate::job::ResolvedJob;
use crate::observe::Observed;
use crate::plan::Plan;
use crate::problems::Problems;
use crate::settings::Settings;
use crate::unreachable::UnreachableNodes;
use crate::{conditions, replica_states, resolve};

use facts::context::{Context, has_begun};

/// Plan for one job. Total: there is a plan for every input.
#[must_use]
pub fn plan(framework: &dyn Framework, observed: &Observed, settings: &Settings) -> Plan {
    let raw = &observed.job;
    let stored = resolve::stored_status(raw);
    let framework = resolve::dialect(framework, raw, &stored);
    if raw.deleting || !resolve::is_ours(framework.kind(), raw) {
        return Plan::default();
    }
    let unreachable = UnreachableNodes::of(observed, settings);
    let plan = decide(framework, observed, settings, &stored, unreachable);
    // The plan is made again when the next pod is presumed dead.
    Plan {
        requeue_at: plan
            .requeue_at
            .into_iter()
            .chain(unreachable.next(observed))
            .min(),
        ..plan
    }
}

/// Decision steps, in their order.
fn decide(
    framework: &dyn Framework,
    observed: &Observed,
    settings: &Settings,
    stored: &JobStatus,
    unreachable: UnreachableNodes<'_>,
) -> Plan {
    let raw = &observed.job;
    if conditions::is_finished(stored) {
        return cleanup::plan(framework.kind(), observed, stored, &unreachable);
    }
    let (job, mut problems) = resolve::outline(framework, raw);
    if problems.0.is_empty() {
        check_variables(framework, &job, settings, &mut problems);
    }
    let states = replica_states::replica_states(observed, &job, &unreachable);
    let ctx = Context {
        framework,
        observed,
        settings,
        job: &job,
        states: &states,
        unreachable,
    };
    if !problems.0.is_empty() {
        // A job that asks for no pods gets none, whatever else is wrong with it: queues wait for that.
        let stop = job.policy.suspend && has_begun(stored);
        let stopped = stop.then(|| suspend::plan(&ctx)).flatten();
        return stopped.unwrap_or_else(|| invalid::plan(framework.kind(), observed, stored, &problems));
    }
    suspend::plan(&ctx)
        .or_else(|| leader::plan(&ctx))
        .or_else(|| completion::plan(&ctx))
        .or_else(|| restart::plan(&ctx))
        .or_else(|| release_gang::plan(&ctx))
        .unwrap_or_else(|| start::plan(&ctx))
}

/// Linux does not start a program with a longer variable. The length includes its name and the terminating zero.
const LONGEST_VARIABLE: usize = 128 * 1024;
/// Jobs with fewer pods cannot exceed the limit: a list has less than 400 bytes per pod.
const FEW_PODS: u32 = 300;

/// Reports variables that are too long. Lists of all pods grow with the job.
fn check_variables(
    framework: &dyn Framework,
    job: &ResolvedJob,
    settings: &Settings,
    problems: &mut Problems,
) {
    let Some(replica) = job
        .replicas
        .all()
        .last()
        .filter(|_| job.replicas.len() >= FEW_PODS)
    else {
        return;
    };
    let wiring = framework.wiring(replica, &job.replicas, job, settings);
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
