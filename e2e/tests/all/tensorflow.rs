//! Real training with TensorFlow: the examples as they are, and a run that loses a worker in the middle.

use e2e::{Space, conditions, find, holds, must, uid, wait_for};
use serde_json::{Value, json};

const PARAMETER_SERVER: &str = "deploy/examples/tf-parameter-server.yaml";
const MULTIWORKER: &str = "deploy/examples/tf-multiworker.yaml";

fn accuracy(log: &str) -> f64 {
    let line = log
        .lines()
        .find_map(|l| l.split_once("test accuracy: "))
        .expect("an accuracy in the log");
    line.1.trim().parse().unwrap()
}

/// `TF_CONFIG` as the pod has it.
fn tf_config(pod: &Value) -> Value {
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let variable = env.iter().rfind(|e| e["name"] == "TF_CONFIG").unwrap();
    serde_json::from_str(variable["value"].as_str().unwrap()).unwrap()
}

/// Waits until the job has ended well and answers with its status.
fn succeeded(what: &str, get: impl Fn() -> Value) -> Value {
    wait_for(&format!("{what} to end"), || {
        let status = get()["status"].clone();
        assert!(!holds(&status, "Failed"), "{status:#}");
        holds(&status, "Succeeded").then_some(status)
    })
}

/// Applies an example, waits for its end, and answers with its status and the log that stands for it.
fn example(manifest: &str, name: &str) -> (Value, String) {
    must(&["delete", "--ignore-not-found", "--wait", "-f", manifest]);
    must(&["apply", "-f", manifest]);
    let status = succeeded(name, || e2e::object("tfj", "default", name).unwrap());
    assert_eq!(
        conditions(&status),
        ["Created=True", "Running=False", "Succeeded=True"]
    );
    let message = format!("TFJob default/{name} successfully completed.");
    assert_eq!(find(&status, "Succeeded")["message"], message.as_str());
    assert!(status["startTime"].is_string() && status["completionTime"].is_string());
    // The SDK's get_job_logs finds the log by these labels.
    let selector = format!("-l=training.kubeflow.org/job-name={name},training.kubeflow.org/job-role=master");
    let log = must(&["-n", "default", "logs", &selector, "--tail=-1"]);
    println!("{}", log.lines().rev().take(2).collect::<Vec<_>>().join("\n"));
    let table = must(&["-n", "default", "get", "tfj", name]);
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(words[..5], ["NAME", "STATE", "AGE", name, "Succeeded"]);
    assert!(must(&["-n", "default", "get", "training"]).contains(name));
    (status, log)
}

#[test]
fn the_multiworker_example_succeeds() {
    let name = "tf-multiworker";
    let (status, log) = example(MULTIWORKER, name);
    assert!(accuracy(&log) > 0.9);
    let counts = &status["replicaStatuses"]["Worker"];
    assert_eq!(counts["succeeded"], 2, "Argo: successCondition");
    assert!(counts.get("active").is_none(), "{counts}");
    let services = must(&[
        "-n",
        "default",
        "get",
        "services",
        "-o=name",
        &format!("-l=training.kubeflow.org/job-name={name}"),
    ]);
    assert_eq!(services.trim(), format!("service/{name}"), "one per job");
    must(&["delete", "--wait", "-f", MULTIWORKER]);
}

#[test]
fn the_parameter_server_example_succeeds() {
    let name = "tf-parameter-server";
    let (status, log) = example(PARAMETER_SERVER, name);
    assert!(accuracy(&log) > 0.9);
    for (role, count) in [("Chief", 1), ("PS", 1), ("Worker", 2)] {
        assert_eq!(status["replicaStatuses"][role]["succeeded"], count, "{role}");
    }
    wait_for("servers and workers to be cleaned up", || {
        let selector = format!("-l=training.kubeflow.org/job-name={name}");
        let left = must(&["-n", "default", "get", "pods", "-o=name", &selector]);
        (left.trim() == format!("pod/{name}-chief-0")).then_some(())
    });
    must(&["delete", "--wait", "-f", PARAMETER_SERVER]);
}

/// The parameter server example in a namespace of the test's own, slow enough to be disturbed. The training is not its
/// pod's first process, so that a test can kill it as the kernel would.
fn slow(space: &Space) -> Value {
    let text = must(&["create", "--dry-run=client", "-o", "json", "-f", PARAMETER_SERVER]);
    let mut job: Value = serde_json::from_str(&text).unwrap();
    job["metadata"] = json!({"name": "t", "namespace": space.name});
    for role in ["Chief", "PS", "Worker"] {
        let pod = &mut job["spec"]["tfReplicaSpecs"][role]["template"]["spec"];
        pod["terminationGracePeriodSeconds"] = json!(1);
        let command = pod["containers"][0]["command"].as_array().unwrap();
        let words: Vec<&str> = command.iter().map(|word| word.as_str().unwrap()).collect();
        let script = format!(
            "{} --epoch-seconds=2 & echo $! > /tmp/pid; wait $!",
            words.join(" ")
        );
        pod["containers"][0]["command"] = json!(["sh", "-c", script]);
    }
    job
}

#[test]
fn a_killed_worker_comes_back_and_the_run_ends_well() {
    let space = Space::new("tf-killed");
    space.apply(&slow(&space));
    space.log_until("t-chief-0", "epoch 2/");
    let before = space.get("pod", "t-worker-1").unwrap();
    let address = |pod: &str| format!("{pod}.t.{}.svc:2222", space.name);
    assert_eq!(
        tf_config(&before),
        json!({
            "cluster": {
                "chief": [address("t-chief-0")],
                "ps": [address("t-ps-0")],
                "worker": [address("t-worker-0"), address("t-worker-1")],
            },
            "task": {"type": "worker", "index": 1},
            "environment": "cloud",
        })
    );
    space.must(&["exec", "t-worker-1", "--", "sh", "-c", "kill -9 $(cat /tmp/pid)"]);
    let after = wait_for("worker 1 to be replaced", || {
        space
            .get("pod", "t-worker-1")
            .filter(|pod| uid(pod) != uid(&before))
    });
    assert_eq!(tf_config(&after), tf_config(&before));
    assert_eq!(after["metadata"]["labels"]["trainyard.dev/attempt"], "1");
    let status = succeeded("t", || space.get("tfj", "t").unwrap());
    assert!(accuracy(&space.must(&["logs", "t-chief-0"])) > 0.9);
    assert!(
        status["restartCounts"]["failures"].as_i64().unwrap() >= 1,
        "{status:#}"
    );
    println!("{}", status["restartCounts"]);
    let selector = "--field-selector=involvedObject.name=t,involvedObject.kind=TFJob,reason=TFJobRestarting";
    let events = space.must(&["get", "events", selector]);
    assert!(
        events.contains("pod t-worker-1") && events.contains("exited with code 137"),
        "{events}"
    );
}

#[test]
fn scaling_the_workers_down_fails_nothing() {
    let space = Space::new("tf-scaled");
    let mut job = slow(&space);
    // What they do does not matter here.
    for role in ["Chief", "PS", "Worker"] {
        let container = &mut job["spec"]["tfReplicaSpecs"][role]["template"]["spec"]["containers"][0];
        container["image"] = json!(e2e::TOOLBOX);
        container["command"] = json!(["sh", "-c", "sleep 3600"]);
        container["resources"] = json!({"requests": {"cpu": "10m", "memory": "16Mi"}});
    }
    space.apply(&job);
    let status = || space.get("tfj", "t").unwrap()["status"].clone();
    wait_for("t Running", || holds(&status(), "Running").then_some(()));
    space.must(&["scale", "tfj", "t", "--replicas=1"]);
    wait_for("worker 1 to go", || {
        space.get("pod", "t-worker-1").is_none().then_some(())
    });
    wait_for("one worker in status", || {
        (status()["replicaStatuses"]["Worker"]["active"] == 1).then_some(())
    });
    assert_eq!(conditions(&status()), ["Created=True", "Running=True"]);
}

/// A mistake: what is wrong, the change that makes it, and what `kubectl apply` says.
type Mistake = (&'static str, fn(&mut Value), &'static str);

/// The API server's own words beside those of the schema.
const REST: &str = "\n* <nil>: Invalid value: null: some validation rules were not checked because the object was \
                    invalid; correct the existing errors to complete validation";

const MISTAKES: [Mistake; 6] = [
    (
        "chief and master",
        |spec| spec["tfReplicaSpecs"]["master"] = spec["tfReplicaSpecs"]["Chief"].clone(),
        "spec.tfReplicaSpecs: Forbidden: must not have more than 1 Chief or Master role",
    ),
    (
        "two chiefs",
        |spec| spec["tfReplicaSpecs"]["Chief"]["replicas"] = json!(2),
        "spec.tfReplicaSpecs[Chief].replicas: Forbidden: must be 1",
    ),
    (
        "an unknown type",
        |spec| spec["tfReplicaSpecs"]["Launcher"] = spec["tfReplicaSpecs"]["Chief"].clone(),
        "spec.tfReplicaSpecs: Forbidden: unsupported replica type \"Launcher\": supported values: \"Chief\", \"Master\", \
         \"PS\", \"Worker\", \"Evaluator\"",
    ),
    (
        "an unknown success policy",
        |spec| spec["successPolicy"] = json!("Some"),
        "\n* spec.successPolicy: Unsupported value: \"Some\": supported values: \"\", \"AllWorkers\", \"Leader\"",
    ),
    (
        "dynamic workers in words",
        |spec| spec["enableDynamicWorker"] = json!("yes"),
        "\n* spec.enableDynamicWorker: Invalid value: \"string\": spec.enableDynamicWorker in body must be of type \
         boolean: \"string\"",
    ),
    (
        "nothing to run",
        |spec| {
            let mut worker = spec["tfReplicaSpecs"]["Worker"].clone();
            worker["replicas"] = json!(0);
            spec["tfReplicaSpecs"] = json!({"Worker": worker});
        },
        "spec.tfReplicaSpecs: Invalid value: must have at least one replica: all replica types have replicas 0",
    ),
];

#[test]
fn mistakes_in_a_tfjob_are_answered_by_a_sentence() {
    let space = Space::new("tf-input");
    for (what, mistake, expected) in MISTAKES {
        let mut job = slow(&space);
        mistake(&mut job["spec"]);
        let said = space.try_apply(&job).expect_err(what);
        let expected = format!("The TFJob \"t\" is invalid: {expected}");
        assert_eq!(said.strip_suffix(REST).unwrap_or(&said), expected, "{what}");
    }
}
