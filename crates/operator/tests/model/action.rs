//! What can happen in a state.

use common::observe::Phase;
use common::testing::World;
use common::{PodView, conditions};

use super::state::{State, Watch};
use super::{Case, Fault};

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// A watch tells what is so now.
    Deliver(Watch),
    /// The operator decides.
    Pass,
    /// It sends the next request.
    Send,
    /// It leaves its status to the next pass: others wait for their pods.
    KeepQuiet,
    /// The time comes that it asked to be woken at.
    Wake,
    /// The pod of a carrier begins to run.
    Run(String),
    /// It is done.
    Finish(String),
    /// A terminating pod goes.
    Reap(String),
    /// Something goes wrong.
    Fault(Fault, String),
    /// The operator dies, and another begins by listing everything.
    Crash,
}

impl Action {
    /// Whether it happens by itself sooner or later.
    pub(crate) fn is_progress(&self) -> bool {
        !matches!(self, Self::Fault(..) | Self::Crash)
    }
}

/// All that can happen.
pub(crate) fn actions(state: &State, case: &Case) -> Vec<Action> {
    let mut all = progress(state, case);
    if state.faults > 0 && state.flight.is_some() {
        all.push(Action::Crash);
    }
    if state.faults > 0 && state.world.job.is_some() {
        faults(state, case, &mut all);
    }
    all
}

/// What happens by itself sooner or later.
fn progress(state: &State, case: &Case) -> Vec<Action> {
    let mut all = Vec::new();
    let due = |watch: &Watch| state.behind.contains(watch) || state.lags(*watch);
    all.extend(Watch::ALL.into_iter().filter(due).map(Action::Deliver));
    if let Some(flight) = &state.flight {
        all.push(Action::Send);
        let made_pods = || {
            flight
                .plan
                .writes
                .iter()
                .any(|w| w.class() == common::plan::WriteClass::Pods)
        };
        let last = flight.next + 1 == flight.requests.len();
        if last
            && flight.requests[flight.next] == super::state::Request::Status
            && flight.refused.is_none()
            && made_pods()
        {
            all.push(Action::KeepQuiet);
        }
    } else if let Some((flight, plan)) = state.pass(case.framework) {
        if flight.is_some() {
            all.push(Action::Pass);
        } else if all.is_empty() && plan.requeue_at.is_some_and(|at| at > state.world.now) {
            all.push(Action::Wake);
        }
    }
    of_pods(state, case, &mut all);
    all
}

fn of_pods(state: &State, case: &Case, all: &mut Vec<Action>) {
    let world = &state.world;
    let deciding = if world.job.is_some() {
        world.deciding(case.framework)
    } else {
        Vec::new()
    };
    for (name, pod) in state.carriers() {
        if pod.deleting {
            continue;
        }
        match pod.phase {
            Phase::Pending => all.push(Action::Run(name)),
            Phase::Running if deciding.contains(&name) => all.push(Action::Finish(name)),
            Phase::Running | Phase::Succeeded | Phase::Failed | Phase::Unknown => {}
        }
    }
    let carried = world.batch_pods.iter().map(|(_, pod)| pod);
    let going = world.pods.iter().chain(carried).filter(|pod| pod.deleting);
    all.extend(going.map(|pod| Action::Reap(pod.uid.as_str().to_owned())));
}

fn faults(state: &State, case: &Case, all: &mut Vec<Action>) {
    let world = &state.world;
    let live = |pod: &PodView| !pod.deleting && !pod.has_ended();
    for fault in case.faults {
        match fault {
            Fault::Fail | Fault::Delete | Fault::Vanish => {
                let pods = state
                    .carriers()
                    .into_iter()
                    .filter(|(_, pod)| live(pod) || *fault == Fault::Vanish);
                all.extend(pods.map(|(name, _)| Action::Fault(*fault, name)));
            }
            Fault::Suspend | Fault::Scale | Fault::Later if !conditions::is_finished(&world.status()) => {
                all.push(Action::Fault(*fault, String::new()));
            }
            Fault::Suspend | Fault::Scale | Fault::Later => {}
        }
    }
}

/// Whether users want the job to be suspended.
pub(crate) fn wants_suspension(world: &World) -> bool {
    let job = world.job.as_ref();
    job.is_some_and(|job| job.spec["runPolicy"]["suspend"] == true)
}
