//! Jobs as Volcano admits them. Volcano itself does not run: the test says of the PodGroup what Volcano would say.

use e2e::gang::GangScheduler;
use e2e::{Space, kubectl, must, script, uid, wait_for};
use serde_json::{Value, json};

const GROUPS: &str = "podgroups.scheduling.volcano.sh";
const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crds/scheduling.volcano.sh_podgroups.yaml"
);

/// The definition of Volcano's PodGroups, until the end of the test. Where Volcano has brought its own, that is not touched,
/// and the test fails.
struct Definition;

impl Definition {
    /// By its label, which Volcano's own does not have.
    const DELETE: [&str; 5] = [
        "delete",
        "customresourcedefinitions",
        "--selector=app.kubernetes.io/part-of=trainyard-e2e",
        "--ignore-not-found",
        "--wait",
    ];

    fn new() -> Self {
        must(&Self::DELETE);
        must(&["create", "-f", FILE]);
        let name = format!("customresourcedefinition/{GROUPS}");
        must(&["wait", "--for=condition=Established", &name, "--timeout=60s"]);
        Self
    }
}

impl Drop for Definition {
    fn drop(&mut self) {
        let _ = kubectl(&Self::DELETE).output();
    }
}

fn patch(space: &Space, patch: &Value) {
    space.must(&["patch", "ptj", "v", "--type=merge", "-p", &patch.to_string()]);
}

/// Waits until the job waits in its queue, and answers with its PodGroup.
fn queued(space: &Space) -> Value {
    wait_for("v to wait in its queue", || {
        let waits = space.status("v")["waitingFor"].clone();
        (waits == "PodGroup v waits in queue research").then_some(())
    });
    assert_eq!(space.pods("v"), [Value::Null; 0]);
    let group = space.get(GROUPS, "v").expect("a PodGroup");
    assert_eq!(group["spec"]["queue"], "research");
    assert_eq!(group["spec"]["minMember"], 2);
    group
}

#[test]
fn volcano_admits_a_job_before_its_pods_are_made() {
    let _definition = Definition::new();
    let _operator = GangScheduler::of("volcano");
    let space = Space::new("volcano");
    let mut job = script("v", &[("Worker", 2)], "Never", "true");
    job["spec"]["runPolicy"] = json!({"suspend": false, "schedulingPolicy": {"queue": "research"}});
    space.apply(&job);
    let first = queued(&space);
    assert!(space.status("v").get("startTime").is_none());

    let admitted = json!({"status": {"phase": "Inqueue"}}).to_string();
    space.must(&[
        "patch",
        GROUPS,
        "v",
        "--subresource=status",
        "--type=merge",
        "-p",
        &admitted,
    ]);
    let pods = wait_for("its pods", || {
        Some(space.pods("v")).filter(|pods| pods.len() == 2)
    });
    for pod in pods {
        let annotations = &pod["metadata"]["annotations"];
        assert_eq!(annotations["scheduling.k8s.io/group-name"], "v");
        assert_eq!(annotations["volcano.sh/task-spec"], "worker");
        assert_eq!(pod["spec"]["schedulerName"], "volcano");
    }
    wait_for("v to have begun", || {
        space.status("v")["startTime"].is_string().then_some(())
    });

    patch(&space, &json!({"spec": {"runPolicy": {"suspend": true}}}));
    wait_for("the PodGroup and the pods to go", || {
        (space.get(GROUPS, "v").is_none() && space.pods("v").is_empty()).then_some(())
    });
    patch(&space, &json!({"spec": {"runPolicy": {"suspend": false}}}));
    assert_ne!(uid(&queued(&space)), uid(&first));
    space.must(&["delete", "ptj", "v"]);
    wait_for("the PodGroup to go with its job", || {
        space.get(GROUPS, "v").is_none().then_some(())
    });
}
