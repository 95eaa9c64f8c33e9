//! What becomes of a job when one of its nodes is lost.

use e2e::incarnations::Watch;
use e2e::node::Spare;
use e2e::{SYSTEM, Space, TOOLBOX, find, kubectl, must, script, uid, wait_for};
use serde_json::{Value, json};

/// The operator with a limit of a test's own, and with its usual one again when the test ends, however it ends.
struct Limit;

const LIMIT: &str = "TRAINYARD_NODE_LOST_AFTER";

impl Limit {
    fn of(time: &str) -> Self {
        let limit = Self;
        must(&Self::set(&format!("{LIMIT}={time}")));
        must(&Self::rollout());
        limit
    }

    fn set(variable: &str) -> [&str; 6] {
        [
            "-n",
            SYSTEM,
            "set",
            "env",
            "deployment/trainyard-operator",
            variable,
        ]
    }

    fn rollout() -> [&'static str; 6] {
        let name = "deployment/trainyard-operator";
        ["-n", SYSTEM, "rollout", "status", name, "--timeout=120s"]
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        for args in [Self::set(&format!("{LIMIT}-")), Self::rollout()] {
            let output = kubectl(&args).output();
            if !output.is_ok_and(|output| output.status.success()) {
                println!("the operator keeps the test's limit");
            }
        }
    }
}

/// Wants to be on the spare node, and goes elsewhere without it.
fn prefer(spec: &mut Value, node: &Spare) {
    Spare::tolerate(spec);
    let there = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]});
    let term = json!({"weight": 100, "preference": {"matchExpressions": [there]}});
    spec["affinity"] = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}});
}

fn node_of(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

/// The pod of this name once it is not `old` any more and runs.
fn replacement(space: &Space, pod: &str, old: &str) -> Value {
    wait_for(&format!("the replacement of {pod}"), || {
        space
            .get("pod", pod)
            .filter(|p| uid(p) != old && p["status"]["phase"] == "Running")
    })
}

/// Every incarnation of a pod was made once, and this one so many times in all.
fn made_once_each(watch: &Watch, pod: &str, attempts: usize) {
    let made = watch.read();
    for (replica, uids) in &made {
        assert_eq!(uids.len(), 1, "{replica:?} was made twice: {uids:?}");
    }
    assert_eq!(
        made.keys().filter(|(name, _)| name == pod).count(),
        attempts,
        "{made:?}"
    );
}

fn watch(space: &Space) -> Watch {
    Watch::start(|args| kubectl(&[&["-n", &space.name], args].concat()))
}

/// A master here and a worker on the spare node. The worker ends well at its second attempt only.
fn job(name: &str, node: &Spare) -> Value {
    let run = "if [ $RANK = 0 ]; then until [ -e /tmp/end ]; do sleep 1; done; else sleep 600; fi";
    let mut job = script(name, &[("Master", 1), ("Worker", 1)], "Never", run);
    job["spec"]["runPolicy"] = json!({"backoffLimit": 0, "cleanPodPolicy": "Running"});
    prefer(
        &mut job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"],
        node,
    );
    job
}

fn waiting_for(space: &Space, job: &str, words: &[&str]) -> String {
    wait_for(&format!("{job} to wait for {words:?}"), || {
        let status = space.status(job);
        let text = status["waitingFor"].as_str()?.to_owned();
        words.iter().all(|word| text.contains(word)).then_some(text)
    })
}

/// The worker's node is gone, and the job knows whom to blame; then the master is told to end.
fn goes_on_elsewhere(space: &Space, job: &str, old: &Value, words: &[&str]) {
    let worker = format!("{job}-worker-0");
    let new = replacement(space, &worker, &uid(old));
    assert_ne!(node_of(&new), node_of(old));
    assert_eq!(new["metadata"]["labels"]["trainyard.dev/attempt"], "1");
    space.until(job, "Running");
    let status = space.status(job);
    let reason = status["slots"]["worker-0"]["reason"].as_str().unwrap().to_owned();
    println!("{reason}");
    assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
    assert_eq!(status["restartCounts"], json!({"disruptions": 1}));
    assert!(status["waitingFor"].is_null(), "{}", status["waitingFor"]);
    space.event(job, "PyTorchJobRestarting", words);
    space.must(&["exec", &format!("{job}-master-0"), "--", "touch", "/tmp/end"]);
    space.until(job, "Succeeded");
    assert_eq!(space.status(job)["restartCounts"], json!({"disruptions": 1}));
}

#[test]
fn a_worker_of_a_spare_node_that_is_lost_goes_on_elsewhere() {
    let _alone = e2e::alone(e2e::Exclusive::Cluster);
    let node = Spare::add("lost");
    let _limit = Limit::of("5s");
    let space = Space::new("lost");
    let watch = watch(&space);
    space.apply(&job("j", &node));
    space.until("j", "Running");
    let old = space.get("pod", "j-worker-0").unwrap();
    assert_eq!(node_of(&old), "lost");
    node.kill();
    let words = ["pod j-worker-0", "node lost (NotReady since"];
    goes_on_elsewhere(&space, "j", &old, &words);
    made_once_each(&watch, "j-worker-0", 2);
}

#[test]
fn a_spare_node_out_of_service_is_not_waited_for() {
    let _alone = e2e::alone(e2e::Exclusive::Cluster);
    let node = Spare::add("outage");
    let space = Space::new("outage");
    let watch = watch(&space);
    space.apply(&job("j", &node));
    space.until("j", "Running");
    let old = space.get("pod", "j-worker-0").unwrap();
    assert_eq!(node_of(&old), "outage");
    node.kill();
    // As who drains it would. Else the scheduler, which may learn of the taint later than we do, puts the next one there too.
    must(&["cordon", &node.name]);
    let text = waiting_for(&space, "j", &["pod j-worker-0 is on node outage (NotReady since"]);
    println!("{text}");
    space.event("j", "NodeNotReady", &["node outage", "it is given up at"]);
    assert_eq!(
        uid(&space.get("pod", "j-worker-0").unwrap()),
        uid(&old),
        "the limit is 5 minutes"
    );
    // With NoExecute Kubernetes' own eviction deletes by name, and may meet the next pod of that name.
    let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoSchedule";
    must(&["taint", "node", &node.name, taint]);
    goes_on_elsewhere(
        &space,
        "j",
        &old,
        &["pod j-worker-0", "node outage (NotReady since"],
    );
    made_once_each(&watch, "j-worker-0", 2);
}

#[test]
fn a_launcher_on_a_spare_node_that_is_lost_begins_anew() {
    let _alone = e2e::alone(e2e::Exclusive::Cluster);
    let node = Spare::add("lostmpi");
    let _limit = Limit::of("5s");
    let space = Space::of("mpij", "lostmpi");
    let pod = |command: &str| {
        let container = json!({
            "name": "mpi", "image": TOOLBOX, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        });
        json!({"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}})
    };
    let mut launcher = pod("until [ -e /tmp/end ]; do sleep 1; done");
    prefer(&mut launcher["spec"], &node);
    space.apply(&json!({
        "apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob", "metadata": {"name": "m"},
        "spec": {
            "runPolicy": {"cleanPodPolicy": "Running", "backoffLimit": 0},
            "mpiReplicaSpecs": {
                "Launcher": {"template": launcher},
                "Worker": {"replicas": 1, "template": pod("sleep 600")},
            },
        },
    }));
    space.until("m", "Running");
    let launchers = || {
        let mut pods = space.pods("m");
        pods.retain(|pod| {
            pod["metadata"]["name"]
                .as_str()
                .unwrap()
                .starts_with("m-launcher-")
        });
        pods
    };
    let old = launchers().pop().unwrap();
    assert_eq!(node_of(&old), "lostmpi");
    let worker = uid(&space.get("pod", "m-worker-0").unwrap());
    node.kill();
    let new = wait_for("the next launcher", || {
        launchers()
            .into_iter()
            .find(|pod| uid(pod) != uid(&old) && pod["status"]["phase"] == "Running")
    });
    assert_eq!(launchers().len(), 1, "two launchers at a time");
    assert_ne!(node_of(&new), "lostmpi");
    assert_eq!(
        uid(&space.get("pod", "m-worker-0").unwrap()),
        worker,
        "the worker stays"
    );
    space.event("m", "MPIJobRestarting", &["node lostmpi (NotReady since"]);
    let name = new["metadata"]["name"].as_str().unwrap();
    space.must(&["exec", name, "--", "touch", "/tmp/end"]);
    space.until("m", "Succeeded");
    let status = space.status("m");
    assert_eq!(status["restartCounts"], json!({"disruptions": 1}));
    assert!(find(&status, "Succeeded")["message"].is_string());
}
