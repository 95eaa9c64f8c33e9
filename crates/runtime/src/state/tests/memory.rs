//! Memory that a pod takes: measured in a separate process, as the kernel counts it.

use std::process::Command;

use serde_json::{Value, json};

use super::{KIND, read_job, state};
use crate::decode;
use crate::object::Object;
use crate::resource::{PODS, Resource};

/// Number of pods.
const PODS_HELD: usize = 4000;
/// Smallest number of bytes of a pod as the API server sends it.
const SENT: usize = 9000;
/// Largest number of bytes of a pod in memory: its view, two indices, and the overhead of the allocator.
const HELD: usize = 1024;
/// The test that runs in a separate process.
const MEASURE: &str = "state::tests::memory::measure";

/// Template of pods. They are as large as real ones, since the view keeps neither the pod spec nor `managedFields`.
struct Mould(String);

impl Mould {
    fn new() -> Self {
        let env: Vec<Value> = (0..60)
            .map(|n| json!({"name": format!("VARIABLE_{n}"), "value": format!("value-of-{n}")}))
            .collect();
        let fields = json!({"f:spec": {"f:containers": "x".repeat(4500)}});
        let pod = json!({
            "metadata": {
                "namespace": "team", "name": "training-JOB-worker-POD", "uid": "00000000-0000-4000-8000-00000POD",
                "resourceVersion": "VERSION", "labels": {"training.kubeflow.org/job-name": "training-JOB"},
                "ownerReferences": [{"kind": KIND.kind, "name": "j", "uid": "00000000-0000-4000-8001-00000JOB", "controller": true}],
                "managedFields": [{"manager": "operator", "fieldsV1": fields}],
            },
            "spec": {"nodeName": "node-JOB", "containers": [{"name": "pytorch", "image": "i:1", "env": env}], "volumes": "v".repeat(1500)},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "pytorch", "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]},
        });
        let text = pod.to_string();
        assert!(text.len() >= SENT, "{}", text.len());
        Self(text)
    }

    /// Pod `n`, at a version; 64 of them belong to a job.
    fn pod(&self, n: usize, version: usize) -> Object {
        let text = self.0.replace("JOB", &format!("{:07}", n / 64));
        let text = text.replace("POD", &format!("{n:07}"));
        let text = text.replace("VERSION", &version.to_string());
        Object::Pod(decode::pod(text.as_bytes()).unwrap())
    }
}

/// Resident bytes of this process, now and at most.
fn resident() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let bytes = |name: &str| {
        line(name)
            .trim()
            .trim_end_matches(" kB")
            .parse::<usize>()
            .unwrap()
            * 1024
    };
    (bytes("VmRSS:"), bytes("VmHWM:"))
}

/// Measures the growth of the view when a watch adds all pods, and when it lists them again.
#[test]
#[ignore = "run by the test below in a separate process"]
fn measure() {
    let (state, mould) = (state(), Mould::new());
    state.put(Resource::jobs(&KIND), read_job(&super::job()));
    // Allocations that are made once.
    for version in 2..10 {
        state.put(PODS, mould.pod(0, version));
    }
    let (before, _) = resident();
    for n in 0..PODS_HELD {
        state.put(PODS, mould.pod(n, n + 10));
    }
    let (grown, _) = resident();
    assert_eq!(state.counts().pods, PODS_HELD);
    for round in 1..=3 {
        let version = 100_000 * round;
        let list = (0..PODS_HELD).map(|n| mould.pod(n, version + n)).collect();
        let version = u64::try_from(version + PODS_HELD).unwrap();
        state.replace(PODS, list, version).unwrap();
    }
    let (after, most) = resident();
    println!(
        "MEASURED {} {} {}",
        grown.saturating_sub(before),
        after - before,
        most - before
    );
}

/// Memory grew with all that the API server sends of a pod, or with each relist (Mellanox/network-operator#3173,
/// kai-scheduler/KAI-Scheduler#1845, kube#1209).
#[test]
#[cfg(target_os = "linux")]
fn a_pod_takes_less_than_a_kilobyte_and_a_relist_twice_that_at_most() {
    let own = std::env::current_exe().unwrap();
    let ran = Command::new(own)
        .args([MEASURE, "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let measured = text
        .lines()
        .find_map(|line| line.split_once("MEASURED "))
        .unwrap_or_else(|| panic!("{ran:?}"));
    let numbers: Vec<usize> = measured
        .1
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    let each: Vec<usize> = numbers.iter().map(|bytes| bytes / PODS_HELD).collect();
    println!("bytes for each pod: {each:?}");
    assert!(each[0] > 100, "nothing was measured: {text}");
    assert!(each[0] < HELD, "grown: {each:?}");
    assert!(each[1] < 2 * HELD && each[2] < 2 * HELD, "listed again: {each:?}");
}
