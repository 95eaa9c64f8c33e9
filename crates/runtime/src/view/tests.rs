use serde_json::json;

use super::*;
use crate::decode;

static KIND: common::KindInfo = common::KindInfo {
    kind: "TestJob",
    group: "kubeflow.org",
    version: "v1",
    plural: "testjobs",
    controller: "testjob-controller",
    framework: "test",
    replicas_field: "replicaSpecs",
    container: "test",
    port_name: "port",
    port: 1,
    roles: &[],
    default_restart_policy: common::api::RestartPolicy::Never,
    scaled_role: None,
};

fn view() -> View {
    View::new([(Resource::jobs(&KIND), KIND.kind)])
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
fn news_of_a_pod_touches_its_job_and_a_repetition_does_not() {
    let mut view = view();
    assert_eq!(touched(&view.put(job("j", "J", 1))), ["j"]);
    assert_eq!(touched(&view.put(pod("p", "P", "J", 2, "Pending"))), ["j"]);
    assert!(touched(&view.put(pod("p", "P", "J", 3, "Pending"))).is_empty());
    assert_eq!(touched(&view.put(pod("p", "P", "J", 4, "Running"))), ["j"]);
    assert!(touched(&view.put(pod("x", "X", "somebody", 5, "Running"))).is_empty());
    assert_eq!(view.children(&Uid::new("J")).0.len(), 1);
}

#[test]
fn a_pod_that_goes_is_lost_to_its_job_and_frees_its_name() {
    let mut view = view();
    view.put(job("j", "J", 1));
    view.put(pod("p", "P", "J", 2, "Running"));
    let effects = view.remove(&pod("p", "P", "J", 3, "Running"));
    assert_eq!(touched(&effects), ["j"]);
    assert_eq!(effects.freed, [(PODS, ObjectName::new("ns", "p"))]);
    assert_eq!(effects.lost_pods.len(), 1);
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
    assert_eq!((effects.lost_pods.len(), view.reached(PODS)), (1, 9));
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
    assert_eq!(view.sizes(), (0, 1, 0));
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
    assert_eq!((effects.ended.len(), view.sizes().0), (1, 0));
}

#[test]
fn a_new_version_of_a_job_that_says_the_same_wakes_nobody() {
    let mut view = view();
    view.put(job("j", "J", 1));
    assert!(touched(&view.put(job("j", "J", 2))).is_empty());
    let key = view.jobs.keys().next().cloned().unwrap();
    assert_eq!(view.job(&key).unwrap().raw().resource_version, "2");
}
