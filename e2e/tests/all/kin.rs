//! Real training with XGBoost, JAX, Paddle and MXNet: the generated examples as they are, and a run that loses a process.

use e2e::{Space, conditions, find, holds, must, uid, wait_for};
use serde_json::{Value, json};

/// An example and what comes of it.
struct Run {
    framework: &'static str,
    kind: &'static str,
    short: &'static str,
    map: &'static str,
    /// Pods that succeed, by role.
    succeeded: &'static [(&'static str, u32)],
    message: &'static str,
    /// What the log of each of these pods says.
    logs: &'static [(&'static str, &'static str)],
    /// Pod whose log has the accuracy.
    reports: &'static str,
}

const XGBOOST: Run = Run {
    framework: "xgboost",
    kind: "XGBoostJob",
    short: "xgbj",
    map: "xgbReplicaSpecs",
    succeeded: &[("Master", 1), ("Worker", 2)],
    message: "XGBoostJob xgboost is successfully completed.",
    logs: &[
        ("master-0", "rank 0 of 3"),
        ("worker-0", "rank 1 of 3"),
        ("worker-1", "rank 2 of 3"),
        ("worker-1", "the same on all 3"),
    ],
    reports: "xgboost-master-0",
};
const JAX: Run = Run {
    framework: "jax",
    kind: "JAXJob",
    short: "jxj",
    map: "jaxReplicaSpecs",
    succeeded: &[("Worker", 3)],
    message: "JAXJob default/jax successfully completed.",
    logs: &[
        ("worker-0", "process 0 of 3"),
        ("worker-1", "process 1 of 3"),
        ("worker-2", "process 2 of 3"),
    ],
    reports: "jax-worker-0",
};
const PADDLE: Run = Run {
    framework: "paddle",
    kind: "PaddleJob",
    short: "pdj",
    map: "paddleReplicaSpecs",
    succeeded: &[("Worker", 2)],
    message: "PaddleJob default/paddle successfully completed.",
    logs: &[
        ("worker-0", "rank 0 of 2"),
        ("worker-1", "rank 1 of 2"),
        ("worker-1", "the same on all 2"),
    ],
    reports: "paddle-worker-0",
};
const MXNET: Run = Run {
    framework: "mxnet",
    kind: "MXJob",
    short: "mxj",
    map: "mxReplicaSpecs",
    succeeded: &[("Scheduler", 1), ("Server", 2), ("Worker", 2)],
    message: "MXJob mxnet is successfully completed.",
    logs: &[
        ("worker-0", "sum 3 on 2 servers"),
        ("worker-1", "sum 3 on 2 servers"),
    ],
    reports: "mxnet-worker-0",
};

impl Run {
    fn file(&self) -> String {
        format!("deploy/examples/{}.yaml", self.framework)
    }

    /// Applies the example and waits for its end.
    fn succeeds(&self) {
        let (file, name) = (self.file(), self.framework);
        must(&["delete", "--ignore-not-found", "--wait", "-f", &file]);
        must(&["apply", "-f", &file]);
        let status = wait_for(&format!("{name} to end"), || {
            let job = e2e::object(self.short, "default", name).unwrap();
            let status = job["status"].clone();
            assert!(!holds(&status, "Failed"), "{status:#}");
            holds(&status, "Succeeded").then_some(status)
        });
        assert_eq!(
            conditions(&status),
            ["Created=True", "Running=False", "Succeeded=True"]
        );
        let succeeded = find(&status, "Succeeded");
        assert_eq!(succeeded["message"], self.message);
        assert_eq!(succeeded["reason"], format!("{}Succeeded", self.kind));
        for (role, count) in self.succeeded {
            assert_eq!(status["replicaStatuses"][role]["succeeded"], *count, "{role}");
        }
        for (pod, words) in self.logs {
            let pod = format!("{name}-{pod}");
            // A job may have succeeded before all that it needs no more has ended.
            wait_for(&format!("{pod} to say {words:?}"), || {
                must(&["-n", "default", "logs", &pod])
                    .contains(words)
                    .then_some(())
            });
        }
        let log = must(&["-n", "default", "logs", self.reports]);
        let accuracy = log
            .lines()
            .find_map(|line| line.split_once("test accuracy: "))
            .expect("an accuracy in the log")
            .1;
        println!("{name}: test accuracy {accuracy}");
        assert!(accuracy.trim().parse::<f64>().unwrap() > 0.9, "{accuracy}");
        // The SDK's get_job_logs finds the log by these labels.
        let selector =
            format!("-l=training.kubeflow.org/job-name={name},training.kubeflow.org/job-role=master");
        assert_eq!(
            must(&["-n", "default", "get", "pods", "-o=name", &selector]).trim(),
            format!("pod/{}", self.reports)
        );
        let table = must(&["-n", "default", "get", self.short, name]);
        let words: Vec<&str> = table.split_whitespace().collect();
        assert_eq!(words[..5], ["NAME", "STATE", "AGE", name, "Succeeded"]);
        must(&["delete", "--wait", "-f", &file]);
    }

    /// The example in a namespace, with another program or other arguments.
    fn with(&self, space: &Space, command: &[&str]) -> Value {
        let text = must(&["create", "--dry-run=client", "-o", "json", "-f", &self.file()]);
        let mut job: Value = serde_json::from_str(&text).unwrap();
        job["metadata"] = json!({"name": "t", "namespace": space.name});
        for role in job["spec"][self.map].as_object_mut().unwrap().values_mut() {
            let pod = &mut role["template"]["spec"];
            pod["terminationGracePeriodSeconds"] = json!(1);
            pod["containers"][0]["command"] = json!(command);
        }
        job
    }
}

#[test]
fn the_xgboost_example_succeeds() {
    XGBOOST.succeeds();
}

#[test]
fn the_jax_example_succeeds() {
    JAX.succeeds();
}

#[test]
fn the_paddle_example_succeeds() {
    PADDLE.succeeds();
}

#[test]
fn the_mxnet_example_succeeds() {
    MXNET.succeeds();
}

#[test]
fn jax_sums_over_three_processes() {
    let space = Space::of("jxj", "jax-psum");
    space.apply(&JAX.with(&space, &["python3", "/opt/trainyard/psum.py"]));
    space.until("t", "Succeeded");
    for pod in ["t-worker-0", "t-worker-1", "t-worker-2"] {
        let log = space.must(&["logs", pod]);
        assert!(log.contains("psum 6"), "1 + 2 + 3: {log}");
    }
}

/// Both Masters and both Workers run a server and a trainer each, as Paddle's launcher has it.
#[test]
fn paddle_trains_with_parameter_servers() {
    let space = Space::of("pdj", "paddle-servers");
    let program = "/opt/trainyard/parameter_server.py";
    let mut job = PADDLE.with(&space, &["python3", "-m", "paddle.distributed.launch", program]);
    let mut replica = job["spec"]["paddleReplicaSpecs"]["Worker"].clone();
    replica["template"]["spec"]["containers"][0]["image"] = json!("docker.io/trainyard/paddle-ps:0.1.0");
    job["spec"]["paddleReplicaSpecs"] = json!({"Master": replica, "Worker": replica});
    space.apply(&job);
    let succeeded = space.until("t", "Succeeded");
    assert_eq!(succeeded["message"], "PaddleJob t is successfully completed.");
    assert_eq!(space.status("t")["replicaStatuses"]["Master"]["succeeded"], 2);
}

/// A process is killed as the kernel would; all begin anew together, and the run ends well.
fn a_lost_process_begins_anew_with_the_others(
    run: &Run,
    space: &Space,
    script: &str,
    until: (&str, &str),
    killed: &str,
) {
    // Who misses the killed one tells so a moment later than its kubelet tells of the killed one itself.
    let late = "case $code in 0|137) ;; *) sleep 3 ;; esac";
    let script = format!("{script} & echo $! > /tmp/pid; wait $!; code=$?; {late}; exit $code");
    let mut job = run.with(space, &["sh", "-c", &script]);
    job["spec"]["runPolicy"] = json!({"restartScope": "Job", "backoffLimit": 3});
    space.apply(&job);
    space.log_until(until.0, until.1);
    let before: Vec<String> = space.pods("t").iter().map(uid).collect();
    space.must(&["exec", killed, "--", "sh", "-c", "kill -9 $(cat /tmp/pid)"]);
    space.until("t", "Succeeded");
    let status = space.status("t");
    let count = status["wholeRestarts"]["count"].as_u64().unwrap();
    assert!(count >= 1, "{status:#}");
    let after = space.pods("t");
    assert_eq!(after.len(), before.len());
    assert!(
        after.iter().all(|pod| !before.contains(&uid(pod))),
        "all of them are new"
    );
    let first = &status["firstFailure"];
    assert_eq!(
        (&first["pod"], &first["exitCode"]),
        (&json!(killed), &json!(137)),
        "{status:#}"
    );
}

#[test]
fn jax_processes_begin_anew_together() {
    let space = Space::of("jxj", "jax-lost");
    let script = "python3 /opt/trainyard/train.py --epochs=8 --epoch-seconds=1";
    let until = ("t-worker-0", "epoch 2/");
    a_lost_process_begins_anew_with_the_others(&JAX, &space, script, until, "t-worker-2");
}

#[test]
fn xgboost_processes_begin_anew_together() {
    let space = Space::of("xgbj", "xgboost-lost");
    let script = "python3 /opt/trainyard/train.py --rounds=8 --round-seconds=1";
    let until = ("t-master-0", "round 2/");
    a_lost_process_begins_anew_with_the_others(&XGBOOST, &space, script, until, "t-worker-1");
}

#[test]
fn mistakes_in_the_kin_are_answered_by_a_sentence() {
    let space = Space::of("xgbj", "kin-input");
    let refused = |run: &Run, edit: &dyn Fn(&mut Value), words: &[&str]| {
        let mut job = run.with(&space, &["true"]);
        edit(&mut job["spec"]);
        let answer = space.try_apply(&job).expect_err(run.kind);
        assert!(words.iter().all(|word| answer.contains(word)), "{answer}");
    };
    refused(
        &XGBOOST,
        &|spec| {
            spec["xgbReplicaSpecs"].as_object_mut().unwrap().remove("Master");
        },
        &["spec.xgbReplicaSpecs[Master]", "must be specified"],
    );
    refused(
        &XGBOOST,
        &|spec| spec["xgbReplicaSpecs"]["Master"]["replicas"] = json!(2),
        &["spec.xgbReplicaSpecs[Master].replicas", "must be 1"],
    );
    refused(
        &JAX,
        &|spec| spec["jaxReplicaSpecs"]["Master"] = spec["jaxReplicaSpecs"]["Worker"].clone(),
        &["unsupported replica type \"Master\"", "\"Worker\""],
    );
    refused(
        &PADDLE,
        &|spec| spec["elasticPolicy"] = json!({"minReplicas": 3, "maxReplicas": 2}),
        &[
            "spec.elasticPolicy.minReplicas",
            "must be no more than spec.elasticPolicy.maxReplicas",
        ],
    );
    refused(
        &MXNET,
        &|spec| spec["mxReplicaSpecs"]["Scheduler"]["replicas"] = json!(2),
        &["spec.mxReplicaSpecs[Scheduler].replicas", "must be 1"],
    );
    refused(
        &MXNET,
        &|spec| spec["jobMode"] = json!("MXServe"),
        &["spec.jobMode", "\"MXTrain\"", "\"MXTune\""],
    );
}
