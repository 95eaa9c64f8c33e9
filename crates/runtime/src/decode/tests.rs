use common::gang::PodGroupApi;
use common::observe::{ContainerState, Phase};
use serde_json::json;

use super::*;
use crate::resource::ObjectName;

fn labelled() -> Value {
    let mut labels = names::job_labels("pytorchjob-controller", "mw");
    labels.insert(names::REPLICA_TYPE.into(), "worker".into());
    labels.insert(names::REPLICA_INDEX.into(), "3".into());
    labels.insert(names::ATTEMPT.into(), "2".into());
    json!({
        "name": "mw-worker-3", "namespace": "team", "uid": "u-3", "resourceVersion": "77", "labels": labels,
        "managedFields": [{"manager": "x", "fieldsV1": {"f:spec": {}}}],
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "other"},
            {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": "mw", "uid": "job", "controller": true}
        ]
    })
}

fn read(value: &Value) -> ChildRecord<PodView> {
    pod(value.to_string().as_bytes()).unwrap()
}

#[test]
fn a_pod_that_was_just_created_is_pending_and_has_no_detail() {
    let got = read(&json!({"metadata": labelled(), "spec": {"containers": []}, "status": {"phase": ""}}));
    assert_eq!(
        (got.rv, got.owner, got.name),
        (77, Some(Uid::new("job")), ObjectName::new("team", "mw-worker-3"))
    );
    let PodView {
        name,
        uid,
        attempt,
        phase,
        deleting,
        forced,
        ready,
        node,
        gang,
        restarts,
        detail,
    } = &*got.value;
    assert_eq!((&**name, uid.as_str()), ("mw-worker-3", "u-3"));
    assert_eq!(
        (*attempt, *phase, *deleting, *forced, *ready),
        (Attempt(2), Phase::Pending, false, false, false)
    );
    assert_eq!((node, *restarts, detail), (&None, 0, &None));
    assert_eq!(*gang, None);
}

#[test]
fn a_pod_of_a_gang_has_the_api_of_its_pod_group() {
    let gang = |field: &str, value: Value| {
        let mut pod = json!({"metadata": labelled(), "spec": {"containers": []}});
        let (parent, field) = field.rsplit_once('|').unwrap();
        let target = pod.pointer_mut(parent).unwrap();
        target[field] = value;
        read(&pod).value.gang
    };
    let group = json!({"podGroupName": "mw"});
    assert_eq!(gang("/spec|schedulingGroup", group), Some(PodGroupApi::Native));
    let annotations = json!({"a": "b", (names::VOLCANO_GROUP): "mw", "c": "d"});
    assert_eq!(
        gang("/metadata|annotations", annotations),
        Some(PodGroupApi::Volcano)
    );
    assert_eq!(gang("/metadata|annotations", json!({"a": "b"})), None);
    assert_eq!(gang("/metadata|annotations", Value::Null), None);
    let label = format!("/metadata/labels|{}", names::COSCHEDULING_GROUP);
    assert_eq!(gang(&label, json!("mw")), Some(PodGroupApi::Coscheduling));
}

#[test]
fn a_pod_group_is_read_with_its_spec() {
    let object = json!({"metadata": labelled(), "spec": {"minMember": 3}, "status": {"phase": "Inqueue"}});
    let kind = ChildKind::PodGroup(PodGroupApi::Volcano);
    let got = child(kind, object.to_string().as_bytes()).unwrap().value;
    let group = got.pod_group.as_ref().unwrap();
    assert_eq!((got.kind, &group.spec), (kind, &json!({"minMember": 3})));
    assert_eq!(group.phase.as_deref(), Some("Inqueue"));
}

#[test]
fn a_priority_class_is_a_name_and_a_value() {
    let class = json!({"metadata": {"name": "high", "resourceVersion": "5", "uid": "u"}, "value": -7});
    let class = priority_class(class.to_string().as_bytes()).unwrap();
    assert_eq!((&*class.name, class.value, class.rv), ("high", -7, 5));
}

#[test]
fn a_failed_pod_has_all_details() {
    let mut metadata = labelled();
    metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let got = read(&json!({
        "metadata": metadata, "spec": {"nodeName": "n1", "containers": [{"name": "pytorch"}]},
        "status": {
            "phase": "Failed", "reason": "Evicted", "message": "low on \"memory\"",
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"},
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
            ],
            "initContainerStatuses": [{"name": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 0}}}],
            "containerStatuses": [
                {"name": "pytorch", "restartCount": 3, "state": {"terminated": {
                    "exitCode": 137, "reason": "OOMKilled", "message": "last words", "finishedAt": "2026-01-01T00:00:01Z"}}},
                {"name": "side", "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}},
                {"name": "new", "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}},
                {"name": "fine", "restartCount": 0, "state": {"running": {}}}
            ]
        }
    }));
    let view = &got.value;
    assert_eq!(
        (view.phase, view.deleting, view.ready, view.restarts),
        (Phase::Failed, true, true, 5)
    );
    assert_eq!(view.node.as_deref(), Some("n1"));
    let detail = view.detail.as_deref().unwrap();
    assert_eq!(detail.reason.as_deref(), Some("Evicted"));
    assert_eq!(detail.message.as_deref(), Some("low on \"memory\""));
    assert_eq!(detail.disruption.as_deref(), Some("EvictionByEvictionAPI"));
    assert_eq!(detail.unschedulable.as_deref(), Some("0/1 nodes"));
    let shown: Vec<_> = detail.containers.iter().map(|c| (&*c.name, c.init)).collect();
    assert_eq!(shown, [("i", true), ("pytorch", false), ("side", false)]);
    let finished_at = Some("2026-01-01T00:00:01Z".parse().unwrap());
    let (reason, message) = (Some("OOMKilled".into()), Some("last words".into()));
    assert_eq!(
        detail.containers[1].state,
        ContainerState::Terminated {
            exit_code: 137,
            reason,
            message,
            finished_at
        }
    );
    assert_eq!(
        detail.containers[2].state,
        ContainerState::Waiting {
            reason: "ImagePullBackOff".into(),
            message: Some("no".into())
        }
    );
}

#[test]
fn every_optional_field_of_a_pod_may_be_absent_or_null() {
    let full = json!({
        "metadata": labelled(),
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "conditions": [], "containerStatuses": [], "initContainerStatuses": null,
                   "reason": null, "message": null}
    });
    for part in ["spec", "status"] {
        let mut without = full.clone();
        without.as_object_mut().unwrap().remove(part);
        read(&without);
        without[part] = Value::Null;
        read(&without);
    }
    let mut bare = full;
    bare["metadata"]["labels"] = Value::Null;
    bare["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("ownerReferences");
    let got = read(&bare);
    assert_eq!((got.owner, got.value.attempt), (None, Attempt(0)));
}

#[test]
fn a_child_has_the_digest_of_the_planned_spec() {
    let digest = |annotations: Value| {
        let metadata = json!({"name": "j", "namespace": "n", "uid": "u", "resourceVersion": "3", "annotations": annotations});
        let read = child(
            ChildKind::Autoscaler,
            json!({"metadata": metadata}).to_string().as_bytes(),
        );
        read.unwrap().value.digest.as_deref().map(str::to_owned)
    };
    assert_eq!(
        digest(json!({(names::SPEC_DIGEST): "abc", "other": "a\"b"})).as_deref(),
        Some("abc")
    );
    assert_eq!(digest(json!({"other": "x"})), None);
    assert_eq!(digest(Value::Null), None);
}

#[test]
fn a_poison_object_is_an_error_not_a_panic() {
    for bad in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"metadata":{"name":1}}"#,
        r#"{"metadata":{"name":"a","uid":"u","resourceVersion":"x"}}"#,
    ] {
        assert!(pod(bad.as_bytes()).is_err(), "{bad}");
        assert!(child(ChildKind::Service, bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn restarts_of_sidecars_do_not_count() {
    let got = read(&json!({
        "metadata": labelled(),
        "spec": {
            "containers": [{"name": "proxy"}, {"name": "pytorch", "env": []}],
            "initContainers": [{"name": "wait"}, {"name": "mesh", "restartPolicy": "Always"}]
        },
        "status": {
            "phase": "Running",
            "initContainerStatuses": [{"name": "wait", "restartCount": 1}, {"name": "mesh", "restartCount": 4}],
            "containerStatuses": [{"name": "proxy", "restartCount": 5}, {"name": "pytorch", "restartCount": 2}]
        }
    }));
    assert_eq!(got.value.restarts, 3);
}

#[test]
fn a_pod_deleted_without_grace_period_is_forced() {
    let forced = |grace: &Value| {
        let mut metadata = labelled();
        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        metadata["deletionGracePeriodSeconds"] = grace.clone();
        read(&json!({"metadata": metadata})).value.forced
    };
    assert!(forced(&json!(0)));
    assert!(!forced(&json!(30)) && !forced(&Value::Null));
}
