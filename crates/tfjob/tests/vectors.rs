//! Upstream's own output as golden data: `vectors/*.yaml` hold a manifest and the pods and services that
//! training-operator 1.9.3 makes of it. Where we differ on purpose, the difference is taken out here by name and
//! explained in docs/differences.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    reason = "tests fail by panicking, and read better without ceremony"
)]

use std::collections::BTreeMap;

use common::plan::{Child, Write};
use common::resolve::ServiceMode;
use common::testing::{World, manifest};
use common::{Settings, names};
use k8s_openapi::api::core::v1::{Pod, Service};
use serde::Deserialize;
use serde_json::json;
use tfjob::FRAMEWORK;

#[derive(Deserialize)]
struct Vector {
    input: serde_json::Value,
    pods: Vec<Pod>,
    services: Vec<Service>,
}

fn vectors() -> Vec<(String, Vector)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                serde_saphyr::from_str(&text).unwrap(),
            )
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// First plan for the vector's input: pods and services by name.
fn first_plan(vector: &Vector, settings: Settings) -> (BTreeMap<String, Pod>, BTreeMap<String, Service>) {
    let mut world = World::new(&FRAMEWORK, &vector.input);
    world.settings = settings;
    let (mut pods, mut services) = (BTreeMap::new(), BTreeMap::new());
    for write in world.plan(&FRAMEWORK).writes {
        match write {
            Write::CreatePod { pod, .. } => {
                pods.insert(pod.metadata.name.clone().unwrap(), *pod);
            }
            Write::CreateChild(Child::Service(service)) => {
                services.insert(service.metadata.name.clone().unwrap(), *service);
            }
            other => panic!("a first plan only creates: {other:?}"),
        }
    }
    (pods, services)
}

fn upstream_settings() -> Settings {
    Settings {
        service_mode: ServiceMode::PerReplica,
        ..Settings::default()
    }
}

/// Difference "attempt": every pod of ours says which attempt it is.
fn take_out_attempt(pod: &mut Pod) {
    let attempt = pod.metadata.labels.as_mut().unwrap().remove(names::ATTEMPT);
    assert_eq!(attempt.as_deref(), Some("0"));
}

fn by_name<T: k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>>(
    objects: Vec<T>,
) -> BTreeMap<String, T> {
    let name = |object: &T| object.metadata().name.clone().unwrap();
    objects
        .into_iter()
        .map(|object| (name(&object), object))
        .collect()
}

fn sort_ports(service: &mut Service) {
    let ports = service.spec.as_mut().unwrap().ports.as_mut().unwrap();
    ports.sort_by_key(|p| p.port);
}

#[test]
fn with_upstreams_settings_pods_and_services_are_upstreams() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 7);
    for (name, mut vector) in vectors {
        let (mut pods, mut services) = first_plan(&vector, upstream_settings());
        pods.values_mut().for_each(take_out_attempt);
        assert_eq!(pods, by_name(vector.pods), "{name}");
        for service in services.values_mut() {
            // Difference "addresses before readiness".
            let spec = service.spec.as_mut().unwrap();
            assert_eq!(spec.publish_not_ready_addresses.take(), Some(true));
            sort_ports(service);
        }
        vector.services.iter_mut().for_each(sort_ports);
        assert_eq!(services, by_name(vector.services), "{name}");
    }
}

/// Difference "one Service per job": hosts are looked up below the job's Service.
fn below_the_job(config: &str, job: &str) -> String {
    config.replace(".ns1.svc", &format!(".{job}.ns1.svc"))
}

#[test]
fn by_default_only_host_names_differ_and_the_jobs_service_resolves_them() {
    for (name, vector) in vectors() {
        let (mut pods, services) = first_plan(&vector, Settings::default());
        let job = vector.input["metadata"]["name"].as_str().unwrap();
        for pod in pods.values_mut() {
            take_out_attempt(pod);
            let spec = pod.spec.as_mut().unwrap();
            assert_eq!(spec.hostname.take(), pod.metadata.name);
            assert_eq!(spec.subdomain.take().as_deref(), Some(job));
        }
        let mut expected = by_name(vector.pods);
        let containers = expected
            .values_mut()
            .flat_map(|pod| &mut pod.spec.as_mut().unwrap().containers);
        for variable in containers.flat_map(|c| c.env.iter_mut().flatten()) {
            if variable.name == "TF_CONFIG" {
                variable.value = variable.value.as_deref().map(|config| below_the_job(config, job));
            }
        }
        assert_eq!(pods, expected, "{name}");
        assert_eq!(services.keys().collect::<Vec<_>>(), [job], "{name}");
        let spec = services[job].spec.as_ref().unwrap();
        assert_eq!(spec.publish_not_ready_addresses, Some(true));
        for pod in pods.values() {
            let labels = pod.metadata.labels.as_ref().unwrap();
            let selector = spec.selector.as_ref().unwrap();
            assert!(selector.iter().all(|(k, v)| labels.get(k) == Some(v)), "{name}");
        }
    }
}

/// `TF_CONFIG` of each pod of a job, as JSON.
fn configs(manifest: serde_json::Value, settings: Settings) -> BTreeMap<String, serde_json::Value> {
    let vector = Vector {
        input: manifest,
        pods: vec![],
        services: vec![],
    };
    let (pods, _) = first_plan(&vector, settings);
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
    let vector = Vector {
        input: manifest.clone(),
        pods: vec![],
        services: vec![],
    };
    let (pods, services) = first_plan(&vector, Settings::default());
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
        let vector = Vector {
            input: manifest(&FRAMEWORK, "j", replicas),
            pods: vec![],
            services: vec![],
        };
        let (pods, _) = first_plan(&vector, Settings::default());
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
    let vector = Vector {
        input: manifest(
            &FRAMEWORK,
            "big",
            &[("Chief", 1), ("PS", 50), ("Worker", 500), ("Evaluator", 1)],
        ),
        pods: vec![],
        services: vec![],
    };
    let (pods, services) = first_plan(&vector, Settings::default());
    assert_eq!(pods.len(), 552);
    assert_eq!(services.keys().collect::<Vec<_>>(), ["big"]);
}
