//! Upstream's own output as golden data: `vectors/*.yaml` hold a manifest and the pods and services that
//! training-operator 1.9.3 makes of it. Where we differ on purpose, the difference is taken out here by name and
//! explained in docs/differences.md.

use common::objects::Child;
use common::plan::Write;
use common::testing::vectors::{
    are_upstreams, first_plan, resolve_by_default, take_out, upstream_settings, variables,
};
use common::testing::{World, manifest};
use common::{Settings, names};
use k8s_openapi::api::core::v1::Pod;
use paddlejob::FRAMEWORK;
use serde_json::{Value, json};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

/// Differences "additional variables", and "one pod stands for the job": upstream marks all Masters, or none.
fn differences(vector: &str, ours: &mut Pod, upstreams: &mut Pod) {
    take_out(ours, &["PADDLE_RANK"]);
    let mark = |pod: &mut Pod| pod.metadata.labels.as_mut().unwrap().remove(names::JOB_ROLE);
    let marked = (mark(ours).is_some(), mark(upstreams).is_some());
    let name = ours.metadata.name.as_deref().unwrap();
    let collective = vector.contains("collective");
    let expected = match name.rsplit_once('-').unwrap() {
        (job, "0") if job.ends_with("worker") => (collective, false),
        (job, "0") if job.ends_with("master") => (true, true),
        (job, _) => (false, job.ends_with("master")),
    };
    assert_eq!(marked, expected, "{vector}: {name}");
}

#[test]
fn with_upstreams_settings_pods_and_services_are_upstreams() {
    are_upstreams(&FRAMEWORK, VECTORS, 2, &upstream_settings(), differences);
}

#[test]
fn by_default_pods_are_upstreams_and_all_names_resolve() {
    resolve_by_default(&FRAMEWORK, VECTORS, differences);
}

/// Variables of a pod.
fn told(job: &Value, pod: &str) -> Vec<(String, String)> {
    let mut made = first_plan(&FRAMEWORK, job, Settings::default());
    let variables = variables(made.pods.get_mut(pod).unwrap());
    variables
        .map(|v| (v.name.clone(), v.value.clone().unwrap_or_default()))
        .collect()
}

fn value(told: &[(String, String)], name: &str) -> Option<String> {
    told.iter()
        .rfind(|(found, _)| found == name)
        .map(|(_, value)| value.clone())
}

#[test]
fn ranks_are_the_order_of_the_pods() {
    let job = manifest(&FRAMEWORK, "j", &[("Master", 2), ("Worker", 2)]);
    for (pod, rank) in [
        ("j-master-0", "0"),
        ("j-master-1", "1"),
        ("j-worker-0", "2"),
        ("j-worker-1", "3"),
    ] {
        assert_eq!(value(&told(&job, pod), "PADDLE_RANK").as_deref(), Some(rank));
    }
}

#[test]
fn launchers_that_meet_by_the_users_etcd_are_told_the_limits_and_no_rank() {
    let mut job = manifest(&FRAMEWORK, "j", &[("Worker", 3)]);
    job["spec"]["elasticPolicy"] = json!({"minReplicas": 2, "maxReplicas": 5, "maxRestarts": 4});
    let container = "/spec/paddleReplicaSpecs/Worker/template/spec/containers/0";
    let plain = told(&job, "j-worker-1");
    assert_eq!(
        value(&plain, "PADDLE_NNODES").as_deref(),
        Some("3"),
        "it would wait for five"
    );
    assert_eq!(value(&plain, "PADDLE_MAX_RESTART").as_deref(), Some("4"));
    job.pointer_mut(container).unwrap()["env"] =
        json!([{"name": "PADDLE_MASTER", "value": "etcd://etcd:2379"}]);
    for pod in ["j-worker-0", "j-worker-1"] {
        let told = told(&job, pod);
        assert_eq!(value(&told, "PADDLE_NNODES").as_deref(), Some("2:5"));
        assert_eq!(value(&told, "PADDLE_MASTER").as_deref(), Some("etcd://etcd:2379"));
        assert_eq!(
            (value(&told, "PADDLE_RANK"), value(&told, "POD_IP_DUMMY")),
            (None, None)
        );
    }
}

#[test]
fn metrics_make_an_autoscaler_between_the_limits_where_launchers_meet_by_etcd() {
    let mut job = manifest(&FRAMEWORK, "j", &[("Worker", 3)]);
    job["spec"]["elasticPolicy"] = json!({"minReplicas": 2, "maxReplicas": 5, "metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]});
    let autoscalers = |job: &Value| {
        let mut world = World::new(&FRAMEWORK, job);
        let plans = world.settle(&FRAMEWORK);
        let writes = plans.into_iter().flat_map(|plan| plan.writes);
        writes
            .filter_map(|write| match write {
                Write::CreateChild(Child::Autoscaler(made)) => Some(made.spec),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(autoscalers(&job), [], "those that run would know of no others");
    let container = "/spec/paddleReplicaSpecs/Worker/template/spec/containers/0";
    job.pointer_mut(container).unwrap()["env"] =
        json!([{"name": "PADDLE_MASTER", "value": "etcd://etcd:2379"}]);
    let made = autoscalers(&job).remove(0);
    assert_eq!((made.min_replicas, made.max_replicas), (Some(2), 5));
    assert_eq!(made.scale_target_ref.kind, "PaddleJob");
}

#[test]
fn limits_that_are_none_are_named_by_field() {
    for (policy, workers, expected) in [
        (
            json!({"minReplicas": 3, "maxReplicas": 2}),
            true,
            "spec.elasticPolicy.minReplicas: must not be greater than spec.elasticPolicy.maxReplicas (3 > 2)",
        ),
        (
            json!({}),
            false,
            "spec.paddleReplicaSpecs[Worker]: must be configured if elastic policy is used",
        ),
        (
            json!({"minReplicas": "two"}),
            true,
            "spec.elasticPolicy.minReplicas: invalid type: string \"two\", expected i32",
        ),
    ] {
        let role = if workers { "Worker" } else { "Master" };
        let mut job = manifest(&FRAMEWORK, "j", &[(role, 1)]);
        job["spec"]["elasticPolicy"] = policy;
        let world = World::new(&FRAMEWORK, &job);
        let plan = world.plan(&FRAMEWORK);
        assert!(plan.writes.is_empty());
        assert!(
            plan.events[0].message.contains(expected),
            "{}",
            plan.events[0].message
        );
    }
}

#[test]
fn a_variable_of_the_users_that_upstream_does_not_set_stays() {
    let mut job = manifest(&FRAMEWORK, "j", &[("Worker", 2)]);
    let container = "/spec/paddleReplicaSpecs/Worker/template/spec/containers/0";
    job.pointer_mut(container).unwrap()["env"] = json!([{"name": "PADDLE_RANK", "value": "7"}]);
    let told = told(&job, "j-worker-1");
    let ranks: Vec<_> = told.iter().filter(|(name, _)| name == "PADDLE_RANK").collect();
    assert_eq!(ranks, [&("PADDLE_RANK".to_owned(), "7".to_owned())]);
}
