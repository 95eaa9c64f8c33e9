//! Real MPI: Open MPI 4 and 5 and MPICH over ssh, Open MPI 4 over exec, and what goes wrong in real clusters. The hosts on
//! which ranks ran are read from their own words.

use e2e::{Space, conditions, find, holds, must, uid, wait_for};
use serde_json::{Value, json};

fn image(name: &str) -> String {
    format!("docker.io/trainyard/{name}:0.1.0")
}

/// A job of two workers whose launcher runs `command`.
fn job(version: &str, name: &str, image_name: &str, command: &[&str]) -> Value {
    let pod = |extra: Value| {
        let mut container = json!({
            "name": "mpi", "image": image(image_name), "imagePullPolicy": "IfNotPresent",
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        });
        container
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        json!({"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}})
    };
    let ready = json!({"readinessProbe": {"tcpSocket": {"port": 2222}, "periodSeconds": 1}});
    let worker = if version == "v1" { json!({}) } else { ready };
    json!({
        "apiVersion": format!("kubeflow.org/{version}"), "kind": "MPIJob", "metadata": {"name": name},
        "spec": {
            "runPolicy": {"cleanPodPolicy": "Running", "backoffLimit": 3},
            "mpiReplicaSpecs": {
                "Launcher": {"template": pod(json!({"command": command}))},
                "Worker": {"replicas": 2, "template": pod(worker)},
            },
        },
    })
}

fn waiting_for_workers(mut job: Value) -> Value {
    job["spec"]["launcherCreationPolicy"] = json!("WaitForWorkersReady");
    job
}

/// A job in which nothing is computed: for what needs no MPI.
fn idle(version: &str, name: &str) -> Value {
    let mut job = job(version, name, "toolbox", &["sleep", "600"]);
    let worker = &mut job["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0];
    worker["command"] = json!(["sleep", "600"]);
    worker.as_object_mut().unwrap().remove("readinessProbe");
    job
}

/// Where each rank says that it ran.
fn hosts(log: &str) -> Vec<String> {
    let lines = log
        .lines()
        .filter_map(|line| line.strip_prefix("rank ")?.split_once(" on "));
    let mut hosts: Vec<String> = lines
        .map(|(_, host)| host.split('.').next().unwrap().to_owned())
        .collect();
    hosts.sort();
    hosts
}

fn accuracy(log: &str) -> f64 {
    let line = log
        .lines()
        .find_map(|l| l.split_once("test accuracy: "))
        .expect("an accuracy");
    line.1.trim().parse().unwrap()
}

/// Applies an example, waits for its end, and answers with its status and the launcher's log.
fn example(name: &str, log_of: &str) -> (Value, String) {
    let manifest = format!("deploy/examples/{name}.yaml");
    must(&["delete", "--ignore-not-found", "--wait", "-f", &manifest]);
    must(&["apply", "-f", &manifest]);
    let status = wait_for(&format!("{name} to end"), || {
        let job = e2e::object("mpij", "default", name).unwrap();
        assert!(!holds(&job["status"], "Failed"), "{:#}", job["status"]);
        holds(&job["status"], "Succeeded").then(|| job["status"].clone())
    });
    let log = must(&["-n", "default", "logs", log_of]);
    println!("{log}");
    assert_eq!(
        conditions(&status),
        ["Created=True", "Running=False", "Succeeded=True"]
    );
    assert_eq!(
        hosts(&log),
        [format!("{name}-worker-0"), format!("{name}-worker-1")]
    );
    let table = must(&["-n", "default", "get", "mpij", name]);
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(words[..5], ["NAME", "STATE", "AGE", name, "Succeeded"]);
    must(&["delete", "--wait", "-f", &manifest]);
    (status, log)
}

#[test]
fn the_digits_example_trains_on_the_workers() {
    let (status, log) = example("mpi-digits", "job/mpi-digits-launcher");
    assert!(accuracy(&log) > 0.9);
    assert_eq!(status["replicaStatuses"]["Launcher"]["succeeded"], 1);
    assert_eq!(
        find(&status, "Succeeded")["message"],
        "MPIJob default/mpi-digits successfully completed."
    );
}

/// Without the variables of PRRTE all ranks would run in the launcher, and the job would still succeed.
#[test]
fn the_open_mpi_5_example_runs_its_ranks_on_the_workers() {
    let (_, log) = example("mpi-pi-openmpi5", "job/mpi-pi-openmpi5-launcher");
    assert!(log.contains("pi is approximately 3.14159"), "{log}");
}

#[test]
fn the_v1_example_needs_no_ssh() {
    let (status, log) = example("mpi-pi-v1", "mpi-pi-v1-launcher");
    assert!(log.contains("pi is approximately 3.14159"), "{log}");
    assert_eq!(status["replicaStatuses"]["Worker"]["succeeded"], 2);
}

#[test]
fn an_allreduce_with_open_mpi_4_and_pi_with_mpich() {
    let space = Space::of("mpij", "mpi-implementations");
    let sums = ["mpirun", "-n", "4", "python3", "/opt/trainyard/allreduce.py"];
    let mut reduce = waiting_for_workers(job("v2beta1", "sum", "openmpi4", &sums));
    reduce["spec"]["slotsPerWorker"] = json!(2);
    let pi = ["mpirun", "-n", "2", "python3", "/opt/trainyard/pi.py"];
    let mut mpich = waiting_for_workers(job("v2beta1", "mpich", "mpich", &pi));
    mpich["spec"]["mpiImplementation"] = json!("MPICH");
    space.apply(&reduce);
    space.apply(&mpich);
    for name in ["sum", "mpich"] {
        space.until(name, "Succeeded");
    }
    let log = space.must(&["logs", "job/sum-launcher"]);
    assert!(
        log.contains("hosts: sum-worker-0 sum-worker-0 sum-worker-1 sum-worker-1"),
        "{log}"
    );
    assert!(log.contains("all sums are right"), "{log}");
    let log = space.must(&["logs", "job/mpich-launcher"]);
    assert_eq!(hosts(&log), ["mpich-worker-0", "mpich-worker-1"], "{log}");
    assert!(log.contains("pi is approximately 3.14159"), "{log}");
}

#[test]
fn a_launcher_that_runs_ranks_itself_as_another_user() {
    let space = Space::of("mpij", "mpi-nonroot");
    let pi = ["mpirun", "-n", "3", "python3", "/opt/trainyard/pi.py"];
    let mut job = waiting_for_workers(job("v2beta1", "pi", "openmpi4", &pi));
    job["spec"]["runLauncherAsWorker"] = json!(true);
    job["spec"]["sshAuthMountPath"] = json!("/home/mpiuser/.ssh");
    for role in ["Launcher", "Worker"] {
        let pod = &mut job["spec"]["mpiReplicaSpecs"][role]["template"]["spec"];
        pod["securityContext"] = json!({"runAsUser": 1000, "fsGroup": 1000});
        if role == "Worker" {
            pod["containers"][0]["command"] =
                json!(["/usr/sbin/sshd", "-De", "-f", "/home/mpiuser/.sshd_config"]);
        }
    }
    space.apply(&job);
    space.until("pi", "Succeeded");
    let log = space.must(&["logs", "job/pi-launcher"]);
    assert_eq!(
        hosts(&log),
        ["pi-launcher", "pi-worker-0", "pi-worker-1"],
        "{log}"
    );
}

#[test]
fn a_killed_worker_is_replaced_before_the_launcher_begins_anew() {
    let space = Space::of("mpij", "mpi-killed");
    let train = [
        "mpirun",
        "-n",
        "2",
        "python3",
        "/opt/trainyard/train.py",
        "--epoch-seconds=1",
    ];
    let mut job = waiting_for_workers(job("v2beta1", "t", "openmpi4", &train));
    job["spec"]["runPolicy"]["backoffLimit"] = json!(2);
    // A shell stays in front, so that the test can kill sshd as the kernel would.
    let worker = &mut job["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0];
    worker["command"] = json!(["sh", "-c", "/usr/sbin/sshd -De & echo $! > /tmp/pid; wait $!"]);
    space.apply(&job);
    wait_for("the third epoch", || {
        let log = space.run(&["logs", "job/t-launcher"]);
        String::from_utf8_lossy(&log.stdout)
            .contains("epoch 3/")
            .then_some(())
    });
    let before = (
        space.get("pod", "t-worker-1").unwrap(),
        space.get("job", "t-launcher").unwrap(),
    );
    space.must(&[
        "exec",
        "t-worker-1",
        "--",
        "sh",
        "-c",
        "kill -9 $(cat /tmp/pid) $(pidof sshd)",
    ]);
    let launcher = wait_for("a new launcher", || {
        space
            .get("job", "t-launcher")
            .filter(|job| uid(job) != uid(&before.1))
    });
    // Times of the API have seconds: what was ready in the same second is no contradiction.
    let worker = space.get("pod", "t-worker-1").unwrap();
    assert_ne!(uid(&worker), uid(&before.0));
    let ready = find(&worker["status"], "Ready")["lastTransitionTime"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        *ready <= *launcher["metadata"]["creationTimestamp"].as_str().unwrap(),
        "{ready} {launcher:#}"
    );
    space.until("t", "Succeeded");
    let log = space.must(&["logs", "job/t-launcher"]);
    assert!(accuracy(&log) > 0.9);
    assert_eq!(hosts(&log), ["t-worker-0", "t-worker-1"]);
    let status = space.status("t");
    assert_eq!(
        status["restartCounts"]["failures"], 1,
        "one incident counts once: {status:#}"
    );
    space.event("t", "MPIJobRestarting", &["t-worker-1", "exited with code 137"]);
}

#[test]
fn a_launcher_that_fails_for_good_names_the_cause() {
    let space = Space::of("mpij", "mpi-failed");
    let mut job = idle("v2beta1", "t");
    job["spec"]["runPolicy"]["backoffLimit"] = json!(0);
    let launcher = &mut job["spec"]["mpiReplicaSpecs"]["Launcher"];
    launcher["restartPolicy"] = json!("Never");
    launcher["template"]["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", "echo no such solver > /dev/termination-log; exit 3"]);
    space.apply(&job);
    // By default the kubelet restarts the container in place, and its pod has not failed when the batch Job gives up.
    let mut in_place = job.clone();
    in_place["metadata"]["name"] = json!("u");
    in_place["spec"]["runPolicy"]["backoffLimit"] = json!(1);
    in_place["spec"]["mpiReplicaSpecs"]["Launcher"]["restartPolicy"] = json!("OnFailure");
    space.apply(&in_place);
    let failed = space.until("u", "Failed");
    assert_eq!(failed["reason"], "BackoffLimitExceeded/Error", "{failed}");
    assert!(
        failed["message"].as_str().unwrap().contains("no such solver"),
        "{failed}"
    );
    let failed = space.until("t", "Failed");
    assert_eq!(failed["reason"], "BackoffLimitExceeded/Error");
    let message = failed["message"].as_str().unwrap();
    for word in [
        "Job t-launcher",
        "pod t-launcher-",
        "container mpi exited with code 3",
        "no such solver",
    ] {
        assert!(message.contains(word), "{message}");
    }
    let status = space.status("t");
    assert!(status["completionTime"].is_string());
    assert_eq!(status["replicaStatuses"]["Launcher"]["failed"], 1);
    wait_for("workers to be cleaned up", || {
        let pods = space.pods("t");
        pods.iter()
            .all(|pod| !pod["metadata"]["name"].as_str().unwrap().contains("worker"))
            .then_some(())
    });
}

fn launcher_exists(space: &Space) -> bool {
    space.get("job", "t-launcher").is_some()
}

#[test]
fn suspended_and_resumed_with_a_queues_directives_and_the_launcher_waits_again() {
    let space = Space::of("mpij", "mpi-suspended");
    let mut job = waiting_for_workers(idle("v2beta1", "t"));
    job["spec"]["runPolicy"]["suspend"] = json!(true);
    // Workers that get ready when the test says so.
    let worker = &mut job["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0];
    worker["readinessProbe"] = json!({"exec": {"command": ["cat", "/tmp/go"]}, "periodSeconds": 1});
    space.apply(&job);
    space.until("t", "Suspended");
    assert!(space.pods("t").is_empty() && !launcher_exists(&space));

    let resume = |space: &Space| {
        let directives = json!({"spec": {"nodeSelector": {"kubernetes.io/os": "linux"}},
            "metadata": {"labels": {"queue": "a"}, "annotations": {"queue": "b"}}});
        let patch = json!({"spec": {"runPolicy": {"suspend": false}, "mpiReplicaSpecs": {
            "Launcher": {"template": directives}, "Worker": {"template": directives}}}});
        space.must(&["patch", "mpij", "t", "--type=merge", "-p", &patch.to_string()]);
    };
    let go = |space: &Space| {
        for worker in ["t-worker-0", "t-worker-1"] {
            space.pod_until(worker, "Running");
            assert!(!launcher_exists(space), "its workers are not ready");
            space.must(&["exec", worker, "--", "touch", "/tmp/go"]);
        }
        space.until("t", "Running");
    };
    resume(&space);
    go(&space);
    for pod in space.pods("t") {
        assert_eq!(
            pod["spec"]["nodeSelector"]["kubernetes.io/os"], "linux",
            "{pod:#}"
        );
        assert_eq!(pod["metadata"]["labels"]["queue"], "a");
        assert_eq!(pod["metadata"]["annotations"]["queue"], "b");
    }
    let first = uid(&space.get("job", "t-launcher").unwrap());
    let key = space.get("secret", "t-ssh").unwrap()["data"].clone();

    space.must(&[
        "patch",
        "mpij",
        "t",
        "--type=merge",
        "-p",
        r#"{"spec":{"runPolicy":{"suspend":true}}}"#,
    ]);
    wait_for("active to read 0", || {
        let status = space.status("t");
        let active = |role: &str| status["replicaStatuses"][role].get("active").is_some();
        (holds(&status, "Suspended") && !active("Launcher") && !active("Worker")).then_some(())
    });
    assert!(space.pods("t").is_empty() && !launcher_exists(&space));
    resume(&space);
    go(&space);
    assert_ne!(uid(&space.get("job", "t-launcher").unwrap()), first);
    assert_eq!(
        space.get("secret", "t-ssh").unwrap()["data"],
        key,
        "keys are made once"
    );
}

fn hostfile(space: &Space) -> String {
    let map = space.get("configmap", "t-config").unwrap_or_default();
    map["data"]["hostfile"].as_str().unwrap_or_default().to_owned()
}

fn discovered(space: &Space) -> usize {
    let map = space.get("configmap", "t-config").unwrap_or_default();
    let script = map["data"]["discover_hosts.sh"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    script.lines().filter(|line| line.starts_with("echo ")).count()
}

#[test]
fn workers_come_and_go_and_the_launcher_stays() {
    let space = Space::of("mpij", "mpi-scaled");
    let mut job = idle("v2beta1", "t");
    job["spec"]["runLauncherAsWorker"] = json!(true);
    space.apply(&job);
    space.until("t", "Running");
    let launcher = uid(&space.get("job", "t-launcher").unwrap());
    let kept = uid(&space.get("pod", "t-worker-0").unwrap());
    for count in [3_usize, 1] {
        space.must(&["scale", "mpij", "t", &format!("--replicas={count}")]);
        wait_for("the lists to follow", || {
            (hostfile(&space).lines().count() == count + 1 && discovered(&space) == count + 1).then_some(())
        });
        wait_for("the pods to follow", || {
            (space.pods("t").len() == count + 1).then_some(())
        });
    }
    assert_eq!(uid(&space.get("job", "t-launcher").unwrap()), launcher);
    assert_eq!(
        uid(&space.get("pod", "t-worker-0").unwrap()),
        kept,
        "its index label is 1"
    );
    assert!(hostfile(&space).starts_with(&format!(
        "t-launcher.t.{0}.svc slots=1\nt-worker-0.t.{0}.svc",
        space.name
    )));
    // Whoever changes the list by hand does not keep it so once pods are made.
    space.must(&[
        "patch",
        "configmap",
        "t-config",
        "-p",
        r#"{"data":{"hostfile":"evil\n"}}"#,
    ]);
    space.must(&["scale", "mpij", "t", "--replicas=2"]);
    wait_for("the list to be set right", || {
        (hostfile(&space).lines().count() == 3).then_some(())
    });
}

#[test]
fn an_evicted_worker_comes_back_and_costs_nothing() {
    let space = Space::of("mpij", "mpi-evicted");
    let mut job = idle("v2beta1", "t");
    job["spec"]["runPolicy"]["backoffLimit"] = json!(0);
    space.apply(&job);
    space.until("t", "Running");
    let before = uid(&space.get("pod", "t-worker-1").unwrap());
    let launcher = uid(&space.get("job", "t-launcher").unwrap());
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "t-worker-1"}});
    let file = std::env::temp_dir().join(format!("eviction-{}.json", std::process::id()));
    std::fs::write(&file, eviction.to_string()).unwrap();
    let path = format!("/api/v1/namespaces/{}/pods/t-worker-1/eviction", space.name);
    must(&["create", "--raw", &path, "-f", file.to_str().unwrap()]);
    wait_for("a new worker", || {
        let pod = space.get("pod", "t-worker-1")?;
        (uid(&pod) != before && pod["status"]["phase"] == "Running").then_some(())
    });
    space.until("t", "Running");
    let status = space.status("t");
    assert_eq!(status["restartCounts"]["disruptions"], 1, "{status:#}");
    assert!(status["restartCounts"].get("failures").is_none(), "{status:#}");
    assert_eq!(
        uid(&space.get("job", "t-launcher").unwrap()),
        launcher,
        "an elastic launcher would go on"
    );
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_launcher_of_v1_may_exec_into_its_own_workers_and_nothing_else() {
    let space = Space::of("mpij", "mpi-rights");
    space.apply(&idle("v1", "t"));
    space.apply(&idle("v1", "other"));
    space.until("t", "Running");
    space.until("other", "Running");
    let who = format!("--as=system:serviceaccount:{}:t-launcher", space.name);
    let may = |verb: &str, what: &str| {
        let output = space.run(&["auth", "can-i", &who, verb, what]);
        String::from_utf8_lossy(&output.stdout).trim() == "yes"
    };
    let exec = |pod: &str| {
        let output = space.run(&[
            "auth",
            "can-i",
            &who,
            "create",
            &format!("pods/{pod}"),
            "--subresource=exec",
        ]);
        String::from_utf8_lossy(&output.stdout).trim() == "yes"
    };
    assert!(exec("t-worker-0") && exec("t-worker-1"));
    assert!(!exec("other-worker-0") && !exec("t-launcher") && !exec("other-launcher"));
    for (verb, what) in [
        ("get", "secrets"),
        ("list", "pods"),
        ("create", "pods"),
        ("get", "pods/other-worker-0"),
    ] {
        assert!(!may(verb, what), "{verb} {what}");
    }
    // The helper in the launcher, as mpirun calls it.
    let run = |pod: &str, script: &str| {
        space.run(&[
            "exec",
            "t-launcher",
            "--",
            "/opt/kube/kubectl",
            "exec",
            pod,
            "--",
            "/bin/sh",
            "-c",
            script,
        ])
    };
    let output = run("t-worker-1", "hostname; echo err >&2; exit 7");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "t-worker-1\n");
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&output.stderr).contains("err"));
    let output = run("other-worker-0", "true");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && words.contains("not allowed"),
        "{words}"
    );
    let big = run("t-worker-0", "dd if=/dev/zero bs=1M count=20 2>/dev/null");
    assert_eq!(big.stdout.len(), 20 << 20);
}

/// Waits until the operator has seen the job, and answers with the version whose meaning it has.
fn dialect(space: &Space, name: &str) -> String {
    wait_for("first sight", || {
        space.status(name)["dialect"].as_str().map(str::to_owned)
    })
}

/// Objects that only one of the two meanings has.
fn has(space: &Space, kind: &str, name: &str) -> bool {
    space.get(kind, name).is_some()
}

#[test]
fn a_job_keeps_the_meaning_of_the_version_that_it_was_created_through() {
    let space = Space::of("mpij", "mpi-versions");
    for (own, other) in [("v1", "v2beta1"), ("v2beta1", "v1")] {
        let name = format!("via-{own}");
        let mut job = idle(own, &name);
        if own == "v1" {
            job["spec"]["mainContainer"] = json!("mpi");
        } else {
            job["spec"]["sshAuthMountPath"] = json!("/root/.ssh");
        }
        space.apply(&job);
        space.until(&name, "Running");
        assert_eq!(dialect(&space, &name), own);
        let resource = |version: &str| format!("mpijobs.{version}.kubeflow.org");
        let read = |version: &str| space.get(&resource(version), &name).unwrap();
        let pods = || {
            space
                .pods(&name)
                .iter()
                .map(uid)
                .collect::<std::collections::BTreeSet<_>>()
        };
        let before = pods();

        // Read: nothing is lost, and the stamp is the creator's.
        let foreign = read(other);
        assert_eq!(foreign["apiVersion"], format!("kubeflow.org/{other}"));
        assert_eq!(foreign["spec"], read(own)["spec"]);
        // Patch.
        let patch = json!({"metadata": {"labels": {"patched": "yes"}}, "spec": {"slotsPerWorker": 3}});
        space.must(&[
            "patch",
            &resource(other),
            &name,
            "--type=merge",
            "-p",
            &patch.to_string(),
        ]);
        // Apply.
        let mut applied = job.clone();
        applied["apiVersion"] = json!(format!("kubeflow.org/{other}"));
        applied["spec"]["slotsPerWorker"] = json!(4);
        space.apply(&applied);
        wait_for("the host list", || {
            let map = space.get("configmap", &format!("{name}-config"))?;
            map["data"]["hostfile"]
                .as_str()?
                .contains("slots=4")
                .then_some(())
        });
        // A typed client's full update, which knows nothing of the stamp.
        let mut full = read(other);
        full["spec"].as_object_mut().unwrap().remove("launcherTransport");
        full["spec"]["slotsPerWorker"] = json!(5);
        let file = std::env::temp_dir().join(format!("put-{own}-{}.json", std::process::id()));
        std::fs::write(&file, full.to_string()).unwrap();
        let url = format!(
            "/apis/kubeflow.org/{other}/namespaces/{}/mpijobs/{name}",
            space.name
        );
        must(&["replace", "--raw", &url, "-f", file.to_str().unwrap()]);
        std::fs::remove_file(file).unwrap();
        assert_ne!(
            read(own)["spec"]["launcherTransport"],
            foreign["spec"]["launcherTransport"],
            "the stamp has flipped"
        );
        wait_for("the host list", || {
            let map = space.get("configmap", &format!("{name}-config"))?;
            map["data"]["hostfile"]
                .as_str()?
                .contains("slots=5")
                .then_some(())
        });
        // A pod that is made now is made in the old meaning.
        space.must(&["delete", "pod", &format!("{name}-worker-1")]);
        let replaced = wait_for("a new worker", || {
            let pod = space.get("pod", &format!("{name}-worker-1"))?;
            (!before.contains(&uid(&pod)) && pod["status"]["phase"] == "Running").then_some(pod)
        });
        assert_eq!(
            replaced["metadata"]["ownerReferences"][0]["apiVersion"],
            format!("kubeflow.org/{own}")
        );
        assert_eq!(dialect(&space, &name), own);
        let ssh = own == "v2beta1";
        assert_eq!(has(&space, "secret", &format!("{name}-ssh")), ssh);
        assert_eq!(has(&space, "job", &format!("{name}-launcher")), ssh);
        assert_eq!(has(&space, "pod", &format!("{name}-launcher")), !ssh);
        assert_eq!(has(&space, "role", &format!("{name}-launcher")), !ssh);
        // Delete.
        space.must(&["delete", &resource(other), &name, "--wait"]);
        wait_for("everything to go", || {
            let left = has(&space, "configmap", &format!("{name}-config")) || !space.pods(&name).is_empty();
            (!left).then_some(())
        });
    }
}

#[test]
fn the_job_itself_is_deleted_when_its_time_to_live_is_over_and_other_managers_are_let_alone() {
    let space = Space::of("mpij", "mpi-ttl");
    let mut job = idle("v2beta1", "t");
    job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["command"] =
        json!(["true"]);
    job["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = json!(2);
    space.apply(&job);
    let mut foreign = idle("v2beta1", "foreign");
    foreign["spec"]["runPolicy"]["managedBy"] = json!("kueue.x-k8s.io/multikueue");
    space.apply(&foreign);
    wait_for("the job to go", || space.get("mpij", "t").is_none().then_some(()));
    wait_for("its launcher to go", || {
        space.get("job", "t-launcher").is_none().then_some(())
    });
    assert!(space.status("foreign").is_null() && space.pods("foreign").is_empty());
    let patch = r#"{"spec":{"runPolicy":{"managedBy":"kubeflow.org/mpi-operator"}}}"#;
    let output = space.run(&["patch", "mpij", "foreign", "--type=merge", "-p", patch]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("field is immutable"));
}
