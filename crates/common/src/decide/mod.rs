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

mod facts;
mod finished;
mod give_back;
mod invalid;
mod leader;
mod outcome;
mod restart;
mod start;
mod suspend;
mod whole;

use k8s_openapi::api::core::v1::EnvVar;

use crate::api::JobStatus;
use crate::framework::Framework;
use crate::job::ResolvedJob;
use crate::nodes::Losses;
use crate::observe::Observed;
use crate::plan::Plan;
use crate::problems::Problems;
use crate::settings::Settings;
use crate::{conditions, resolve, tally};

use facts::context::{Question, has_begun};

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
