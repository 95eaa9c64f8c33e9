//! The rules of the CRD, in both versions, each with a job that breaks it and the answer that the user gets; and what the
//! versions have in common.

use kube_cel::Validator;
use serde_json::{Value, json};

fn job(edit: impl FnOnce(&mut Value)) -> Value {
    let template = json!({ "spec": { "containers": [{ "name": "main", "image": "img:1" }] } });
    let mut job = json!({
        "apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob", "metadata": { "name": "j" },
        "spec": {
            "runPolicy": {},
            "mpiReplicaSpecs": { "Launcher": { "template": template }, "Worker": { "replicas": 2, "template": template } },
        },
    });
    edit(&mut job);
    job
}

fn schemas() -> Vec<(String, Value)> {
    let crd = serde_json::to_value(mpijob::api::crd()).unwrap();
    let versions = crd["spec"]["versions"].as_array().unwrap();
    let schema = |version: &Value| {
        (
            version["name"].as_str().unwrap().to_owned(),
            version["schema"]["openAPIV3Schema"].clone(),
        )
    };
    versions.iter().map(schema).collect()
}

#[track_caller]
fn answers(job: &Value, expected: &[&str]) {
    for (version, schema) in schemas() {
        let errors = Validator::new().validate(&schema, job, None).err();
        let mut answers: Vec<String> = errors
            .iter()
            .flat_map(kube_cel::ValidationErrors::as_slice)
            .map(|e| format!("{}: {}", e.field_path.trim_start_matches('.'), e.message))
            .collect();
        answers.sort();
        assert_eq!(answers, expected, "{version}");
    }
}

#[test]
fn there_is_one_launcher() {
    let map = "spec.mpiReplicaSpecs";
    answers(&job(|_| {}), &[]);
    answers(
        &job(|j| {
            drop(
                j["spec"]["mpiReplicaSpecs"]
                    .as_object_mut()
                    .unwrap()
                    .remove("Worker"),
            )
        }),
        &[],
    );
    answers(
        &job(|j| {
            drop(
                j["spec"]["mpiReplicaSpecs"]
                    .as_object_mut()
                    .unwrap()
                    .remove("Launcher"),
            )
        }),
        &[&format!("{map}.Launcher: must be specified")],
    );
    for count in [0, 2] {
        answers(
            &job(|j| j["spec"]["mpiReplicaSpecs"]["Launcher"]["replicas"] = json!(count)),
            &[&format!("{map}.Launcher.replicas: must be 1")],
        );
    }
    answers(
        &job(|j| j["spec"]["mpiReplicaSpecs"]["Master"] = j["spec"]["mpiReplicaSpecs"]["Worker"].clone()),
        &[&format!(
            "{map}: unsupported replica type \"Master\": supported values: \"Launcher\", \"Worker\""
        )],
    );
}

#[test]
fn names_fit_those_of_launcher_and_workers() {
    let named = |n: usize| job(|j| j["metadata"]["name"] = json!("a".repeat(n)));
    answers(&named(54), &[]); // 54 + "-launcher", "-worker-1"
    let long = "metadata.name: must be no more than 54 characters with these replicas: the names of its pods and Services \
                add \"-<replica type>-<index>\" to it and must be no more than 63 characters";
    answers(&named(55), &[long]);
}

#[test]
fn any_container_will_do() {
    answers(
        &job(|j| j["spec"]["mpiReplicaSpecs"]["Worker"]["template"] = json!({})),
        &[
            "spec.mpiReplicaSpecs.Worker.template.spec.containers: must be specified, with at least one container",
        ],
    );
}

#[test]
fn the_versions_differ_in_their_stamp_alone() {
    let mut schemas = schemas();
    let stamps: Vec<(String, Value)> = schemas
        .iter_mut()
        .map(|(version, schema)| {
            let field = &mut schema["properties"]["spec"]["properties"][mpijob::api::TRANSPORT];
            (
                version.clone(),
                field.as_object_mut().unwrap().remove("default").unwrap(),
            )
        })
        .collect();
    assert_eq!(
        stamps,
        [
            ("v2beta1".to_owned(), json!("SSH")),
            ("v1".to_owned(), json!("Exec"))
        ]
    );
    assert_eq!(schemas[0].1, schemas[1].1);
}

#[test]
fn both_are_served_and_one_is_stored() {
    let crd = mpijob::api::crd();
    assert_eq!(crd.metadata.name.as_deref(), Some("mpijobs.kubeflow.org"));
    let stored: Vec<&str> = crd
        .spec
        .versions
        .iter()
        .filter(|v| v.storage)
        .map(|v| &*v.name)
        .collect();
    assert_eq!(stored, ["v2beta1"]);
    assert!(crd.spec.versions.iter().all(|v| v.served));
    assert!(crd.spec.conversion.is_none());
    assert_eq!(
        crd.spec.names.short_names.as_deref(),
        Some(&["mpij".to_owned()][..])
    );
}
