//! Restarts, limits and the end of a job, with real kubelets and quick pods.

use e2e::{DIGITS, Space, conditions, holds, job, script, uid, wait_for};
use serde_json::{Value, json};

fn message(condition: &Value) -> String {
    condition["message"].as_str().unwrap().to_owned()
}

#[test]
fn exit_1_fails_the_job_with_pod_container_code_node_and_last_line() {
    let space = Space::new("exit1");
    let run = "if [ $RANK = 2 ]; then echo starting; echo 'no such file: /data/train.bin' > /dev/termination-log; \
               exit 1; fi; sleep 600";
    space.apply(&script("e", &[("Master", 1), ("Worker", 2)], "ExitCode", run));
    let said = message(&space.until("e", "Failed"));
    println!("{said}");
    let node = space.get("pod", "e-worker-1").unwrap()["spec"]["nodeName"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        said,
        format!(
            "PyTorchJob e is failed because 1 Worker replica(s) failed: pod e-worker-1 container pytorch exited with \
             code 1 (Error) on node {node}: no such file: /data/train.bin"
        )
    );
    assert!(space.status("e")["completionTime"].is_string());
    assert_eq!(space.status("e")["replicaStatuses"]["Worker"]["failed"], 1);
    space.event("e", "PyTorchJobFailed", &["exited with code 1"]);
}

#[test]
fn out_of_memory_is_named() {
    let space = Space::new("oom");
    let code = "x = []\nwhile True: x.append(bytearray(1 << 20))";
    let mut oom = job("o", &[("Master", 1)], "Never", DIGITS, &["python3", "-c", code]);
    let container = &mut oom["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0];
    container["resources"] = json!({"limits": {"memory": "48Mi", "cpu": "1"}, "requests": {"cpu": "10m"}});
    space.apply(&oom);
    let said = message(&space.until("o", "Failed"));
    println!("{said}");
    assert!(
        said.contains("pod o-master-0 container pytorch exited with code 137 (OOMKilled)"),
        "{said}"
    );
}

#[test]
fn backoff_limit_limits_replaced_pods() {
    let space = Space::new("backoff");
    let mut limited = script("b", &[("Worker", 1)], "ExitCode", "exit 137");
    limited["spec"]["runPolicy"] = json!({"backoffLimit": 1});
    space.apply(&limited);
    let said = message(&space.until("b", "Failed"));
    assert!(
        said.contains("reached the specified backoff limit of 1"),
        "{said}"
    );
    let status = space.status("b");
    assert_eq!(status["restartCounts"]["failures"], 1);
    assert_eq!(status["slots"]["worker-0"]["attempt"], 1);
}

#[test]
fn backoff_limit_limits_restarts_in_place() {
    let space = Space::new("inplace");
    let mut limited = script("b", &[("Worker", 1)], "OnFailure", "exit 3");
    limited["spec"]["runPolicy"] = json!({"backoffLimit": 1});
    space.apply(&limited);
    let said = message(&space.until("b", "Failed"));
    assert!(
        said.contains("reached the specified backoff limit of 1"),
        "{said}"
    );
    wait_for("its pod to be deleted", || {
        space.pods("b").is_empty().then_some(())
    });
}

#[test]
fn deadline_and_time_to_live_act_by_timer() {
    let space = Space::new("deadline");
    let mut timed = script("d", &[("Master", 1), ("Worker", 1)], "OnFailure", "sleep 600");
    timed["spec"]["runPolicy"] = json!({"activeDeadlineSeconds": 6, "ttlSecondsAfterFinished": 8});
    space.apply(&timed);
    let said = message(&space.until("d", "Failed"));
    assert_eq!(
        said,
        "PyTorchJob d has failed because it was active longer than specified deadline"
    );
    wait_for("its pods to be deleted", || {
        space.pods("d").is_empty().then_some(())
    });
    wait_for("the job to be deleted", || {
        space.get("ptj", "d").is_none().then_some(())
    });
    wait_for("all that is its to be deleted", || {
        space
            .must(&["get", "services", "-o", "name"])
            .trim()
            .is_empty()
            .then_some(())
    });
}

#[test]
fn clean_pod_policy_decides_what_is_left() {
    let space = Space::new("clean");
    for (policy, _) in [("None", 2), ("Running", 1), ("All", 0)] {
        let name = policy.to_lowercase();
        // A master that is done before its worker has started would end the job.
        let run = format!(
            "if [ $RANK = 0 ]; then until nc -w 2 {name}-worker-0.{name} 7000 </dev/null; do sleep 1; done; sleep 3; \
             else while true; do nc -l -p 7000 </dev/null; done; fi"
        );
        let mut cleaned = script(&name, &[("Master", 1), ("Worker", 1)], "Never", &run);
        cleaned["spec"]["runPolicy"] = json!({"cleanPodPolicy": policy});
        space.apply(&cleaned);
    }
    for (policy, left) in [("None", 2), ("Running", 1), ("All", 0)] {
        let name = policy.to_lowercase();
        space.until(&name, "Succeeded");
        wait_for(policy, || (space.pods(&name).len() == left).then_some(()));
        assert_eq!(
            space.status(&name)["replicaStatuses"]["Worker"]["succeeded"],
            1,
            "counts outlive the pods"
        );
    }
}

#[test]
fn suspended_and_resumed() {
    let space = Space::new("suspend");
    space.apply(&script(
        "s",
        &[("Master", 1), ("Worker", 1)],
        "OnFailure",
        "sleep 12",
    ));
    space.until("s", "Running");
    let before = uid(&space.get("pod", "s-master-0").unwrap());
    let suspend = |suspend: bool| {
        let patch = json!({"spec": {"runPolicy": {"suspend": suspend}}}).to_string();
        space.must(&["patch", "ptj", "s", "--type=merge", "-p", &patch]);
    };
    suspend(true);
    let status = wait_for("no active pods", || {
        let status = space.status("s");
        let active = |role: &str| status["replicaStatuses"][role].get("active").is_some();
        (holds(&status, "Suspended") && !active("Master") && !active("Worker")).then_some(status)
    });
    assert!(
        space.pods("s").is_empty(),
        "active reads 0 only when the pods are gone"
    );
    assert_eq!(
        conditions(&status),
        ["Created=True", "Running=False", "Suspended=True"]
    );
    suspend(false);
    space.until("s", "Succeeded");
    assert_ne!(uid(&space.get("pod", "s-master-0").unwrap()), before);
    assert_eq!(
        conditions(&space.status("s")),
        [
            "Created=True",
            "Suspended=False",
            "Running=False",
            "Succeeded=True"
        ]
    );
}

#[test]
fn zero_replicas_and_another_manager_make_no_pods() {
    let space = Space::new("none");
    space.apply(&script(
        "zero",
        &[("Master", 1), ("Worker", 0)],
        "OnFailure",
        "sleep 3",
    ));
    let mut theirs = script("theirs", &[("Worker", 1)], "OnFailure", "sleep 3");
    theirs["spec"]["runPolicy"] = json!({"managedBy": "kueue.x-k8s.io/multikueue"});
    space.apply(&theirs);
    space.until("zero", "Succeeded");
    assert_eq!(space.pods("zero").len(), 1);
    assert!(space.pods("theirs").is_empty());
    assert!(
        space.get("ptj", "theirs").unwrap().get("status").is_none(),
        "not one write"
    );
}

#[test]
fn recreated_at_once_while_old_pods_still_terminate() {
    let space = Space::new("again");
    let slow = "trap 'sleep 8; exit 0' TERM; sleep 600 & wait";
    let mut first = script("a", &[("Worker", 2)], "OnFailure", slow);
    first["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["terminationGracePeriodSeconds"] =
        json!(20);
    space.apply(&first);
    space.until("a", "Running");
    let old: Vec<String> = space.pods("a").iter().map(uid).collect();
    space.must(&["delete", "ptj", "a", "--wait"]);
    space.apply(&script("a", &[("Worker", 2)], "OnFailure", "sleep 2"));
    space.until("a", "Succeeded");
    let new = space.pods("a");
    assert!(new.len() == 2 && new.iter().all(|pod| !old.contains(&uid(pod))));
}

#[test]
fn names_resolve_before_anybody_is_ready() {
    let space = Space::new("names");
    let run = "for name in n-master-0 n-worker-0.n n-worker-1.n n-master-0.n; do \
               until nslookup $name.$(cat /var/run/secrets/kubernetes.io/serviceaccount/namespace).svc.cluster.local; \
               do sleep 1; done; done; ping -c 1 -W 5 n-master-0 && echo all found && sleep 5";
    let mut named = script("n", &[("Master", 1), ("Worker", 2)], "Never", run);
    for role in ["Master", "Worker"] {
        let container = &mut named["spec"]["pytorchReplicaSpecs"][role]["template"]["spec"]["containers"][0];
        container["readinessProbe"] = json!({"exec": {"command": ["false"]}});
    }
    space.apply(&named);
    for pod in ["n-master-0", "n-worker-0", "n-worker-1"] {
        space.log_until(pod, "all found");
    }
    assert_eq!(space.must(&["get", "services", "-o", "name"]).lines().count(), 2);
    space.until("n", "Succeeded");
}

#[test]
fn a_job_that_cannot_start_says_why() {
    let space = Space::new("why");
    let mut big = script("big", &[("Worker", 1)], "OnFailure", "true");
    let container = &mut big["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0];
    container["resources"] = json!({"requests": {"cpu": "4000"}});
    space.apply(&big);
    let mut absent = script("absent", &[("Worker", 1)], "OnFailure", "true");
    let container = &mut absent["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0];
    container["image"] = json!("localhost/no-such-image:1");
    space.apply(&absent);
    space.must(&["create", "service", "clusterip", "taken", "--tcp=80:80"]);
    let before = space.get("service", "taken").unwrap();
    space.apply(&script("taken", &[("Worker", 1)], "OnFailure", "true"));
    space.must(&["create", "quota", "few", "--hard=pods=2"]);
    for (job, words) in [
        (
            "big",
            vec!["pod big-worker-0 cannot be scheduled", "Insufficient cpu"],
        ),
        (
            "absent",
            vec!["pod absent-worker-0 container pytorch", "no-such-image"],
        ),
        (
            "taken",
            vec!["Service taken exists and does not belong to this job"],
        ),
    ] {
        let waiting = wait_for(job, || {
            let waiting = space.status(job)["waitingFor"].as_str()?.to_owned();
            words.iter().all(|word| waiting.contains(word)).then_some(waiting)
        });
        println!("{job}: {waiting}");
    }
    let after = space.get("service", "taken").unwrap();
    assert_eq!(
        before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"],
        "never written"
    );
    space.apply(&script("quota", &[("Worker", 1)], "OnFailure", "true"));
    wait_for("the quota to be named", || {
        let status = space.status("quota");
        let told = status["conditions"][0]["message"]
            .as_str()?
            .contains("exceeded quota");
        (told && status["waitingFor"].as_str()?.contains("exceeded quota")).then_some(())
    });
    space.must(&["delete", "quota", "few"]);
    space.must(&["delete", "service", "taken"]);
    for job in ["quota", "taken"] {
        space.until(job, "Succeeded");
        assert!(space.status(job).get("waitingFor").is_none());
    }
}
