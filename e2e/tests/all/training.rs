//! Real training: PyTorch over gloo in pods of the cluster, with what goes wrong in real clusters.

use std::time::Duration;

use e2e::{DIGITS, Space, conditions, holds, job, must, uid, wait_for};
use serde_json::{Value, json};

/// Training in a shell that stays in front, so that a test can kill the trainer as the kernel would.
const TRAIN: &str = "python3 /opt/trainyard/train.py --epochs=12 --epoch-seconds=2 --timeout=20 \
                     --checkpoint-dir=/checkpoints & echo $! > /tmp/pid; wait $!";

/// A training job whose checkpoints outlive its pods.
fn training(space: &Space, name: &str, replicas: &[(&str, u32)]) -> Value {
    let mut job = job(name, replicas, "ExitCode", DIGITS, &["sh", "-c", TRAIN]);
    job["spec"]["runPolicy"] = json!({"backoffLimit": 9});
    // Of this run alone: what a failed one left behind would be resumed.
    let folder = format!(
        "/var/lib/trainyard-cluster/volumes/{}-{}",
        space.name,
        std::process::id()
    );
    for (role, _) in replicas {
        let pod = &mut job["spec"]["pytorchReplicaSpecs"][*role]["template"]["spec"];
        pod["volumes"] = json!([{"name": "c", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}]);
        pod["containers"][0]["volumeMounts"] = json!([{"name": "c", "mountPath": "/checkpoints"}]);
    }
    job
}

fn accuracy(log: &str) -> f64 {
    let line = log
        .lines()
        .find_map(|l| l.split_once("test accuracy: "))
        .expect("an accuracy in the log");
    line.1.trim().parse().unwrap()
}

fn env(pod: &Value, name: &str) -> String {
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    env.iter().rfind(|e| e["name"] == name).unwrap()["value"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn the_digits_example_succeeds() {
    let manifest = "deploy/examples/pytorch-digits.yaml";
    must(&["delete", "--ignore-not-found", "--wait", "-f", manifest]);
    must(&["apply", "-f", manifest]);
    let status = wait_for("the example to end", || {
        let job = e2e::object("ptj", "default", "pytorch-digits").unwrap();
        let status = job["status"].clone();
        assert!(!holds(&status, "Failed"), "{status:#}");
        holds(&status, "Succeeded").then_some(status)
    });
    assert_eq!(
        conditions(&status),
        ["Created=True", "Running=False", "Succeeded=True"]
    );
    for (role, count) in [("Master", 1), ("Worker", 2)] {
        let counts = &status["replicaStatuses"][role];
        assert_eq!(counts["succeeded"], count, "Argo: successCondition");
        assert!(
            counts.get("active").is_none() && counts.get("failed").is_none(),
            "{counts}"
        );
    }
    assert!(status["startTime"].is_string() && status["completionTime"].is_string());
    // The SDK's get_job_logs finds the log by these labels.
    let selector = "-l=training.kubeflow.org/job-name=pytorch-digits,training.kubeflow.org/job-role=master";
    let log = must(&["-n", "default", "logs", selector, "--tail=-1"]);
    println!("{}", log.lines().rev().take(2).collect::<Vec<_>>().join("\n"));
    assert!(accuracy(&log) > 0.9);
    let table = must(&["-n", "default", "get", "ptj", "pytorch-digits"]);
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(
        words[..5],
        ["NAME", "STATE", "AGE", "pytorch-digits", "Succeeded"]
    );
    assert!(must(&["-n", "default", "get", "training"]).contains("pytorch-digits"));
    let events = must(&[
        "-n",
        "default",
        "get",
        "events",
        "--field-selector=involvedObject.name=pytorch-digits",
    ]);
    assert!(
        events.contains("SuccessfulCreatePod") && events.contains("PyTorchJobSucceeded"),
        "{events}"
    );
    must(&["delete", "--wait", "-f", manifest]);
}

/// Something befalls worker 1 in the middle of a run; what must be true in the end.
fn worker_1_comes_back(space: &Space, befall: impl FnOnce()) -> Value {
    space.apply(&training(space, "t", &[("Master", 1), ("Worker", 2)]));
    space.log_until("t-master-0", "epoch 2/12");
    let before = space.get("pod", "t-worker-1").unwrap();
    befall();
    let after = wait_for("worker 1 to be replaced", || {
        space
            .get("pod", "t-worker-1")
            .filter(|pod| uid(pod) != uid(&before))
    });
    let attempt = after["metadata"]["labels"]["trainyard.dev/attempt"]
        .as_str()
        .unwrap()
        .parse::<u32>();
    assert!(attempt.unwrap() >= 1);
    for name in ["RANK", "WORLD_SIZE", "MASTER_ADDR"] {
        assert_eq!(env(&after, name), env(&before, name), "{name}");
    }
    assert_eq!(env(&after, "RANK"), "2");
    space.until("t", "Succeeded");
    let log = space.must(&["logs", "t-master-0"]);
    assert!(log.contains("resumed from epoch"), "{log}");
    assert!(accuracy(&log) > 0.9);
    space.status("t")
}

#[test]
fn a_killed_worker_comes_back_and_the_run_resumes() {
    let space = Space::new("killed");
    let status = worker_1_comes_back(&space, || {
        space.must(&["exec", "t-worker-1", "--", "sh", "-c", "kill -9 $(cat /tmp/pid)"]);
    });
    space.event(
        "t",
        "PyTorchJobRestarting",
        &["pod t-worker-1", "exited with code 137"],
    );
    assert!(
        status["restartCounts"]["failures"].as_i64().unwrap() >= 1,
        "{status:#}"
    );
    assert!(
        status["slots"]["worker-1"]["attempt"].as_i64().unwrap() >= 1,
        "{status:#}"
    );
    println!("{}", status["restartCounts"]);
}

#[test]
fn a_deleted_worker_comes_back_and_the_run_resumes() {
    let space = Space::new("deleted");
    let status = worker_1_comes_back(&space, || {
        space.must(&["delete", "pod", "t-worker-1", "--wait=false"]);
    });
    space.event("t", "PyTorchJobRestarting", &["pod t-worker-1 was deleted"]);
    assert!(
        status["restartCounts"]["disruptions"].as_i64().unwrap() >= 1,
        "{status:#}"
    );
    println!("{}", status["restartCounts"]);
}

#[test]
fn an_elastic_job_loses_a_worker_and_finishes() {
    let space = Space::new("elastic");
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/examples/pytorch-elastic.yaml"
    ));
    let file = std::env::temp_dir().join(format!("trainyard-elastic-{}.yaml", std::process::id()));
    std::fs::write(
        &file,
        text.unwrap()
            .replace("namespace: default", &format!("namespace: {}", space.name)),
    )
    .unwrap();
    space.must(&["apply", "-f", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    let name = "pytorch-elastic";
    wait_for("training with three workers", || {
        let pods = space.pods(name);
        let log = |pod: &Value| {
            space
                .run(&["logs", pod["metadata"]["name"].as_str().unwrap()])
                .stdout
        };
        pods.iter()
            .any(|pod| String::from_utf8_lossy(&log(pod)).contains("epoch 2/"))
            .then_some(())
    });
    space.must(&["delete", "pod", "pytorch-elastic-worker-2", "--wait=false"]);
    space.event(
        name,
        "PyTorchJobRestarting",
        &["pod pytorch-elastic-worker-2 was deleted"],
    );
    space.until(name, "Succeeded");
    let logs = wait_for("an accuracy", || {
        let log = space.must(&[
            "logs",
            "--tail=-1",
            "-l",
            "training.kubeflow.org/job-name=pytorch-elastic",
        ]);
        log.contains("test accuracy").then_some(log)
    });
    assert!(accuracy(&logs) > 0.9);
    assert_eq!(space.status(name)["restartCounts"]["disruptions"], 1);
}

#[test]
fn workers_that_start_20_s_before_the_master_still_join() {
    let space = Space::new("early");
    // Plain PyTorch, without any patience of the script's own.
    let code = "import torch, torch.distributed as d; d.init_process_group('gloo'); t = torch.ones(1); \
                d.all_reduce(t); print('sum', int(t.item()), flush=True)";
    let mut job = job(
        "early",
        &[("Master", 1), ("Worker", 2)],
        "Never",
        DIGITS,
        &["python3", "-c", code],
    );
    // A gang scheduler places all pods together: the master is there, but says nothing for a while.
    let late = format!("sleep 30; exec python3 -c \"{code}\"");
    job["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", late]);
    space.apply(&job);
    for worker in ["early-worker-0", "early-worker-1"] {
        let pod = space.pod_until(worker, "Running");
        assert!(pod["spec"].get("initContainers").is_none());
    }
    std::thread::sleep(Duration::from_secs(20));
    for worker in ["early-worker-0", "early-worker-1"] {
        assert_eq!(
            space.get("pod", worker).unwrap()["status"]["phase"],
            "Running",
            "it waits for its master"
        );
    }
    space.until("early", "Succeeded");
    assert!(space.must(&["logs", "early-master-0"]).contains("sum 3"));
}

#[test]
fn workers_alone_find_each_other() {
    let space = Space::new("alone");
    let code = "import torch, torch.distributed as d; d.init_process_group('gloo'); t = torch.ones(1); \
                d.all_reduce(t); print('sum', int(t.item()), flush=True)";
    space.apply(&job(
        "env",
        &[("Worker", 2)],
        "Never",
        DIGITS,
        &["python3", "-c", code],
    ));
    let file = format!("echo \"{code}\" > /tmp/t.py && exec torchrun /tmp/t.py");
    let mut torchrun = job(
        "torchrun",
        &[("Worker", 2)],
        "Never",
        DIGITS,
        &["sh", "-c", &file],
    );
    torchrun["spec"]["nprocPerNode"] = json!("1");
    space.apply(&torchrun);
    for name in ["env", "torchrun"] {
        space.until(name, "Succeeded");
        assert!(
            space
                .must(&["logs", &format!("{name}-worker-0")])
                .contains("sum 2"),
            "{name}"
        );
        assert_eq!(space.status(name)["replicaStatuses"]["Worker"]["succeeded"], 2);
    }
}
