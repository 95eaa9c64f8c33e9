//! Upstream's own output as golden data: `vectors/*.yaml` hold a manifest and the pods and services that
//! training-operator 1.8.1 makes of it. Where we differ on purpose, the difference is taken out here by name and
//! explained in docs/differences.md.

use common::api::ConditionType;
use common::testing::vectors::{are_upstreams, resolve_by_default, upstream_settings, variables};
use common::testing::{World, manifest};
use common::{conditions, names};
use k8s_openapi::api::core::v1::Pod;
use mxjob::FRAMEWORK;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

/// Difference "one pod stands for the job": upstream marks the Servers, whose logs are empty.
fn marks(vector: &str, ours: &mut Pod, upstreams: &mut Pod) {
    let mark = |pod: &mut Pod| pod.metadata.labels.as_mut().unwrap().remove(names::JOB_ROLE);
    let marked = (mark(ours).is_some(), mark(upstreams).is_some());
    let name = ours.metadata.name.as_deref().unwrap();
    let leads = name.ends_with("-worker-0") || name.ends_with("-tuner-0");
    assert_eq!(marked, (leads, name.contains("-server-")), "{vector}: {name}");
}

#[test]
fn with_upstreams_settings_pods_and_services_are_upstreams() {
    are_upstreams(&FRAMEWORK, VECTORS, 2, &upstream_settings(), marks);
}

/// Difference "one Service per job": hosts are looked up below the job's Service.
#[test]
fn by_default_pods_are_upstreams_and_all_names_resolve() {
    resolve_by_default(&FRAMEWORK, VECTORS, |vector, ours, upstreams| {
        marks(vector, ours, upstreams);
        let job = ours.metadata.labels.as_ref().unwrap()[names::JOB_NAME].clone();
        for variable in variables(upstreams).filter(|variable| variable.name == "MX_CONFIG") {
            let config = variable.value.take().unwrap();
            variable.value = Some(config.replace("\",\"port\"", &format!(".{job}\",\"port\"")));
        }
    });
}

#[test]
fn a_tuning_job_has_succeeded_when_its_tuner_has() {
    let job = manifest(
        &FRAMEWORK,
        "j",
        &[("TunerTracker", 1), ("TunerServer", 2), ("Tuner", 1)],
    );
    let mut world = World::new(&FRAMEWORK, &job);
    world.settle(&FRAMEWORK);
    world.run_all();
    world.settle(&FRAMEWORK);
    assert!(conditions::is_true(&world.status(), ConditionType::Running));
    world.end("j-tuner-0", "mxnet", 0, "Completed", None);
    world.settle(&FRAMEWORK);
    assert!(conditions::is_true(&world.status(), ConditionType::Succeeded));
}

#[test]
fn the_schedulers_end_is_the_jobs() {
    let job = manifest(&FRAMEWORK, "j", &[("Scheduler", 1), ("Server", 1), ("Worker", 2)]);
    let mut world = World::new(&FRAMEWORK, &job);
    world.settle(&FRAMEWORK);
    world.run_all();
    for pod in ["j-worker-0", "j-worker-1"] {
        world.end(pod, "mxnet", 0, "Completed", None);
        world.settle(&FRAMEWORK);
        assert!(
            !conditions::is_finished(&world.status()),
            "the servers may not have saved yet"
        );
    }
    world.end("j-scheduler-0", "mxnet", 0, "Completed", None);
    world.settle(&FRAMEWORK);
    assert!(conditions::is_true(&world.status(), ConditionType::Succeeded));
    let message = world.status().conditions.last().unwrap().message.clone().unwrap();
    assert_eq!(message, "MXJob j is successfully completed.");
}

#[test]
fn where_nobody_decides_all_must_be_done() {
    let job = manifest(&FRAMEWORK, "j", &[("Server", 2)]);
    let mut world = World::new(&FRAMEWORK, &job);
    world.settle(&FRAMEWORK);
    world.run_all();
    for (pod, finished) in [("j-server-0", false), ("j-server-1", true)] {
        world.end(pod, "mxnet", 0, "Completed", None);
        world.settle(&FRAMEWORK);
        assert_eq!(conditions::is_finished(&world.status()), finished);
    }
}

#[test]
fn the_scheduler_of_a_running_job_is_not_taken_away() {
    let job = manifest(&FRAMEWORK, "j", &[("Scheduler", 1), ("Server", 1), ("Worker", 2)]);
    let mut world = World::new(&FRAMEWORK, &job);
    world.settle(&FRAMEWORK);
    world.run_all();
    world.settle(&FRAMEWORK);
    let before = world.describe();
    let spec = &mut world.job.as_mut().unwrap().spec;
    spec["mxReplicaSpecs"]
        .as_object_mut()
        .unwrap()
        .remove("Scheduler");
    world.settle(&FRAMEWORK);
    assert_eq!(world.describe(), before);
    let told = world.status().waiting_for.unwrap();
    assert!(told.contains("would take away j-scheduler-0"), "{told}");
}

#[test]
fn more_hosts_than_fit_into_a_variable_are_refused_by_field() {
    let job = manifest(&FRAMEWORK, "j", &[("Scheduler", 1), ("Worker", 90_000)]);
    let world = World::new(&FRAMEWORK, &job);
    let plan = world.plan(&FRAMEWORK);
    assert!(plan.writes.is_empty());
    let told = &plan.events[0].message;
    assert!(
        told.contains("spec.mxReplicaSpecs: too many replicas: MX_CONFIG"),
        "{told}"
    );
}
