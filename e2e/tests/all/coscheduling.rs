//! The real scheduler of scheduler-plugins and its pod groups, made by the test and by the operator: all of a group is
//! placed, or nothing.
//!
//! It has to run in the cluster: `cargo xtask cluster add scheduler-plugins`.

use e2e::gang::GangScheduler;
use e2e::{Space, TOOLBOX, find, kubectl, must, script, wait_for};
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

fn placed(space: &Space, pods: &[&str]) -> Vec<String> {
    let on_a_node = |pod: &str| space.get("pod", pod).unwrap()["spec"]["nodeName"].is_string();
    let placed = pods.iter().filter(|pod| on_a_node(pod));
    placed.map(|pod| (*pod).to_owned()).collect()
}

#[test]
fn coscheduling_places_a_group_as_a_whole_or_not_at_all() {
    let _alone = e2e::alone(e2e::Exclusive::Cluster);
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
    assert!(placed(&space, &pods).is_empty());
    group(&space, "waits", 1);
    let first = wait_for("one of them to be placed", || placed(&space, &pods).pop());
    space.must(&["delete", "pod", &first, "--wait"]);
    let other = pods.into_iter().find(|pod| *pod != first).unwrap();
    space.pod_until(other, "Running");
}

const GROUPS: &str = "podgroups.scheduling.x-k8s.io";

/// A job of three workers with a seat each that end when they are told to.
fn job(name: &str) -> Value {
    let run = "until [ -e /tmp/go ]; do sleep 1; done";
    let mut job = script(name, &[("Worker", 3)], "Never", run);
    let container = &mut job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0];
    container["resources"]["requests"][SEATS] = json!("1");
    container["resources"]["limits"] = json!({SEATS: "1"});
    job
}

/// Lets all workers of a job end well; the first decides, so it is the last.
fn finish(space: &Space, job: &str) {
    for index in [2, 1, 0] {
        let pod = format!("{job}-worker-{index}");
        space.pod_until(&pod, "Running");
        space.must(&["exec", &pod, "--", "touch", "/tmp/go"]);
    }
    space.until(job, "Succeeded");
    wait_for("its PodGroup to go", || {
        space.get(GROUPS, job).is_none().then_some(())
    });
}

#[test]
fn coscheduling_runs_jobs_that_do_not_fit_together_one_after_the_other() {
    let _alone = e2e::alone(e2e::Exclusive::Cluster);
    let _operator = GangScheduler::of(SCHEDULER);
    let _seats = Seats::new("4");
    let space = Space::new("coscheduling-jobs");
    space.apply(&job("first"));
    for index in 0..3 {
        let pod = space.pod_until(&format!("first-worker-{index}"), "Running");
        assert_eq!(pod["metadata"]["labels"][GROUP_LABEL], "first");
        assert_eq!(pod["spec"]["schedulerName"], SCHEDULER);
    }
    let group = space.get(GROUPS, "first").expect("a PodGroup");
    assert_eq!(group["spec"]["minMember"], 3);
    assert_eq!(group["spec"]["minResources"][SEATS], "3");

    // There is a seat for one of its pods.
    space.apply(&job("second"));
    wait_for("the second job's pods", || {
        (space.pods("second").len() == 3).then_some(())
    });
    let pods = ["second-worker-0", "second-worker-1", "second-worker-2"];
    refused(&space, &pods, "resource gap");
    wait_for("the second job to say that it waits", || {
        let waits = space.status("second")["waitingFor"].as_str()?.to_owned();
        waits.contains("cannot be scheduled").then_some(())
    });
    assert_eq!(placed(&space, &pods), [""; 0]);
    finish(&space, "first");
    // The plugin does not ask to be told of pods that end (pkg/coscheduling, `EventsToRegister`): without a change of the
    // group its pods are looked at again after minutes only.
    let mut looks = 0;
    wait_for("the second job's gang to be placed", || {
        looks += 1;
        let look = format!("trainyard.dev/look={looks}");
        space.must(&["annotate", GROUPS, "second", &look, "--overwrite"]);
        (placed(&space, &pods).len() == pods.len()).then_some(())
    });
    finish(&space, "second");
}
