//! Upstream's own output as golden data: `vectors/*.yaml` hold a manifest and the pods and services that
//! training-operator 1.9.3 makes of it. Where we differ on purpose, the difference is taken out here by name and
//! explained in docs/differences.md.

use common::Settings;
use common::settings::InitContainer;
use common::testing::vectors::{
    Objects, are_upstreams, first_plan, resolve_by_default, take_out, upstream_settings,
};
use k8s_openapi::api::core::v1::Pod;
use pytorchjob::FRAMEWORK;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

/// Difference "static rendezvous of workers alone": upstream gives them none.
fn take_out_static_rendezvous(vector: &str, ours: &mut Pod, _upstreams: &mut Pod) {
    const OURS: [&str; 7] = [
        "MASTER_PORT",
        "PET_MASTER_PORT",
        "MASTER_ADDR",
        "PET_MASTER_ADDR",
        "WORLD_SIZE",
        "RANK",
        "PET_NODE_RANK",
    ];
    if vector.contains("workersonly") {
        take_out(ours, &OURS);
    }
}

#[test]
fn with_upstreams_settings_pods_and_services_are_upstreams() {
    let settings = Settings {
        init_container: Some(InitContainer {
            image: "alpine:3.10".to_owned(),
            max_tries: 100,
        }),
        ..upstream_settings()
    };
    are_upstreams(&FRAMEWORK, VECTORS, 9, &settings, take_out_static_rendezvous);
}

#[test]
fn by_default_pods_are_upstreams_and_all_names_resolve() {
    resolve_by_default(&FRAMEWORK, VECTORS, take_out_static_rendezvous);
}

#[test]
fn services_are_two_per_job_whatever_its_size() {
    let manifest = common::testing::manifest(&FRAMEWORK, "big", &[("Master", 1), ("Worker", 500)]);
    let Objects { pods, services } = first_plan(&FRAMEWORK, &manifest, Settings::default());
    assert_eq!(pods.len(), 501);
    assert_eq!(services.keys().collect::<Vec<_>>(), ["big", "big-master-0"]);
}
