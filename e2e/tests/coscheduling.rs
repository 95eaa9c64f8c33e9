//! The real scheduler of scheduler-plugins and its pod groups: all of a group is placed, or nothing.
//!
//! It has to run in the cluster: `cargo xtask cluster add scheduler-plugins`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking and talk to people"
)]

use e2e::{Space, TOOLBOX, find, kubectl, must, wait_for};
use serde_json::{Value, json};

const SCHEDULER: &str = "coscheduling";
const GROUP_LABEL: &str = "scheduling.x-k8s.io/pod-group";
/// A resource that only this test has a use for: a group that waits takes nothing from other tests.
const SEATS: &str = "example.com/seats";

/// Seats on the node, until the end of the test.
struct Seats(String);

impl Seats {
    fn new(count: &str) -> Self {
        let node = e2e::node::common();
        let patch = json!({"status": {"capacity": {SEATS: count}}});
        patch_node(&node, &patch);
        wait_for("the node to offer its seats", || {
            let node: Value = serde_json::from_str(&must(&["get", "node", &node, "-o", "json"])).unwrap();
            (node["status"]["allocatable"][SEATS] == *count).then_some(())
        });
        Self(node)
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        patch_node(
            &self.0,
            &json!({"status": {"capacity": {SEATS: null}, "allocatable": {SEATS: null}}}),
        );
    }
}

fn patch_node(node: &str, patch: &Value) {
    let patch = patch.to_string();
    let _ = kubectl(&[
        "patch",
        "node",
        node,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ])
    .output();
}

fn group(space: &Space, name: &str, members: u32) {
    let group = json!({
        "apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup", "metadata": {"name": name},
        "spec": {"minMember": members},
    });
    if let Err(words) = space.try_apply(&group) {
        panic!("no pod groups in this cluster (`cargo xtask cluster add scheduler-plugins`): {words}");
    }
}

/// A pod of a group that takes some seats.
fn member(space: &Space, group: &str, name: &str, seats: &str) {
    let resources = json!({"requests": {SEATS: seats}, "limits": {SEATS: seats}});
    space.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {GROUP_LABEL: group}},
        "spec": {"schedulerName": SCHEDULER, "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": TOOLBOX, "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "600"], "resources": resources,
        }]},
    }));
}

/// Waits until the scheduler says of one of the pods that it is not placed, and why.
fn refused(space: &Space, pods: &[&str], words: &str) {
    wait_for(&format!("{pods:?} to be refused: {words}"), || {
        let messages = pods.iter().map(|pod| {
            let pod = space.get("pod", pod).unwrap();
            find(&pod["status"], "PodScheduled")["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        });
        let told = messages.into_iter().find(|message| message.contains(words))?;
        println!("{told}");
        Some(())
    });
}

fn placed(space: &Space, pods: [&str; 2]) -> Vec<String> {
    let on_a_node = |pod: &str| space.get("pod", pod).unwrap()["spec"]["nodeName"].is_string();
    pods.into_iter()
        .filter(|pod| on_a_node(pod))
        .map(str::to_owned)
        .collect()
}

#[test]
fn coscheduling_places_a_group_as_a_whole_or_not_at_all() {
    let space = Space::new("coscheduling");
    let _seats = Seats::new("3");
    group(&space, "fits", 2);
    member(&space, "fits", "a", "1");
    refused(&space, &["a"], "cannot find enough sibling pods");
    member(&space, "fits", "b", "1");
    for pod in ["a", "b"] {
        space.pod_until(pod, "Running");
    }
    space.must(&["delete", "pods", "--all", "--wait"]);

    // Any one of these would fit.
    let pods = ["c", "d"];
    group(&space, "waits", 2);
    for pod in pods {
        member(&space, "waits", pod, "2");
    }
    refused(&space, &pods, "rejected");
    assert!(placed(&space, pods).is_empty());
    group(&space, "waits", 1);
    let first = wait_for("one of them to be placed", || placed(&space, pods).pop());
    space.must(&["delete", "pod", &first, "--wait"]);
    let other = pods.into_iter().find(|pod| *pod != first).unwrap();
    space.pod_until(other, "Running");
}
