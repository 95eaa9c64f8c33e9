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
use common::resolve::{InitContainer, ServiceMode};
use common::testing::World;
use common::{Settings, names};
use k8s_openapi::api::core::v1::{Pod, Service};
use pytorchjob::FRAMEWORK;
use serde::Deserialize;

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
        init_container: Some(InitContainer {
            image: "alpine:3.10".to_owned(),
            max_tries: 100,
        }),
        ..Settings::default()
    }
}

/// Difference "attempt": every pod of ours says which attempt it is.
fn take_out_attempt(pod: &mut Pod) {
    let attempt = pod.metadata.labels.as_mut().unwrap().remove(names::ATTEMPT);
    assert_eq!(attempt.as_deref(), Some("0"));
}

/// Difference "static rendezvous of workers alone": upstream gives them none.
fn take_out_static_rendezvous(pod: &mut Pod) {
    const OURS: [&str; 7] = [
        "MASTER_PORT",
        "PET_MASTER_PORT",
        "MASTER_ADDR",
        "PET_MASTER_ADDR",
        "WORLD_SIZE",
        "RANK",
        "PET_NODE_RANK",
    ];
    for container in &mut pod.spec.as_mut().unwrap().containers {
        let env = container.env.as_mut().unwrap();
        assert!(OURS.iter().all(|name| env.iter().any(|e| e.name == *name)));
        env.retain(|e| !OURS.contains(&e.name.as_str()));
    }
}

#[test]
fn with_upstreams_settings_pods_and_services_are_upstreams() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 9);
    for (name, vector) in vectors {
        let (mut pods, mut services) = first_plan(&vector, upstream_settings());
        for pod in pods.values_mut() {
            take_out_attempt(pod);
            if name.contains("workersonly") {
                take_out_static_rendezvous(pod);
            }
        }
        let expected: BTreeMap<_, _> = vector
            .pods
            .into_iter()
            .map(|p| (p.metadata.name.clone().unwrap(), p))
            .collect();
        assert_eq!(pods, expected, "{name}");
        for service in services.values_mut() {
            // Difference "addresses before readiness".
            let spec = service.spec.as_mut().unwrap();
            assert_eq!(spec.publish_not_ready_addresses.take(), Some(true));
            spec.ports.as_mut().unwrap().sort_by_key(|p| p.port);
        }
        let expected: BTreeMap<_, _> = vector
            .services
            .into_iter()
            .map(|mut s| {
                s.spec
                    .as_mut()
                    .unwrap()
                    .ports
                    .as_mut()
                    .unwrap()
                    .sort_by_key(|p| p.port);
                (s.metadata.name.clone().unwrap(), s)
            })
            .collect();
        assert_eq!(services, expected, "{name}");
    }
}

#[test]
fn by_default_names_labels_and_env_are_upstreams() {
    for (name, vector) in vectors() {
        let (mut pods, services) = first_plan(&vector, Settings::default());
        assert_eq!(pods.len(), vector.pods.len(), "{name}");
        for expected in &vector.pods {
            let pod = pods.get_mut(expected.metadata.name.as_deref().unwrap()).unwrap();
            take_out_attempt(pod);
            if name.contains("workersonly") {
                take_out_static_rendezvous(pod);
            }
            assert_eq!(pod.metadata, expected.metadata, "{name}");
            let spec = pod.spec.as_mut().unwrap();
            assert_eq!(spec.hostname.take(), expected.metadata.name);
            assert_eq!(
                spec.subdomain.take(),
                vector.input["metadata"]["name"].as_str().map(str::to_owned)
            );
            let mut expected_spec = expected.spec.clone().unwrap();
            expected_spec.init_containers = None; // difference "no init container"
            assert_eq!(*spec, expected_spec, "{name}");
        }
        for host in hosts(&pods) {
            assert!(services.contains_key(&host), "{name}: nothing resolves {host}");
        }
    }
}

/// Short names of other pods that the environment mentions.
fn hosts(pods: &BTreeMap<String, Pod>) -> Vec<String> {
    let env = pods
        .values()
        .flat_map(|p| &p.spec.as_ref().unwrap().containers)
        .flat_map(|c| c.env.iter().flatten());
    let values = env.filter(|e| ["MASTER_ADDR", "PET_RDZV_ENDPOINT"].contains(&e.name.as_str()));
    values
        .filter_map(|e| e.value.as_deref())
        .map(|v| v.split(':').next().unwrap_or(v).to_owned())
        .filter(|host| pods.contains_key(host))
        .collect()
}

#[test]
fn services_are_two_per_job_whatever_its_size() {
    let manifest = common::testing::manifest(&FRAMEWORK, "big", &[("Master", 1), ("Worker", 500)]);
    let (pods, services) = first_plan(
        &Vector {
            input: manifest,
            pods: vec![],
            services: vec![],
        },
        Settings::default(),
    );
    assert_eq!(pods.len(), 501);
    assert_eq!(services.keys().collect::<Vec<_>>(), ["big", "big-master-0"]);
}
