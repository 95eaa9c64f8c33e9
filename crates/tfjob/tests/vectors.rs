//! Upstream's own output as golden data: `vectors/*.yaml` hold a manifest and the pods and services that
//! training-operator 1.9.3 makes of it. Where we differ on purpose, the difference is taken out here by name and
//! explained in docs/differences.md.

use std::collections::BTreeMap;

use common::settings::ServiceMode;
use common::testing::manifest;
use common::testing::vectors::{
    Objects, are_upstreams, first_plan, resolve_by_default, upstream_settings, variables,
};
use common::{Settings, names};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tfjob::FRAMEWORK;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

#[test]
fn with_upstreams_settings_pods_and_services_are_upstreams() {
    are_upstreams(&FRAMEWORK, VECTORS, 7, &upstream_settings(), |_, _, _| {});
}

/// Difference "one Service per job": hosts are looked up below the job's Service.
#[test]
fn by_default_only_host_names_differ_and_the_jobs_service_resolves_them() {
    resolve_by_default(&FRAMEWORK, VECTORS, |_, ours, upstreams| {
        let job = ours.metadata.labels.as_ref().unwrap()[names::JOB_NAME].clone();
        for variable in variables(upstreams).filter(|variable| variable.name == "TF_CONFIG") {
            let config = variable.value.take().unwrap();
            variable.value = Some(config.replace(".ns1.svc", &format!(".{job}.ns1.svc")));
        }
    });
}

/// `TF_CONFIG` of each pod of a job, as JSON.
fn configs(manifest: Value, settings: Settings) -> BTreeMap<String, serde_json::Value> {
    let Objects { pods, .. } = first_plan(&FRAMEWORK, &manifest, settings);
    let config = |pod: &Pod| {
        let containers = &pod.spec.as_ref().unwrap().containers;
        let env = containers.iter().flat_map(|c| c.env.iter().flatten());
        let values: Vec<_> = env.filter(|e| e.name == "TF_CONFIG").collect();
        let value = values.last()?.value.as_deref()?;
        Some(serde_json::from_str(value).unwrap())
    };
    pods.iter()
        .filter_map(|(name, pod)| Some((name.clone(), config(pod)?)))
        .collect()
}

#[test]
fn the_clusters_domain_is_appended() {
    let manifest = || manifest(&FRAMEWORK, "j", &[("PS", 1), ("Worker", 1)]);
    let domain = || Some("cluster.local".to_owned());
    let mut settings = Settings {
        cluster_domain: domain(),
        ..upstream_settings()
    };
    let cluster = configs(manifest(), settings.clone())["j-worker-0"]["cluster"].clone();
    assert_eq!(
        cluster["ps"],
        json!(["j-ps-0.ns1.svc.cluster.local:2222"]),
        "as upstream with CUSTOM_CLUSTER_DOMAIN"
    );
    settings.service_mode = ServiceMode::Job;
    let cluster = configs(manifest(), settings)["j-worker-0"]["cluster"].clone();
    assert_eq!(cluster["ps"], json!(["j-ps-0.j.ns1.svc.cluster.local:2222"]));
}

/// Difference "TF_CONFIG without empty lists": TensorFlow takes a type that is listed for one that is there.
#[test]
fn replica_types_without_replicas_are_not_in_the_cluster() {
    let none = configs(
        manifest(&FRAMEWORK, "j", &[("PS", 0), ("Worker", 2)]),
        Settings::default(),
    );
    let types: Vec<_> = none["j-worker-1"]["cluster"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(types, ["worker"]);
    assert!(
        configs(
            manifest(&FRAMEWORK, "j", &[("PS", 0), ("Worker", 1)]),
            Settings::default()
        )
        .is_empty(),
        "one replica in all"
    );
}

/// Difference "no null": upstream writes null for the parameter servers of a job that states none.
#[test]
fn dynamic_workers_without_parameter_servers_get_an_empty_list() {
    let mut manifest = manifest(&FRAMEWORK, "j", &[("Worker", 2)]);
    manifest["spec"]["enableDynamicWorker"] = json!(true);
    let config = configs(manifest, upstream_settings())["j-worker-1"].clone();
    assert_eq!(
        config,
        json!({"cluster": {"worker": {"1": "j-worker-1.ns1.svc:2222"}, "ps": []}, "task": {"type": "worker", "index": 1}})
    );
}

#[test]
fn a_template_with_a_host_name_of_its_own_is_reached_by_a_service_of_its_own() {
    let mut manifest = manifest(&FRAMEWORK, "j", &[("PS", 1), ("Worker", 1)]);
    manifest["spec"]["tfReplicaSpecs"]["PS"]["template"]["spec"]["subdomain"] = json!("mine");
    let Objects { pods, services } = first_plan(&FRAMEWORK, &manifest, Settings::default());
    assert_eq!(services.keys().collect::<Vec<_>>(), ["j", "j-ps-0"]);
    assert_eq!(
        pods["j-ps-0"].spec.as_ref().unwrap().subdomain.as_deref(),
        Some("mine")
    );
    let cluster = configs(manifest, Settings::default())["j-worker-0"]["cluster"].clone();
    assert_eq!(
        cluster,
        json!({"ps": ["j-ps-0.ns1.svc:2222"], "worker": ["j-worker-0.j.ns1.svc:2222"]})
    );
}

#[test]
fn ours_comes_after_the_users_and_so_wins() {
    let mut manifest = manifest(&FRAMEWORK, "j", &[("Worker", 2)]);
    let containers = "/spec/tfReplicaSpecs/Worker/template/spec/containers/0";
    manifest.pointer_mut(containers).unwrap()["env"] = json!([{"name": "TF_CONFIG", "value": "{}"}]);
    let config = configs(manifest, Settings::default())["j-worker-1"].clone();
    assert_eq!(config["task"], json!({"type": "worker", "index": 1}));
}

#[test]
fn the_log_that_stands_for_the_job_is_the_chiefs_or_worker_0s() {
    type Case = (&'static [(&'static str, u32)], Option<&'static str>);
    let cases: [Case; 6] = [
        (&[("Chief", 1), ("Worker", 2)], Some("j-chief-0")),
        (&[("Master", 1), ("Worker", 2)], Some("j-master-0")),
        (&[("PS", 2), ("Worker", 2)], Some("j-worker-0")),
        (&[("Chief", 0), ("Worker", 2)], Some("j-worker-0")),
        (&[("PS", 2)], None),
        (&[("Evaluator", 1)], None),
    ];
    for (replicas, expected) in cases {
        let manifest = manifest(&FRAMEWORK, "j", replicas);
        let Objects { pods, .. } = first_plan(&FRAMEWORK, &manifest, Settings::default());
        let leads = |pod: &&Pod| {
            pod.metadata
                .labels
                .as_ref()
                .unwrap()
                .contains_key(names::JOB_ROLE)
        };
        let leaders: Vec<_> = pods.values().filter(leads).collect();
        let leaders: Vec<_> = leaders.iter().map(|p| p.metadata.name.as_deref()).collect();
        assert_eq!(
            leaders,
            expected.map(Some).into_iter().collect::<Vec<_>>(),
            "{replicas:?}"
        );
    }
}

#[test]
fn one_service_per_job_whatever_its_size() {
    let roles = [("Chief", 1), ("PS", 50), ("Worker", 500), ("Evaluator", 1)];
    let manifest = manifest(&FRAMEWORK, "big", &roles);
    let Objects { pods, services } = first_plan(&FRAMEWORK, &manifest, Settings::default());
    assert_eq!(pods.len(), 552);
    assert_eq!(services.keys().collect::<Vec<_>>(), ["big"]);
}
