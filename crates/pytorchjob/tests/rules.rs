//! Every rule of the CRD, each with a job that breaks it and the answer that the user gets.
//!
//! What the schema itself refuses (types, enums, required fields) is left to a real API server.

use kube_cel::Validator;
use serde_json::{Value, json};

const CONTAINERS: &str = "spec.pytorchReplicaSpecs.Worker.template.spec.containers";

/// A job that is right, with some fields set; null removes a field.
fn job(edits: &[(&str, Value)]) -> Value {
    let template = json!({ "spec": { "containers": [{ "name": "pytorch", "image": "img:1" }] } });
    let mut job = json!({
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": { "name": "j" },
        "spec": {
            "runPolicy": {},
            "pytorchReplicaSpecs": {
                "Master": { "replicas": 1, "template": template },
                "Worker": { "replicas": 2, "template": template },
            },
        },
    });
    for (path, value) in edits {
        set(&mut job, path, value);
    }
    job
}

fn set(object: &mut Value, path: &str, value: &Value) {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let child = match object {
        Value::Array(items) => items.get_mut(first.parse::<usize>().unwrap()).unwrap(),
        _ if value.is_null() && rest.is_none() => {
            object.as_object_mut().unwrap().remove(first);
            return;
        }
        _ => object
            .as_object_mut()
            .unwrap()
            .entry(first)
            .or_insert_with(|| json!({})),
    };
    match rest {
        Some(rest) => set(child, rest, value),
        None => *child = value.clone(),
    }
}

/// What the API server answers, field first.
fn answers(job: &Value, old: Option<&Value>) -> Vec<String> {
    let crd = serde_json::to_value(pytorchjob::api::crd()).unwrap();
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
    let errors = Validator::new().validate(schema, job, old).err();
    let mut answers: Vec<String> = errors
        .iter()
        .flat_map(kube_cel::ValidationErrors::as_slice)
        .map(|e| format!("{}: {}", e.field_path.trim_start_matches('.'), e.message))
        .collect();
    answers.sort();
    answers
}

#[track_caller]
fn refused(edits: &[(&str, Value)], expected: &[&str]) {
    assert_eq!(answers(&job(edits), None), expected, "{edits:?}");
}

#[track_caller]
fn accepted(edits: &[(&str, Value)]) {
    refused(edits, &[]);
}

#[test]
fn names_fit_the_names_of_pods_and_services() {
    let label = "metadata.name: should match: a DNS-1035 label must consist of lower case alphanumeric characters or \
                 '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
                 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?'): it becomes the name of a \
                 Service";
    let long = |limit: u32| {
        format!(
            "metadata.name: must be no more than {limit} characters with these replicas: the names of its pods and \
             Services add \"-<replica type>-<index>\" to it and must be no more than 63 characters"
        )
    };
    let workers = "spec.pytorchReplicaSpecs.Worker.replicas";
    let name = |n: usize| ("metadata.name", json!("a".repeat(n)));
    for bad in ["1job", "a.b", "a-", "A"] {
        refused(&[("metadata.name", json!(bad))], &[label]);
    }
    accepted(&[name(54)]);
    refused(&[name(55)], &[&long(54)]);
    accepted(&[name(54), (workers, json!(10))]);
    refused(&[name(54), (workers, json!(11))], &[&long(53)]);
    refused(&[name(52), (workers, json!(1001))], &[&long(51)]);
    refused(
        &[name(55), ("spec.pytorchReplicaSpecs.Worker", Value::Null)],
        &[&long(54)],
    );
}

#[test]
fn replica_types_are_master_and_worker() {
    let map = "spec.pytorchReplicaSpecs";
    let empty = "spec.pytorchReplicaSpecs: must be specified, with at least one replica type of \"Master\", \"Worker\"";
    refused(&[(map, json!({}))], &[empty]);
    for bad in ["Foo", "workers", "slave"] {
        let answer =
            format!("{map}: unsupported replica type \"{bad}\": supported values: \"Master\", \"Worker\"");
        let replica = job(&[])
            .pointer("/spec/pytorchReplicaSpecs/Worker")
            .unwrap()
            .clone();
        refused(&[(&format!("{map}.{bad}"), replica)], &[&answer]);
    }
}

#[test]
fn replicas_are_in_range() {
    let master = "spec.pytorchReplicaSpecs.Master.replicas";
    for bad in [0, 2] {
        refused(
            &[(master, json!(bad))],
            &["spec.pytorchReplicaSpecs.Master.replicas: must be 1"],
        );
    }
    accepted(&[(master, Value::Null)]);
    let none = [
        ("spec.pytorchReplicaSpecs.Master", Value::Null),
        ("spec.pytorchReplicaSpecs.Worker.replicas", json!(0)),
    ];
    let answer =
        "spec.pytorchReplicaSpecs: must have at least one replica: all replica types have replicas 0";
    refused(&none, &[answer]);
    accepted(&[("spec.pytorchReplicaSpecs.Worker", json!({ "replicas": 0 }))]);
}

#[test]
fn templates_have_the_training_container() {
    let worker = "spec.pytorchReplicaSpecs.Worker";
    let missing = format!("{CONTAINERS}: must be specified, with one container named pytorch");
    for nothing in [json!({}), json!({ "replicas": 1 }), json!({ "template": {} })] {
        refused(&[(worker, nothing)], &[&missing]);
    }
    let containers = format!("{worker}.template.spec.containers");
    refused(&[(&containers, json!([]))], &[&missing]);
    let other = json!([{ "name": "main", "image": "i" }]);
    let answer = format!(
        "{CONTAINERS}: must have at least one container with name pytorch: the one whose exit code is the pod's"
    );
    refused(&[(&containers, other)], &[&answer]);
    let image = format!("{CONTAINERS}[0].image: must be required");
    for none in [
        json!([{ "name": "pytorch" }]),
        json!([{ "name": "pytorch", "image": "" }]),
    ] {
        refused(&[(&containers, none)], &[&image]);
    }
}

#[test]
fn elastic_policy_fits_the_replicas() {
    let no_worker = ("spec.pytorchReplicaSpecs.Worker", Value::Null);
    let answer = "spec.pytorchReplicaSpecs.Worker: must be configured if elastic policy is used";
    refused(
        &[no_worker, ("spec.elasticPolicy.minReplicas", json!(1))],
        &[answer],
    );
    let range = |min: u32, max: u32| {
        (
            "spec.elasticPolicy",
            json!({ "minReplicas": min, "maxReplicas": max }),
        )
    };
    accepted(&[range(2, 2)]);
    let answer = "spec.elasticPolicy.minReplicas: must be no more than spec.elasticPolicy.maxReplicas";
    refused(&[range(3, 2)], &[answer]);
    let both = [
        ("spec.nprocPerNode", json!("2")),
        ("spec.elasticPolicy.nProcPerNode", json!(2)),
    ];
    accepted(&both[..1]);
    accepted(&both[1..]);
    refused(
        &both,
        &["spec.elasticPolicy.nProcPerNode: must not be used with spec.nprocPerNode"],
    );
}

#[test]
fn manager_and_queue_do_not_change() {
    let manager = |value: Option<&str>| job(&[("spec.runPolicy.managedBy", json!(value))]);
    let (ours, theirs) = (
        Some("kubeflow.org/training-operator"),
        Some("kueue.x-k8s.io/multikueue"),
    );
    let immutable = ["spec.runPolicy.managedBy: field is immutable"];
    for (old, new) in [(ours, theirs), (ours, None), (None, theirs)] {
        assert_eq!(
            answers(&manager(new), Some(&manager(old))),
            immutable,
            "{old:?} to {new:?}"
        );
    }
    for same in [ours, theirs, None] {
        assert!(answers(&manager(same), Some(&manager(same))).is_empty());
    }
    let queue = |value: Option<&str>| {
        job(&[
            ("spec.runPolicy.schedulingPolicy", json!({})),
            ("spec.runPolicy.schedulingPolicy.queue", json!(value)),
        ])
    };
    let answer = "spec.runPolicy.schedulingPolicy.queue: spec.runPolicy.schedulingPolicy.queue is immutable";
    assert_eq!(answers(&queue(Some("b")), Some(&queue(Some("a")))), [answer]);
    assert!(answers(&queue(Some("a")), Some(&queue(None))).is_empty());
    assert!(answers(&queue(None), Some(&queue(Some("a")))).is_empty());
}
