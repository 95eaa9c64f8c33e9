//! Every rule of the CRD, each with a job that breaks it and the answer that the user gets.
//!
//! What the schema itself refuses (types, enums, required fields) is left to a real API server.

use kube_cel::Validator;
use serde_json::{Value, json};

const CONTAINERS: &str = "spec.tfReplicaSpecs.Worker.template.spec.containers";

/// A job that is right, with some fields set; null removes a field.
fn job(edits: &[(&str, Value)]) -> Value {
    let template = json!({ "spec": { "containers": [{ "name": "tensorflow", "image": "img:1" }] } });
    let mut job = json!({
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": { "name": "j" },
        "spec": {
            "runPolicy": {},
            "tfReplicaSpecs": {
                "Chief": { "replicas": 1, "template": template },
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
    let crd = serde_json::to_value(tfjob::api::crd()).unwrap();
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
    let workers = "spec.tfReplicaSpecs.Worker.replicas";
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
        &[name(56), ("spec.tfReplicaSpecs.Worker", Value::Null)],
        &[&long(55)],
    );
}

const ROLES: &str = "\"Chief\", \"Master\", \"PS\", \"Worker\", \"Evaluator\"";

#[test]
fn replica_types_are_known_ones_in_any_case() {
    let map = "spec.tfReplicaSpecs";
    let empty = format!("{map}: must be specified, with at least one replica type of {ROLES}");
    refused(&[(map, json!({}))], &[&empty]);
    let replica = || job(&[]).pointer("/spec/tfReplicaSpecs/Worker").unwrap().clone();
    for bad in ["Foo", "workers", "Launcher"] {
        let answer = format!("{map}: unsupported replica type \"{bad}\": supported values: {ROLES}");
        refused(&[(&format!("{map}.{bad}"), replica())], &[&answer]);
    }
    accepted(&[(
        map,
        json!({ "ps": replica(), "WORKER": replica(), "evaluator": replica() }),
    )]);
}

#[test]
fn chief_and_master_are_one_task() {
    let map = "spec.tfReplicaSpecs";
    let replica = || job(&[]).pointer("/spec/tfReplicaSpecs/Chief").unwrap().clone();
    let answer = format!("{map}: must not have more than 1 Chief or Master role");
    for other in ["Master", "master"] {
        refused(&[(&format!("{map}.{other}"), replica())], &[&answer]);
    }
    accepted(&[(map, json!({ "Master": replica() }))]);
}

#[test]
fn replicas_are_in_range() {
    let chief = "spec.tfReplicaSpecs.Chief.replicas";
    for bad in [0, 2] {
        refused(
            &[(chief, json!(bad))],
            &["spec.tfReplicaSpecs.Chief.replicas: must be 1"],
        );
    }
    accepted(&[(chief, Value::Null)]);
    let none = [
        ("spec.tfReplicaSpecs.Chief", Value::Null),
        ("spec.tfReplicaSpecs.Worker.replicas", json!(0)),
    ];
    let answer = "spec.tfReplicaSpecs: must have at least one replica: all replica types have replicas 0";
    refused(&none, &[answer]);
    accepted(&[("spec.tfReplicaSpecs.Worker", json!({ "replicas": 0 }))]);
}

/// The schema itself refuses other values of these: enum and type.
#[test]
fn own_fields_are_typed() {
    let crd = serde_json::to_value(tfjob::api::crd()).unwrap();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let field = |name: &str| crd.pointer(&format!("{spec}/{name}")).unwrap();
    assert_eq!(
        field("successPolicy")["enum"],
        json!(["", "AllWorkers", "Leader"])
    );
    assert_eq!(field("enableDynamicWorker")["type"], "boolean");
}

#[test]
fn workers_can_be_scaled() {
    let crd = serde_json::to_value(tfjob::api::crd()).unwrap();
    let scale = crd.pointer("/spec/versions/0/subresources/scale").unwrap();
    assert_eq!(
        scale,
        &json!({
            "specReplicasPath": ".spec.tfReplicaSpecs.Worker.replicas",
            "statusReplicasPath": ".status.replicaStatuses.Worker.active",
            "labelSelectorPath": ".status.replicaStatuses.Worker.selector",
        })
    );
    let names = crd.pointer("/spec/names").unwrap();
    assert_eq!(
        (&names["shortNames"], &names["categories"]),
        (&json!(["tfj"]), &json!(["training"]))
    );
}

#[test]
fn templates_have_the_training_container() {
    let worker = "spec.tfReplicaSpecs.Worker";
    let missing = format!("{CONTAINERS}: must be specified, with one container named tensorflow");
    for nothing in [json!({}), json!({ "replicas": 1 }), json!({ "template": {} })] {
        refused(&[(worker, nothing)], &[&missing]);
    }
    let containers = format!("{worker}.template.spec.containers");
    refused(&[(&containers, json!([]))], &[&missing]);
    let other = json!([{ "name": "main", "image": "i" }]);
    let answer = format!(
        "{CONTAINERS}: must have at least one container with name tensorflow: the one whose exit code is the pod's"
    );
    refused(&[(&containers, other)], &[&answer]);
    let image = format!("{CONTAINERS}[0].image: must be required");
    for none in [
        json!([{ "name": "tensorflow" }]),
        json!([{ "name": "tensorflow", "image": "" }]),
    ] {
        refused(&[(&containers, none)], &[&image]);
    }
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
