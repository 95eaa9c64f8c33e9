//! Jobs of every kind for these tests, and what happens to them.

use common::api::{ConditionType, JobStatus};
use common::kind::{OnFailure, Workload};
use common::plan::{Counter, Plan, Write};
use common::testing::{World, meanings, whole};
use common::{Event, Framework, conditions, resolve};
use serde_json::{Value, json};

/// Tells each meaning of each kind by its API version and kind.
pub(crate) fn for_every_kind(test: impl Fn(&'static dyn Framework)) {
    for framework in meanings(operator::FRAMEWORKS) {
        println!("{} {}", framework.kind().api_version(), framework.kind().kind);
        test(framework);
    }
}

/// A job of all roles, of each as many replicas as allowed up to `most`, all of which it needs; nothing is done for it yet.
pub(crate) fn job(framework: &'static dyn Framework, most: u32, edit: impl FnOnce(&mut Value)) -> World {
    let mut manifest = whole(framework, most);
    manifest["spec"].as_object_mut().unwrap().remove("elasticPolicy");
    edit(&mut manifest["spec"]);
    World::new(framework, &manifest)
}

/// The same, all of whose pods run.
pub(crate) fn running(framework: &'static dyn Framework, most: u32, edit: impl FnOnce(&mut Value)) -> World {
    let mut world = job(framework, most, edit);
    bring_up(framework, &mut world);
    assert!(is(&world, ConditionType::Running), "{:?}", world.status());
    world
}

/// All that waits runs, as often as something new does: a launcher may wait for its workers.
pub(crate) fn bring_up(framework: &'static dyn Framework, world: &mut World) -> Vec<Plan> {
    let mut plans = Vec::new();
    for _ in 0..2 {
        plans.extend(world.settle(framework));
        world.run_all();
    }
    plans.extend(world.settle(framework));
    plans
}

/// What terminates is gone, pauses are over, and what is made then runs.
pub(crate) fn come_back(framework: &'static dyn Framework, world: &mut World) -> Vec<Plan> {
    let mut plans = world.settle(framework);
    world.reap();
    world.pass_time(300);
    plans.extend(bring_up(framework, world));
    plans
}

pub(crate) fn spec(world: &mut World) -> &mut Value {
    &mut world.job.as_mut().unwrap().spec
}

pub(crate) fn is(world: &World, condition: ConditionType) -> bool {
    conditions::is_true(&world.status(), condition)
}

/// The types that are True.
pub(crate) fn held(status: &JobStatus) -> Vec<ConditionType> {
    let held = status
        .conditions
        .iter()
        .filter(|c| conditions::is_true(status, c.type_));
    held.map(|c| c.type_).collect()
}

pub(crate) fn message(world: &World, condition: ConditionType) -> String {
    let status = world.status();
    let entry =
        conditions::condition(&status, condition).unwrap_or_else(|| panic!("no {condition:?} in {status:?}"));
    entry.message.clone().unwrap()
}

/// The container of a pod ends, and the pod with it.
pub(crate) fn end(framework: &dyn Framework, world: &mut World, pod: &str, code: i32) {
    let container = framework.kind().container.unwrap_or("main");
    world.end(pod, container, code, "Error", None);
}

/// Those whose success is the job's have it.
pub(crate) fn finish(framework: &dyn Framework, world: &mut World) {
    for name in world.deciding(framework) {
        end(framework, world, &name, 0);
    }
}

/// A restart policy for all roles.
pub(crate) fn policy(framework: &dyn Framework, spec: &mut Value, policy: &str) {
    for replica in spec[framework.kind().replicas_field]
        .as_object_mut()
        .unwrap()
        .values_mut()
    {
        replica["restartPolicy"] = json!(policy);
    }
}

/// Those restart policies that the kind takes.
pub(crate) fn policies(framework: &'static dyn Framework) -> Vec<&'static str> {
    let taken = |stated: &&str| {
        let world = job(framework, 2, |spec| policy(framework, spec, stated));
        resolve::resolve(framework, world.job.as_ref().unwrap()).is_ok()
    };
    let all = ["Never", "OnFailure", "Always", "ExitCode"];
    all.into_iter().filter(taken).collect()
}

/// The policy under which a killed pod is replaced.
pub(crate) fn replacing(framework: &'static dyn Framework) -> &'static str {
    let exit_code = policies(framework).contains(&"ExitCode");
    if exit_code { "ExitCode" } else { "OnFailure" }
}

/// A pod of ours to whose failure the restart policy of its role applies: the last one. None of a kind all of whose pods are
/// replaced, or retried by a batch Job.
pub(crate) fn by_policy(framework: &'static dyn Framework, world: &World) -> Option<String> {
    let job = resolve::resolve(framework, world.job.as_ref().unwrap()).unwrap();
    let judged = |role| framework.on_failure(role, &job) == OnFailure::ByPolicy;
    let mut replicas = job.replicas.all().iter().rev();
    replicas
        .find(|replica| replica.workload == Workload::Pod && judged(replica.id.role))
        .map(|replica| replica.name.clone())
}

/// The last worker: no kind runs without it.
pub(crate) fn last(world: &World) -> String {
    let worker = world.pods.iter().rfind(|pod| pod.name.contains("-worker-"));
    worker.unwrap().name.to_string()
}

pub(crate) fn active(world: &World) -> i32 {
    let status = world.status();
    status.replica_statuses.values().map(|counts| counts.active).sum()
}

pub(crate) fn events(plans: &[Plan]) -> Vec<&Event> {
    plans.iter().flat_map(|plan| &plan.events).collect()
}

pub(crate) fn counted(plans: &[Plan], counter: Counter) -> usize {
    let all = plans.iter().flat_map(|plan| &plan.counters);
    all.filter(|c| **c == counter).count()
}

/// Names of pods and batch Jobs that plans delete.
pub(crate) fn deletes(plans: &[Plan]) -> Vec<&str> {
    let writes = plans.iter().flat_map(|plan| &plan.writes);
    writes
        .filter_map(|write| match write {
            Write::DeletePod { name, .. } | Write::DeleteBatchJob { name, .. } => Some(&**name),
            _ => None,
        })
        .collect()
}

/// From here on nothing happens but what the operator has set its own timer for; until `over` says so.
pub(crate) fn by_timer(
    framework: &'static dyn Framework,
    world: &mut World,
    over: impl Fn(&World) -> bool,
) -> Vec<Plan> {
    let mut plans = Vec::new();
    for _ in 0..50 {
        plans.extend(world.settle(framework));
        if over(world) {
            return plans;
        }
        let requeue_at = world.plan(framework).requeue_at.expect("a timer");
        assert!(requeue_at > world.now, "a timer that is over");
        world.now = requeue_at;
    }
    panic!("{:?}", world.status());
}
