//! The operator's own life: killed in the middle of its work, and replaced by another.

use std::path::Path;
use std::process::Command;

use e2e::incarnations::Watch;
use e2e::{SYSTEM, Space, must, script, wait_for};
use serde_json::{Value, json};

/// Kills the operator as a lack of memory would: without a word. On nodes that are elsewhere its pod is removed by force.
fn kill_operator() {
    if std::env::var_os("TRAINYARD_NODE_IS_HERE").is_some() {
        let process = wait_for("the operator's process", || operator_processes().pop());
        assert!(
            Command::new("kill")
                .args(["-9", &process])
                .status()
                .unwrap()
                .success()
        );
    } else {
        let pods = "--selector=app.kubernetes.io/name=trainyard-operator";
        must(&[
            "-n",
            SYSTEM,
            "delete",
            "pod",
            pods,
            "--grace-period=0",
            "--force",
            "--wait=false",
        ]);
    }
}

/// Processes of this machine that are an operator in a container.
fn operator_processes() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter(|id| is_operator(id).unwrap_or(false)).collect()
}

fn is_operator(id: &str) -> Option<bool> {
    let process = Path::new("/proc").join(id);
    let command = std::fs::read(process.join("cmdline")).ok()?;
    if !command.starts_with(b"/trainyard-operator\0run") {
        return Some(false);
    }
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
    let name = std::fs::read_to_string(Path::new("/proc").join(parent).join("comm")).ok()?;
    Some(name.starts_with("containerd-shim"))
}

fn deployment() -> Value {
    serde_json::from_str(&must(&[
        "-n",
        SYSTEM,
        "get",
        "deployment",
        "trainyard-operator",
        "-o",
        "json",
    ]))
    .unwrap()
}

/// Name of the process that leads.
fn leader() -> String {
    must(&[
        "-n",
        SYSTEM,
        "get",
        "lease",
        "trainyard-operator",
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ])
}

fn await_ready(replicas: u64) {
    wait_for("the operator's pods to be ready", || {
        let status = deployment()["status"].clone();
        let count = |field: &str| status[field].as_u64().unwrap_or(0);
        (count("readyReplicas") == replicas && count("replicas") == replicas).then_some(())
    });
}

#[test]
fn killed_twice_in_a_burst_nothing_is_doubled_or_lost() {
    let _alone = e2e::alone(e2e::Exclusive::Cluster);
    let space = Space::new("burst");
    let watch = Watch::start(|args| e2e::kubectl(&[&["-n", &space.name], args].concat()));
    let jobs: Vec<Value> = (0..20)
        .map(|i| {
            let roles = [("Master", 1), ("Worker", 1)];
            let mut job = script(&format!("j{i}"), &roles, "ExitCode", "sleep 2");
            // A master that is done before its worker has started would end the job.
            job["spec"]["successPolicy"] = json!("AllWorkers");
            job
        })
        .collect();
    let (first, second) = jobs.split_at(10);
    for (part, pods) in [(first, 5), (second, 25)] {
        space.apply(&json!({"apiVersion": "v1", "kind": "List", "items": part}));
        wait_for("the middle of the burst", || {
            (watch.read().len() >= pods).then_some(())
        });
        kill_operator();
    }
    for i in 0..20 {
        space.until(&format!("j{i}"), "Succeeded");
    }
    await_ready(1);
    let made = watch.read();
    println!("{} pods", made.len());
    assert_eq!(
        made.len(),
        40,
        "as many replicas as there should be, all of attempt 0"
    );
    for ((name, attempt), uids) in made {
        assert_eq!(attempt, "0", "{name} was made again");
        assert_eq!(uids.len(), 1, "{name} was made twice: {uids:?}");
    }
    for i in 0..20 {
        let status = space.status(&format!("j{i}"));
        assert!(
            status.get("restartCounts").is_none() && status.get("slots").is_none(),
            "j{i}: {status:#}"
        );
        for role in ["Master", "Worker"] {
            assert_eq!(
                status["replicaStatuses"][role]["succeeded"], 1,
                "j{i}: {status:#}"
            );
        }
    }
}

#[test]
fn the_leader_goes_and_the_other_takes_over() {
    let _alone = e2e::alone(e2e::Exclusive::Cluster);
    let space = Space::new("leader");
    let scale = |replicas: &str| {
        must(&[
            "-n",
            SYSTEM,
            "scale",
            "deployment/trainyard-operator",
            &format!("--replicas={replicas}"),
        ]);
    };
    await_ready(1);
    scale("2");
    await_ready(2);
    let before = leader();
    let (pod, _) = before.rsplit_once('_').expect("a pod's name and a number");
    must(&["-n", SYSTEM, "delete", "pod", pod, "--wait=false"]);
    space.apply(&script(
        "after",
        &[("Master", 1), ("Worker", 1)],
        "Never",
        "sleep 1",
    ));
    wait_for("another leader", || {
        Some(leader()).filter(|name| !name.is_empty() && *name != before)
    });
    space.until("after", "Succeeded");
    scale("1");
    await_ready(1);
    space.apply(&script(
        "alone",
        &[("Master", 1), ("Worker", 1)],
        "Never",
        "sleep 1",
    ));
    space.until("alone", "Succeeded");
}

#[test]
fn the_operator_keeps_to_the_restricted_standard() {
    let namespace: Value = serde_json::from_str(&must(&["get", "namespace", SYSTEM, "-o", "json"])).unwrap();
    assert_eq!(
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
    let pods = must(&[
        "-n",
        SYSTEM,
        "get",
        "pods",
        "-o",
        "jsonpath={.items[*].spec.containers[*].securityContext}",
    ]);
    assert!(pods.contains("\"readOnlyRootFilesystem\":true"), "{pods}");
    assert!(deployment()["status"]["readyReplicas"].as_u64() >= Some(1));
}
