//! Every state that a small job can come to, of every kind: the operator sees each kind of object late, by itself, as its
//! watches do; it dies between any two requests; pods fail, are deleted, vanish; users suspend, resume and scale.
//!
//! Checked in each state: what must never happen (see [`step`]). Checked of the whole: leaving out faults, nothing goes
//! round in circles, and wherever nothing can happen any more the job is at its end. The two together mean that from any
//! state, whatever the order of what happens, a job that is left alone comes to its end.
//!
//! What it leaves out: requests of one class go out one after the other; time passes only where a plan asks for it.
//! `TRAINYARD_FAULTS=2` goes further (a death is one), `TRAINYARD_CASE='PyTorchJob suspension'` looks at one case.

mod action;
mod explore;
mod key;
mod state;
mod step;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::Framework;
use common::testing::{World, manifest, meanings, share};
use serde_json::{Value, json};

use explore::{Explored, explore};
use state::State;

/// What may go wrong in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A pod fails in a way that may be tried again.
    Fail,
    /// Somebody deletes a pod; it takes its time.
    Delete,
    /// A pod is gone at once.
    Vanish,
    /// The job is suspended, or resumed.
    Suspend,
    /// There are to be two workers, or one.
    Scale,
    /// Long nothing happens.
    Later,
}

/// A job, and what may befall it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) framework: &'static dyn Framework,
    pub(crate) policy: Value,
    pub(crate) faults: &'static [Fault],
    /// How many faults there are at most; that the operator dies is one.
    pub(crate) most: u8,
}

impl Case {
    /// The role that is scaled.
    pub(crate) fn scaled(&self) -> &'static common::RoleInfo {
        let info = self.framework.kind();
        let worker = info.roles.iter().find(|role| role.role.0 == "Worker");
        worker.unwrap_or_else(|| info.roles.last().unwrap())
    }

    /// The job: one pod of the role that comes first, one worker, and what else there must be.
    pub(crate) fn manifest(&self) -> Value {
        // The policy under which a failed pod is begun anew, of those that the kind has.
        let all = ["ExitCode", "OnFailure", "Never"].map(|policy| self.with_policy(policy));
        let valid = |job: &&Value| {
            let world = World::new(self.framework, job);
            common::resolve::resolve(self.framework, world.job.as_ref().unwrap()).is_ok()
        };
        all.iter().find(valid).expect("a valid job").clone()
    }

    fn with_policy(&self, policy: &str) -> Value {
        let info = self.framework.kind();
        let (first, last) = (info.roles.first().unwrap(), self.scaled());
        let needed = |role: &&common::RoleInfo| {
            role.min_replicas > 0 || role.role == first.role || role.role == last.role
        };
        let roles: Vec<(&str, u32)> = info.roles.iter().filter(needed).map(|r| (r.role.0, 1)).collect();
        let mut manifest = manifest(self.framework, "j", &roles);
        for (role, _) in roles {
            manifest["spec"][info.replicas_field][role]["restartPolicy"] = json!(policy);
        }
        manifest["spec"]["runPolicy"] = self.policy.clone();
        if let Some(stamp) = info.stamp {
            manifest["spec"][stamp.field] = json!(stamp.value);
        }
        manifest
    }
}

fn number(name: &str, default: u8) -> u8 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

fn cases() -> Vec<Case> {
    let scenarios: [(&str, Value, &'static [Fault]); 5] = [
        (
            "failures",
            json!({"backoffLimit": 1}),
            &[Fault::Fail, Fault::Delete, Fault::Vanish],
        ),
        (
            "restarts of all together",
            json!({"backoffLimit": 1, "restartScope": "Job"}),
            &[Fault::Fail, Fault::Delete, Fault::Vanish],
        ),
        ("suspension", json!({}), &[Fault::Suspend, Fault::Delete]),
        ("scaling", json!({}), &[Fault::Scale, Fault::Fail]),
        (
            "the clock",
            json!({"activeDeadlineSeconds": 100, "ttlSecondsAfterFinished": 10, "cleanPodPolicy": "All"}),
            &[Fault::Later, Fault::Fail],
        ),
    ];
    let most = number("TRAINYARD_FAULTS", 1);
    let of = |framework: &'static dyn Framework| {
        scenarios.clone().map(|(name, policy, faults)| Case {
            name,
            framework,
            policy,
            faults,
            most,
        })
    };
    let only = std::env::var("TRAINYARD_CASE").unwrap_or_default();
    let kinds = meanings(operator::FRAMEWORKS);
    let number = kinds.len();
    let all = kinds.into_iter().enumerate().flat_map(|(kind, framework)| {
        let cases = of(framework).into_iter().enumerate();
        let chosen = cases.filter(move |(n, _)| share::takes_kind(*n, kind, number));
        chosen.map(|(_, case)| case)
    });
    all.filter(|case| format!("{} {}", case.framework.kind().kind, case.name).contains(&only))
        .collect()
}

#[test]
fn a_job_left_alone_comes_to_its_end_from_every_state() {
    let cases = cases();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = explore(case, State::new(case));
                    let info = case.framework.kind();
                    let told = |found: &Explored| {
                        format!(
                            "{} {}, {}: {} states, {} steps, {} ends",
                            info.kind, info.version, case.name, found.states, found.steps, found.ends
                        )
                    };
                    println!("{}", told(&found));
                    results.lock().unwrap().push((told(&found), found));
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let states: usize = results.iter().map(|(_, found)| found.states).sum();
    println!("{} cases, {states} states", results.len());
    let wrong: Vec<String> = results
        .iter()
        .filter_map(|(case, found)| Some(format!("{case}:\n{}", found.wrong.as_ref()?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
