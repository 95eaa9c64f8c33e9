//! Upstream's own output as golden data: `vectors/*.yaml` hold a manifest and the pods and services that
//! training-operator 1.9.3 makes of it. Where we differ on purpose, the difference is taken out here by name and
//! explained in docs/differences.md.

use common::Settings;
use common::testing::vectors::{are_upstreams, resolve_by_default, take_out, upstream_settings};
use common::testing::{manifest, vectors::first_plan, vectors::variables};
use jaxjob::FRAMEWORK;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

/// Difference "additional variables".
fn take_out_jaxs_own(_: &str, ours: &mut Pod, _: &mut Pod) {
    take_out(
        ours,
        &["JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"],
    );
}

#[test]
fn with_upstreams_settings_pods_and_services_are_upstreams() {
    are_upstreams(&FRAMEWORK, VECTORS, 1, &upstream_settings(), take_out_jaxs_own);
}

#[test]
fn by_default_pods_are_upstreams_and_all_names_resolve() {
    resolve_by_default(&FRAMEWORK, VECTORS, take_out_jaxs_own);
}

#[test]
fn the_coordinators_port_is_the_users() {
    let mut job = manifest(&FRAMEWORK, "j", &[("Worker", 2)]);
    let containers = "/spec/jaxReplicaSpecs/Worker/template/spec/containers/0";
    job.pointer_mut(containers).unwrap()["ports"] = json!([{"name": "jaxjob-port", "containerPort": 1234}]);
    let mut made = first_plan(&FRAMEWORK, &job, Settings::default());
    let told: Vec<(String, String)> = variables(made.pods.get_mut("j-worker-1").unwrap())
        .map(|variable| (variable.name.clone(), variable.value.clone().unwrap()))
        .collect();
    for (name, value) in [
        ("COORDINATOR_PORT", "1234"),
        ("JAX_COORDINATOR_ADDRESS", "j-worker-0:1234"),
        ("JAX_NUM_PROCESSES", "2"),
        ("JAX_PROCESS_ID", "1"),
    ] {
        assert!(told.contains(&(name.to_owned(), value.to_owned())), "{told:?}");
    }
}

#[test]
fn a_very_large_job_is_made_in_parts() {
    let job = manifest(&FRAMEWORK, "j", &[("Worker", 2500)]);
    let mut world = common::testing::World::new(&FRAMEWORK, &job);
    let plans = world.settle(&FRAMEWORK);
    let made = |plan: &common::Plan| {
        plan.writes
            .iter()
            .filter(|w| matches!(w, common::Write::CreatePod { .. }))
            .count()
    };
    assert_eq!(
        plans
            .iter()
            .map(made)
            .filter(|made| *made > 0)
            .collect::<Vec<_>>(),
        [1000, 1000, 500]
    );
    assert_eq!(world.pods.len(), 2500);
}
