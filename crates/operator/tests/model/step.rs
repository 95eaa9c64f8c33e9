//! From one state to the next, and what must never happen on the way.

use common::conditions;
use std::collections::BTreeSet;
use std::sync::Arc;

use common::Write;
use common::api::{ConditionType, JobStatus};
use common::observe::{Phase, Refusal, RefusalCause, Vanished};
use common::testing::Answer;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::action::{Action, wants_suspension};
use super::state::{Request, State, View, Watch};
use super::{Case, Fault};
use crate::rules::{check_intent, check_status};

/// The state after something has happened.
///
/// # Panics
/// If that must never happen.
pub(crate) fn step(state: &State, case: &Case, action: &Action) -> State {
    let mut next = state.clone();
    match action {
        Action::Deliver(watch) => next.deliver(*watch),
        Action::Pass => next.flight = next.pass(case.framework).and_then(|(flight, _)| flight),
        Action::Send => next.send(),
        Action::KeepQuiet => next.flight = None,
        Action::Wake => {
            let (_, plan) = next.pass(case.framework).unwrap();
            next.world.now = plan.requeue_at.unwrap();
        }
        Action::Run(name) => next.world.run(&[name]),
        Action::Finish(name) => next.world.end(name, container(case), 0, "Completed", None),
        Action::Reap(uid) => next.world.reap_pod(&common::Uid::new(uid)),
        Action::Fault(fault, name) => next.fault(case, *fault, name),
        Action::Crash => next.crash(),
    }
    next.world.vanished.clear();
    next.world.created.clear();
    next.world.deleted.clear();
    next
}

fn container(case: &Case) -> &'static str {
    case.framework.kind().container.unwrap_or("main")
}

impl State {
    fn deliver(&mut self, watch: Watch) {
        self.behind.remove(&watch);
        let world = &self.world;
        match watch {
            Watch::Job => self.view.job = world.job.clone().map(Arc::new),
            Watch::Pods => {
                let there: BTreeSet<_> = world.pods.iter().map(|pod| &pod.uid).collect();
                for pod in self.view.pods.iter().filter(|pod| !there.contains(&pod.uid)) {
                    let vanished = Vanished {
                        name: pod.name.clone(),
                        attempt: pod.attempt,
                        restarts: pod.restarts,
                        succeeded: pod.phase == Phase::Succeeded && !pod.deleting,
                    };
                    miss(&mut self.vanished, &mut self.own_deletes, &pod.uid, vanished);
                }
                let carried = world.batch_pods.iter().cloned();
                self.view.batch_pods = carried.map(|(owner, pod)| (owner, Arc::new(pod))).collect();
                self.view.pods = world.pods.iter().cloned().map(Arc::new).collect();
            }
            Watch::BatchJobs => {
                let there: BTreeSet<_> = world.batch_jobs.iter().map(|job| &job.uid).collect();
                for job in self
                    .view
                    .batch_jobs
                    .iter()
                    .filter(|job| !there.contains(&job.uid))
                {
                    let vanished = Vanished {
                        name: job.name.clone(),
                        attempt: job.attempt,
                        restarts: job.failed,
                        succeeded: job.end.as_ref().is_some_and(|end| end.succeeded),
                    };
                    miss(&mut self.vanished, &mut self.own_deletes, &job.uid, vanished);
                }
                self.view.batch_jobs = world.batch_jobs.iter().cloned().map(Arc::new).collect();
            }
        }
    }

    fn send(&mut self) {
        let Some(mut flight) = self.flight.take() else {
            return;
        };
        let plan = Arc::clone(&flight.plan);
        let request = flight.requests[flight.next].clone();
        flight.next += 1;
        match &request {
            Request::Intent | Request::Status => {
                let status = if request == Request::Intent {
                    &plan.intent
                } else {
                    &plan.status
                };
                let status = status.as_ref().unwrap();
                let stored = self.world.job.as_ref().map(|job| job.resource_version.clone());
                if stored.as_ref() != Some(&flight.version) {
                    // It has changed meanwhile: that is on its way, and decides.
                    self.behind.insert(Watch::Job);
                    return;
                }
                self.store(status);
                flight
                    .version
                    .clone_from(&self.world.job.as_ref().unwrap().resource_version);
                self.vanished.retain(|vanished| !flight.shown.contains(vanished));
            }
            Request::Write(n) => {
                let write = &plan.writes[*n];
                if let Some(refusal) = self.write(write) {
                    let status = flight.requests.iter().position(|r| *r == Request::Status);
                    flight.next = status.unwrap_or(flight.requests.len());
                    flight.refused = Some(refusal);
                }
            }
        }
        let writes_left = flight.requests[flight.next..]
            .iter()
            .any(|r| matches!(r, Request::Write(_)));
        if !writes_left && request != Request::Status {
            self.refusals = flight.refused.clone().into_iter().collect();
            // The plan was made to tell of refusals that are over: the next one tells.
            if flight.tells && flight.refused.is_none() && plan.intent.is_none() {
                flight.next = flight.requests.len();
            }
        }
        self.flight = (flight.next < flight.requests.len()).then_some(flight);
    }

    fn store(&mut self, next: &JobStatus) {
        let job = self.world.job.as_ref().unwrap();
        let limit = job
            .spec
            .pointer("/runPolicy/backoffLimit")
            .and_then(Value::as_i64);
        check_status(
            &self.world.status(),
            next,
            limit,
            self.world.settings.count_disruptions,
        );
        self.world.store_status(next);
        self.behind.insert(Watch::Job);
    }

    fn write(&mut self, write: &Write) -> Option<Refusal> {
        self.check(write);
        let answer = self.world.request(write);
        let (watch, object) = match write {
            Write::CreatePod { pod, attempt, .. } => {
                let name = pod.metadata.name.clone().unwrap();
                self.remember(answer, &name, attempt.0);
                (Watch::Pods, name)
            }
            Write::CreateBatchJob { job, attempt, .. } => {
                let name = job.metadata.name.clone().unwrap();
                self.remember(answer, &name, attempt.0);
                (Watch::BatchJobs, name)
            }
            Write::DeletePod { uid, name, .. } => {
                self.own_deletes.insert(uid.clone());
                (Watch::Pods, name.clone())
            }
            Write::DeleteBatchJob { uid, name } => {
                self.own_deletes.insert(uid.clone());
                (Watch::BatchJobs, name.clone())
            }
            Write::DeleteJob { .. } => (Watch::Job, "j".to_owned()),
            Write::CreateChild(_)
            | Write::ChangeChild { .. }
            | Write::DeleteChild { .. }
            | Write::Ensure(_) => return None,
        };
        // An answer of 404 or 409 to a delete says nothing that the watch would not.
        if answer != Answer::Already
            || !matches!(write, Write::DeletePod { .. } | Write::DeleteBatchJob { .. })
        {
            self.behind.insert(watch);
        }
        (answer == Answer::Taken).then(|| Refusal {
            object,
            cause: RefusalCause::Predecessor,
            message: "it has not gone yet".to_owned(),
            deletion: false,
        })
    }

    /// What holds of a request that is sent now.
    fn check(&self, write: &Write) {
        let Some(job) = &self.world.job else { return };
        let stored = self.world.status();
        match write {
            Write::CreatePod { .. } | Write::CreateBatchJob { .. } => {
                assert!(!conditions::is_finished(&stored), "a finished job makes no pods");
                let suspended = conditions::is_true(&stored, ConditionType::Suspended);
                assert!(!suspended, "a suspended job makes no pods");
            }
            Write::DeletePod { name, uid, .. } => {
                if let Some(pod) = self.world.pods.iter().find(|pod| pod.uid == *uid) {
                    check_intent(job, &stored, name, pod.attempt.0);
                }
            }
            Write::DeleteBatchJob { name, uid } => {
                if let Some(made) = self.world.batch_jobs.iter().find(|made| made.uid == *uid) {
                    check_intent(job, &stored, name, made.attempt.0);
                }
            }
            Write::Ensure(_)
            | Write::CreateChild(_)
            | Write::ChangeChild { .. }
            | Write::DeleteChild { .. }
            | Write::DeleteJob { .. } => {}
        }
    }

    /// No incarnation is made twice, and none after a younger one.
    fn remember(&mut self, answer: Answer, name: &str, attempt: u32) {
        if answer == Answer::Done {
            let before = self.made.insert(name.to_owned(), attempt);
            assert!(
                before.is_none_or(|before| before < attempt),
                "{name} is made as {attempt} after {before:?}"
            );
        }
    }

    fn fault(&mut self, case: &Case, fault: Fault, name: &str) {
        self.faults -= 1;
        match fault {
            Fault::Fail => self.world.end(name, container(case), 137, "Error", None),
            // What others take away may be made again: nobody may have seen that it was there.
            Fault::Delete => {
                self.world.delete(name);
                self.made.remove(name);
            }
            Fault::Vanish => {
                self.world.vanish(name);
                self.made.remove(name);
            }
            Fault::Suspend => {
                let wanted = !wants_suspension(&self.world);
                self.edit(|spec| spec["runPolicy"]["suspend"] = json!(wanted));
            }
            Fault::Scale => {
                let role = case.scaled();
                let field = case.framework.kind().replicas_field;
                self.edit(|spec| {
                    let replicas = &mut spec[field][role.role.0]["replicas"];
                    *replicas = json!(if *replicas == 1 { 2 } else { 1 });
                });
            }
            Fault::Later => self.world.now += SignedDuration::from_secs(200),
        }
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        self.edits += 1;
        let version = format!("{}", 1_000_000 + self.edits);
        if let Some(job) = &mut self.world.job {
            edit(&mut job.spec);
            job.resource_version = version;
        }
    }

    fn crash(&mut self) {
        self.faults -= 1;
        self.flight = None;
        self.vanished.clear();
        self.own_deletes.clear();
        self.refusals.clear();
        self.behind.clear();
        self.view = View::default();
        for watch in Watch::ALL {
            self.deliver(watch);
        }
    }
}

/// Something is gone; if that was not our doing, the next plan must know.
fn miss(vanished: &mut Vec<Vanished>, own: &mut BTreeSet<common::Uid>, uid: &common::Uid, gone: Vanished) {
    if own.remove(uid) {
        return;
    }
    vanished.retain(|v| v.name != gone.name);
    vanished.push(gone);
}
