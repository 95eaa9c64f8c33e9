//! Upstream's own output as golden data: `vectors/*.yaml` hold a manifest and the pods and services that
//! training-operator 1.9.3 makes of it. Where we differ on purpose, the difference is taken out here by name and
//! explained in docs/differences.md.

use common::testing::vectors::{are_upstreams, resolve_by_default, take_out, upstream_settings, variables};
use common::testing::{manifest, vectors::first_plan};
use common::{Settings, names};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use xgboostjob::FRAMEWORK;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

/// Difference "additional variables".
fn take_out_trackers(_: &str, ours: &mut Pod, _: &mut Pod) {
    take_out(
        ours,
        &[
            "DMLC_TRACKER_URI",
            "DMLC_TRACKER_PORT",
            "DMLC_TASK_ID",
            "DMLC_NUM_WORKER",
        ],
    );
}

#[test]
fn with_upstreams_settings_pods_and_services_are_upstreams() {
    are_upstreams(&FRAMEWORK, VECTORS, 2, &upstream_settings(), take_out_trackers);
}

/// Difference "one Service per job": workers are looked up below the job's Service.
#[test]
fn by_default_pods_are_upstreams_and_all_names_resolve() {
    resolve_by_default(&FRAMEWORK, VECTORS, |vector, ours, upstreams| {
        take_out_trackers(vector, ours, upstreams);
        let job = ours.metadata.labels.as_ref().unwrap()[names::JOB_NAME].clone();
        for variable in variables(upstreams).filter(|variable| variable.name == "WORKER_ADDRS") {
            let below: Vec<String> = variable
                .value
                .as_deref()
                .unwrap()
                .split(',')
                .map(|host| format!("{host}.{job}"))
                .collect();
            variable.value = Some(below.join(","));
        }
    });
}

#[test]
fn current_xgboost_reads_the_same_under_its_own_names() {
    let job = manifest(&FRAMEWORK, "j", &[("Master", 1), ("Worker", 2)]);
    let mut made = first_plan(&FRAMEWORK, &job, Settings::default());
    for pod in made.pods.values_mut() {
        let of = |pod: &mut Pod, name: &str| {
            variables(pod)
                .find(|v| v.name == name)
                .unwrap()
                .value
                .clone()
                .unwrap()
        };
        for (ours, upstreams) in [
            ("DMLC_TRACKER_URI", "MASTER_ADDR"),
            ("DMLC_TRACKER_PORT", "MASTER_PORT"),
            ("DMLC_TASK_ID", "RANK"),
            ("DMLC_NUM_WORKER", "WORLD_SIZE"),
        ] {
            assert_eq!(of(pod, ours), of(pod, upstreams), "{ours}");
        }
    }
}

#[test]
fn a_worker_with_a_host_name_of_its_own_is_reached_by_a_service_of_its_own() {
    let mut job = manifest(&FRAMEWORK, "j", &[("Master", 1), ("Worker", 1)]);
    job["spec"]["xgbReplicaSpecs"]["Worker"]["template"]["spec"]["hostname"] = json!("mine");
    let mut made = first_plan(&FRAMEWORK, &job, Settings::default());
    assert_eq!(
        made.services.keys().collect::<Vec<_>>(),
        ["j", "j-master-0", "j-worker-0"]
    );
    let worker = made.pods.get_mut("j-worker-0").unwrap();
    let hosts = variables(worker)
        .find(|variable| variable.name == "WORKER_ADDRS")
        .unwrap();
    assert_eq!(hosts.value.as_deref(), Some("j-worker-0"));
}
