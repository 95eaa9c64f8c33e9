use serde_json::json;

use super::*;
use crate::decode::{self, PriorityClass};

static KIND: common::KindInfo = common::KindInfo {
    kind: "TestJob",
    plural: "testjobs",
    controller: "testjob-controller",
    framework: "test",
    replicas_field: "replicaSpecs",
    ..common::KindInfo::COMMON
};

fn view() -> View {
    View::new([(Resource::jobs(&KIND), KIND.kind)])
}

/// Number of jobs, pods and Services.
fn counts(view: &View) -> (usize, usize, usize) {
    let ObjectCounts { jobs, pods, services } = view.counts();
    (jobs, pods, services)
}

fn job(name: &str, uid: &str, rv: u64) -> Object {
    let object = json!({
        "metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": rv.to_string()}, "spec": {}
    });
    Object::Job(Box::new(
        decode::job(&KIND, object.to_string().as_bytes()).unwrap(),
    ))
}

fn pod(name: &str, uid: &str, owner: &str, rv: u64, phase: &str) -> Object {
    let owners = json!([{"kind": "TestJob", "name": "j", "uid": owner, "controller": true}]);
    let object = json!({
        "metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": rv.to_string(), "ownerReferences": owners},
        "status": {"phase": phase}
    });
    Object::Pod(decode::pod(object.to_string().as_bytes()).unwrap())
}

fn touched(effects: &Effects) -> Vec<&str> {
    effects.touched.iter().map(|key| &*key.name).collect()
}

#[test]
fn a_change_of_a_pod_touches_its_job_and_a_repetition_does_not() {
    let mut view = view();
    assert_eq!(touched(&view.put(job("j", "J", 1))), ["j"]);
    assert_eq!(touched(&view.put(pod("p", "P", "J", 2, "Pending"))), ["j"]);
    assert!(touched(&view.put(pod("p", "P", "J", 3, "Pending"))).is_empty());
    assert_eq!(touched(&view.put(pod("p", "P", "J", 4, "Running"))), ["j"]);
    assert!(touched(&view.put(pod("x", "X", "somebody", 5, "Running"))).is_empty());
    assert_eq!(view.owned_objects(&Uid::new("J")).pods.len(), 1);
}

#[test]
fn a_removed_pod_is_reported_to_its_job_and_frees_its_name() {
    let mut view = view();
    view.put(job("j", "J", 1));
    view.put(pod("p", "P", "J", 2, "Running"));
    let effects = view.remove(&pod("p", "P", "J", 3, "Running"));
    assert_eq!(touched(&effects), ["j"]);
    assert_eq!(effects.freed, [(PODS, ObjectName::new("ns", "p"))]);
    assert_eq!(effects.removed.len(), 1);
}

#[test]
fn what_vanished_while_the_watch_was_down_wakes_its_owner() {
    let mut view = view();
    view.put(job("j", "J", 1));
    view.put(job("k", "K", 1));
    view.put(pod("p", "P", "J", 2, "Running"));
    view.put(pod("q", "Q", "K", 2, "Running"));
    let effects = view
        .replace(PODS, vec![pod("q", "Q", "K", 2, "Running")], 9)
        .unwrap();
    assert_eq!(touched(&effects), ["j"]);
    assert_eq!((effects.removed.len(), view.reached(PODS)), (1, 9));
}

#[test]
fn a_list_from_the_past_is_refused() {
    let mut view = view();
    view.advance(PODS, 10);
    view.put(pod("p", "P", "J", 10, "Running"));
    assert_eq!(
        view.replace(PODS, vec![], 9).unwrap_err(),
        StaleList { list: 9, view: 10 }
    );
    assert_eq!(counts(&view), (0, 1, 0));
    view.forget_version(PODS);
    view.replace(PODS, vec![], 9).unwrap();
}

#[test]
fn a_job_that_was_recreated_is_another_one() {
    let mut view = view();
    let resource = Resource::jobs(&KIND);
    view.put(job("j", "J1", 1));
    let effects = view.put(job("j", "J2", 5));
    assert_eq!((effects.ended.len(), touched(&effects)), (1, vec!["j"]));
    assert!(touched(&view.put(job("j", "J1", 3))).is_empty());
    assert!(view.remove(&job("j", "J1", 4)).ended.is_empty());
    assert!(
        touched(&view.put(pod("p", "P", "J1", 6, "Running"))).is_empty(),
        "a pod of the old job"
    );
    let effects = view.replace(resource, vec![], 20).unwrap();
    assert_eq!((effects.ended.len(), counts(&view).0), (1, 0));
}

#[test]
fn a_new_version_of_a_job_with_the_same_content_touches_nothing() {
    let mut view = view();
    view.put(job("j", "J", 1));
    assert!(touched(&view.put(job("j", "J", 2))).is_empty());
    let key = JobKey {
        kind: "TestJob",
        namespace: "ns".into(),
        name: "j".into(),
    };
    assert_eq!(view.job(&key).unwrap().raw().resource_version, "2");
}

fn batch_job(name: &str, uid: &str, rv: u64) -> Object {
    batch_job_of(name, uid, "J", rv)
}

fn batch_job_of(name: &str, uid: &str, owner: &str, rv: u64) -> Object {
    let owners = json!([{"kind": "TestJob", "name": "j", "uid": owner, "controller": true}]);
    let object = json!({
        "metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": rv.to_string(), "ownerReferences": owners},
        "status": {"failed": 1}
    });
    Object::BatchJob(decode::batch_job(object.to_string().as_bytes()).unwrap())
}

#[test]
fn pods_of_a_batch_job_touch_its_job_and_outlive_it() {
    let mut view = view();
    view.put(job("j", "J", 1));
    assert!(
        touched(&view.put(pod("j-launcher-x", "P", "B", 2, "Pending"))).is_empty(),
        "its batch Job is not known yet"
    );
    assert_eq!(touched(&view.put(batch_job("j-launcher", "B", 3))), ["j"]);
    assert_eq!(
        touched(&view.put(pod("j-launcher-x", "P", "B", 4, "Running"))),
        ["j"]
    );
    let owned = view.owned_objects(&Uid::new("J"));
    assert_eq!(
        (owned.pods.len(), owned.batch_jobs.len(), owned.batch_pods.len()),
        (0, 1, 1)
    );

    let gone = view.remove(&batch_job("j-launcher", "B", 5));
    let removed: Vec<_> = gone
        .removed
        .iter()
        .map(|(_, removed)| (&*removed.vanished.name, removed.vanished.restarts))
        .collect();
    assert_eq!(removed, [("j-launcher", 1)]);
    let owned = view.owned_objects(&Uid::new("J"));
    assert_eq!(
        (owned.batch_jobs.len(), owned.batch_pods.len()),
        (0, 1),
        "its pod is still there"
    );

    let gone = view.remove(&pod("j-launcher-x", "P", "B", 6, "Failed"));
    assert_eq!((touched(&gone), gone.removed.len()), (vec!["j"], 0));
    assert!(view.owned_objects(&Uid::new("J")).batch_pods.is_empty() && view.owners.has_no_batch_jobs());
}

#[test]
fn a_batch_job_that_becomes_another_jobs_takes_its_pods_along() {
    let mut view = view();
    view.put(job("j", "J", 1));
    view.put(job("k", "K", 1));
    view.put(batch_job("j-launcher", "B", 2));
    view.put(pod("j-launcher-x", "P", "B", 3, "Running"));
    let effects = view.put(batch_job_of("j-launcher", "B", "K", 4));
    assert_eq!(touched(&effects), ["j", "k"]);
    let there = |view: &View, uid: &str| {
        let owned = view.owned_objects(&Uid::new(uid));
        (owned.batch_jobs.len(), owned.batch_pods.len())
    };
    assert_eq!((there(&view, "J"), there(&view, "K")), ((0, 0), (1, 1)));
    view.remove(&batch_job_of("j-launcher", "B", "K", 5));
    view.remove(&pod("j-launcher-x", "P", "B", 6, "Failed"));
    assert!(view.owners.has_no_batch_jobs());
}

/// An operator that starts when a batch Job is gone and its pod is not yet must not create another beside it (chaos runs 6746,
/// 8394, 9138, 9818).
#[test]
fn a_pod_that_a_batch_job_has_left_behind_is_found_by_its_name() {
    let mut view = view();
    view.put(job("j", "J", 1));
    view.put(pod("j-launcher-x", "P", "B", 3, "Running"));
    let orphaned =
        |view: &View, namespace: &str, prefix: &str| view.orphaned_pod(namespace, prefix).map(|pod| pod.name);
    assert_eq!(
        orphaned(&view, "ns", "j-launcher-").as_deref(),
        Some("j-launcher-x")
    );
    assert_eq!(orphaned(&view, "other", "j-launcher-"), None);
    assert_eq!(orphaned(&view, "ns", "i-launcher-"), None);
    view.put(pod("j-launcher-x", "P", "B", 4, "Failed"));
    assert_eq!(orphaned(&view, "ns", "j-launcher-"), None, "it has ended");
    view.put(pod("j-launcher-y", "Q", "J", 5, "Running"));
    assert_eq!(orphaned(&view, "ns", "j-launcher-"), None, "a job's own");
    view.put(batch_job("j-launcher", "C", 6));
    view.put(pod("j-launcher-z", "R", "C", 7, "Running"));
    assert_eq!(
        orphaned(&view, "ns", "j-launcher-"),
        None,
        "of a batch Job that is known"
    );
}

#[test]
fn a_job_of_the_same_name_outlives_the_look_up_of_its_predecessor() {
    let mut view = view();
    let key = JobKey {
        kind: "TestJob",
        namespace: "ns".into(),
        name: "j".into(),
    };
    view.put(job("j", "J2", 20));
    view.absent(Resource::jobs(&KIND), &ObjectName::new("ns", "j"), 10);
    assert!(view.job(&key).is_some());
}

#[test]
fn when_the_store_has_gone_back_the_next_list_counts() {
    let mut view = view();
    let resource = Resource::jobs(&KIND);
    view.replace(resource, vec![job("j", "J", 90), job("gone", "G", 91)], 95)
        .unwrap();
    view.replace(PODS, vec![pod("p", "P", "J", 92, "Running")], 95)
        .unwrap();
    view.forget_version(resource);
    view.forget_version(PODS);
    let effects = view.replace(resource, vec![job("j", "J", 40)], 50).unwrap();
    assert!(effects.ended.iter().any(|key| &*key.name == "gone"));
    let removed = view.replace(PODS, vec![], 50).unwrap().removed;
    assert_eq!(removed.len(), 1);
    assert_eq!(counts(&view), (1, 0, 0));
}

fn node(name: &str, rv: u64, ready: &str) -> Object {
    let object = json!({
        "metadata": {"name": name, "resourceVersion": rv.to_string()},
        "status": {"conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    });
    Object::Node(decode::node(object.to_string().as_bytes(), Timestamp::MIN).unwrap())
}

fn on(pod: Object, name: &str) -> Object {
    let Object::Pod(mut pod) = pod else { return pod };
    Arc::make_mut(&mut pod.value).node = Some(name.into());
    Object::Pod(pod)
}

#[test]
fn a_change_of_a_node_touches_the_jobs_with_pods_on_it_and_a_heartbeat_none() {
    let mut view = view();
    for (name, uid) in [("j", "J"), ("k", "K"), ("l", "L")] {
        view.put(job(name, uid, 1));
    }
    view.put(on(pod("p", "P", "J", 2, "Running"), "a"));
    view.put(on(pod("q", "Q", "K", 3, "Running"), "b"));
    view.put(batch_job_of("l-launcher", "B", "L", 4));
    let now = "2026-01-01T01:00:00Z".parse().unwrap();
    view.put(on(pod("l-launcher-x", "R", "B", 5, "Running"), "a"));
    view.replace(NODES, vec![node("a", 1, "True"), node("b", 1, "Unknown")], 5)
        .unwrap();
    assert_eq!(
        touched(&view.node_watch_progressed(now)),
        ["k"],
        "its node was NotReady from the beginning"
    );
    assert!(touched(&view.put(node("a", 7, "True"))).is_empty());
    assert_eq!(touched(&view.put(node("a", 8, "Unknown"))), ["j", "l"]);
    assert!(touched(&view.put(node("a", 9, "Unknown"))).is_empty());
    assert!(touched(&view.node_watch_progressed(now)).is_empty());
    assert_eq!(touched(&view.put(node("a", 10, "True"))), ["j", "l"]);
    assert_eq!(touched(&view.remove(&node("b", 11, "Unknown"))), ["k"]);
    let owned = view.owned_objects(&Uid::new("K"));
    let unreachable = view.unreachable_nodes(&owned, &mut GoneNodes::new(), now);
    assert!(unreachable["b"].gone && unreachable["b"].since == now);
    assert_eq!(
        touched(&view.replace(NODES, vec![node("b", 12, "True")], 20).unwrap()),
        ["j", "k", "l"]
    );
}

#[test]
fn priority_classes_are_added_changed_and_removed() {
    let mut view = view();
    let class = |name: &str, value: i32, rv: u64| {
        let name = name.to_owned();
        Object::PriorityClass(PriorityClass { name, rv, value })
    };
    let held = |view: &View| {
        view.priorities()
            .iter()
            .map(|(n, v)| (n.clone(), *v))
            .collect::<Vec<_>>()
    };
    view.put(class("old", 1, 1));
    view.replace(PRIORITY_CLASSES, vec![class("high", 9, 2), class("low", 1, 2)], 2)
        .unwrap();
    view.put(class("low", 2, 3));
    view.remove(&class("high", 9, 4));
    assert_eq!(held(&view), [("low".to_owned(), 2)]);
}

/// A user who may create pods in another namespace could otherwise end a job with them.
#[test]
fn what_names_a_job_of_another_namespace_as_its_owner_is_none_of_its() {
    let mut view = view();
    view.put(job("j", "J", 1));
    let foreign = |of: &str| {
        let owners = json!([{"kind": "TestJob", "name": "j", "uid": of, "controller": true}]);
        let metadata = json!({
            "namespace": "elsewhere", "name": "x", "uid": format!("of-{of}"), "resourceVersion": "5", "ownerReferences": owners
        });
        json!({"metadata": metadata, "status": {"phase": "Failed"}}).to_string()
    };
    let pod = || Object::Pod(decode::pod(foreign("J").as_bytes()).unwrap());
    assert!(touched(&view.put(pod())).is_empty());
    let batch_job = Object::BatchJob(decode::batch_job(foreign("J").as_bytes()).unwrap());
    assert!(touched(&view.put(batch_job)).is_empty());
    let grandchild = decode::pod(foreign("of-J").replace("\"x\"", "\"y\"").as_bytes());
    assert!(touched(&view.put(Object::Pod(grandchild.unwrap()))).is_empty());
    let owned = view.owned_objects(&Uid::new("J"));
    assert!(owned.pods.is_empty() && owned.batch_jobs.is_empty() && owned.batch_pods.is_empty());
    let effects = view.remove(&pod());
    assert!(effects.touched.is_empty() && effects.removed.is_empty());
}
