//! Gangs, placed by the real scheduler: all of a job's pods or none.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::Instant;

use e2e::incarnations::Watch;
use e2e::node::is_spare;
use e2e::{Space, TOOLBOX, find, holds, kubectl, must, script, uid, wait_for};
use serde_json::{Value, json};

/// One test at a time fills the node.
fn alone() -> File {
    let guard = e2e::alone(e2e::Exclusive::Cluster);
    // What the test before has left counts as taken for a moment, and then there would be more room than was measured.
    // Only namespaces that are on their way out now: tests beside this one end all the time, and are small.
    let ending = || -> BTreeSet<String> {
        let goes = |space: &&Value| space["status"]["phase"] == "Terminating";
        let spaces = list(&["get", "namespaces", "-o", "json"]);
        spaces.iter().filter(goes).map(uid).collect()
    };
    let earlier = ending();
    wait_for("namespaces of earlier tests to go", || {
        earlier.is_disjoint(&ending()).then_some(())
    });
    guard
}

fn millicpus(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap_or("0");
    match text.strip_suffix('m') {
        Some(milli) => milli.parse().unwrap(),
        None => text.parse::<u64>().unwrap() * 1000,
    }
}

fn list(args: &[&str]) -> Vec<Value> {
    let list: Value = serde_json::from_str(&must(args)).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Millicpus of the largest node that pods of tests may request: all but those of pods that stay. Pods of tests beside this
/// one are not subtracted, since they end at any time: a gang must not fit once they are gone. They take a fifth at most.
fn room() -> u64 {
    let pods = list(&["get", "pods", "--all-namespaces", "-o", "json"]);
    let of_node = |node: &Value| {
        let on = |pod: &&Value| {
            let ended = ["Succeeded", "Failed"]
                .iter()
                .any(|phase| pod["status"]["phase"] == *phase);
            let of_test = pod["metadata"]["namespace"].as_str().unwrap().starts_with("e2e-");
            pod["spec"]["nodeName"] == node["metadata"]["name"] && !ended && !of_test
        };
        let containers = pods
            .iter()
            .filter(on)
            .flat_map(|pod| pod["spec"]["containers"].as_array().unwrap());
        let used: u64 = containers
            .map(|c| millicpus(&c["resources"]["requests"]["cpu"]))
            .sum();
        millicpus(&node["status"]["allocatable"]["cpu"]).saturating_sub(used)
    };
    let nodes = list(&["get", "nodes", "-o", "json"]);
    let common = nodes.iter().filter(|node| !is_spare(node));
    let most = common.map(of_node).max().unwrap();
    assert!(most > 1000, "there is no room on the node: {most}m");
    most
}

/// A job of workers that ask for so much each.
fn gang(name: &str, workers: u32, millis: u64, run: &str) -> Value {
    let mut job = script(name, &[("Worker", workers)], "ExitCode", run);
    job["spec"]["runPolicy"] = json!({"suspend": false});
    let container = &mut job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0];
    container["resources"] = json!({"requests": {"cpu": format!("{millis}m"), "memory": "16Mi"}});
    job
}

const GROUPS: &str = "podgroups.scheduling.k8s.io";

fn group(space: &Space, job: &str) -> Option<Value> {
    space.get(GROUPS, job)
}

fn is_placed(pod: &Value) -> bool {
    pod["spec"].get("nodeName").is_some()
}

fn patch(space: &Space, job: &str, patch: &Value) {
    space.must(&["patch", space.kind, job, "--type=merge", "-p", &patch.to_string()]);
}

#[test]
fn two_gangs_that_do_not_fit_together_run_one_after_the_other_and_never_half() {
    let _alone = alone();
    let space = Space::new("gang-two");
    let watch = Watch::start(&space.name, kubectl);
    let each = room() * 26 / 100; // three fit, four never do: there is no room beside the last pod of a gang either
    for job in ["a", "b"] {
        space.apply(&gang(job, 3, each, "sleep 4"));
    }
    for job in ["a", "b"] {
        space.until(job, "Succeeded");
    }
    // Who has a place at any time.
    let (mut placed, mut most) = (
        BTreeSet::new(),
        std::collections::BTreeMap::<String, usize>::new(),
    );
    for pod in watch.states() {
        let Some(job) = pod["metadata"]["labels"]["training.kubeflow.org/job-name"].as_str() else {
            continue;
        };
        assert_eq!(pod["spec"]["schedulingGroup"], json!({"podGroupName": job}));
        let ended = ["Succeeded", "Failed"]
            .iter()
            .any(|phase| pod["status"]["phase"] == *phase);
        let entry = (job.to_owned(), uid(&pod));
        if is_placed(&pod) && !ended {
            placed.insert(entry);
        } else {
            placed.remove(&entry);
        }
        let jobs: BTreeSet<&str> = placed.iter().map(|(job, _)| job.as_str()).collect();
        assert!(jobs.len() <= 1, "half of each has a place: {placed:?}");
        let count = most.entry(job.to_owned()).or_default();
        *count = (*count).max(placed.len());
    }
    assert_eq!(most.len(), 2);
    for job in ["a", "b"] {
        let made = watch.read();
        assert!(
            made.keys().filter(|(pod, _)| pod.starts_with(job)).count() == 3,
            "{made:?}"
        );
        wait_for("its PodGroup to go", || {
            group(&space, job).is_none().then_some(())
        });
    }
    println!("most pods with a place at a time: {most:?}");
}

#[test]
fn a_gang_that_can_never_fit_says_so_and_runs_once_less_is_asked_for() {
    let _alone = alone();
    let space = Space::new("gang-big");
    let each = room() * 2 / 5; // two fit, three never do
    space.apply(&gang("scaled", 3, each, "sleep 2"));
    space.apply(&gang("eased", 3, each, "sleep 2"));
    let begun = Instant::now();
    for job in ["scaled", "eased"] {
        let words = wait_for("the job to say that its gang finds no place", || {
            let waits = space.status(job)["waitingFor"].as_str()?.to_owned();
            waits
                .contains(&format!("PodGroup {job} finds no place"))
                .then_some(waits)
        });
        println!("after {:?}: {words}", begun.elapsed());
        let own = &find(
            &group(&space, job).unwrap()["status"],
            "PodGroupInitiallyScheduled",
        )["message"];
        assert!(words.contains(own.as_str().unwrap()), "{own}");
        let created = find(&space.status(job), "Created")["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(created.contains("It waits: PodGroup"), "{created}");
        space.event(job, "Unschedulable", &[&format!("PodGroup {job} finds no place")]);
        assert!(space.pods(job).iter().all(|pod| !is_placed(pod)), "half a gang");
    }
    // The scheduler tells of one pod after another; what it says of three must not arrive when there are two.
    let said = |job: &str| {
        let of_pod = |pod: &Value| pod["status"]["conditions"].clone();
        space.pods(job).iter().map(of_pod).collect::<Vec<_>>()
    };
    wait_for("the scheduler to have said all", || {
        let before = [said("scaled"), said("eased")];
        std::thread::sleep(std::time::Duration::from_secs(2));
        (before == [said("scaled"), said("eased")]).then_some(())
    });
    space.must(&["scale", "ptj", "scaled", "--replicas=2"]);
    patch(
        &space,
        "eased",
        &json!({"spec": {"runPolicy": {"schedulingPolicy": {"minAvailable": 1}}}}),
    );
    for job in ["scaled", "eased"] {
        space.until(job, "Succeeded");
        let status = space.status(job);
        assert!(status.get("waitingFor").is_none(), "{status:#}");
        assert!(
            !find(&status, "Created")["message"]
                .as_str()
                .unwrap()
                .contains("waits")
        );
    }
    let told = space.events("scaled");
    let told = told.iter().filter(|(_, reason, _)| reason == "Unschedulable");
    assert_eq!(told.count(), 1, "it is told once");
}

#[test]
fn a_replica_of_a_running_gang_is_replaced() {
    let space = Space::new("gang-replace");
    let run = "if [ $RANK = 0 ]; then exit 0; fi; until [ -e /tmp/go ]; do sleep 1; done";
    space.apply(&gang("r", 3, 10, run));
    space.until("r", "Running");
    // Who has done his work does not count any more.
    space.pod_until("r-worker-0", "Succeeded");
    let (before, first) = (
        group(&space, "r").unwrap(),
        space.get("pod", "r-worker-1").unwrap(),
    );
    assert_eq!(
        before["spec"]["schedulingPolicy"],
        json!({"gang": {"minCount": 3}})
    );
    space.must(&["delete", "pod", "r-worker-1", "--wait=false"]);
    wait_for("worker 1 to be replaced", || {
        let pod = space.get("pod", "r-worker-1")?;
        (uid(&pod) != uid(&first) && pod["status"]["phase"] == "Running").then_some(())
    });
    let after = group(&space, "r").unwrap();
    assert_eq!(uid(&after), uid(&before));
    assert_eq!(
        after["spec"]["schedulingPolicy"],
        json!({"gang": {"minCount": 2}})
    );
    // One more, with two that run and one that is done.
    space.must(&["scale", "ptj", "r", "--replicas=4"]);
    space.pod_until("r-worker-3", "Running");
    for pod in ["r-worker-1", "r-worker-2", "r-worker-3"] {
        space.must(&["exec", pod, "--", "touch", "/tmp/go"]);
    }
    space.until("r", "Succeeded");
}

#[test]
fn suspended_it_asks_for_nothing_and_resumed_it_is_a_gang_again() {
    let space = Space::new("gang-suspend");
    space.apply(&gang("s", 2, 10, "until [ -e /tmp/go ]; do sleep 1; done"));
    space.until("s", "Running");
    let before = uid(&group(&space, "s").unwrap());
    patch(&space, "s", &json!({"spec": {"runPolicy": {"suspend": true}}}));
    wait_for("the PodGroup to go", || {
        group(&space, "s").is_none().then_some(())
    });
    wait_for("the pods to go", || space.pods("s").is_empty().then_some(()));
    patch(&space, "s", &json!({"spec": {"runPolicy": {"suspend": false}}}));
    space.until("s", "Running");
    assert_ne!(uid(&group(&space, "s").unwrap()), before);
    for pod in ["s-worker-1", "s-worker-0"] {
        space.pod_until(pod, "Running");
        space.must(&["exec", pod, "--", "touch", "/tmp/go"]);
    }
    space.until("s", "Succeeded");
}

#[test]
fn another_scheduler_in_one_role_does_not_keep_the_gang_from_running() {
    let space = Space::new("gang-other");
    let mut job = script("o", &[("Master", 1), ("Worker", 2)], "ExitCode", "sleep 2");
    job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["schedulerName"] = json!("nobody");
    space.apply(&job);
    space.pod_until("o-master-0", "Running");
    space.event(
        "o",
        "NotInGang",
        &["Worker pods are placed by themselves", "schedulerName nobody"],
    );
    assert!(
        space
            .pods("o")
            .iter()
            .any(|pod| pod["spec"].get("schedulingGroup").is_none())
    );
    space.until("o", "Succeeded");
}

/// A pod of another kind that runs a script.
fn pod(container: &str, run: &str) -> Value {
    let container = json!({
        "name": container, "image": TOOLBOX, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", run],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    });
    json!({"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}})
}

#[test]
fn a_tfjob_is_a_gang() {
    let space = Space::of("tfj", "gang-tf");
    let template = pod("tensorflow", "sleep 3");
    space.apply(&json!({
        "apiVersion": "kubeflow.org/v1", "kind": "TFJob", "metadata": {"name": "t"},
        "spec": {"tfReplicaSpecs": {
            "Chief": {"replicas": 1, "template": template}, "Worker": {"replicas": 2, "template": template},
        }},
    }));
    let group = wait_for("its PodGroup", || group(&space, "t"));
    assert_eq!(
        group["spec"]["schedulingPolicy"],
        json!({"gang": {"minCount": 3}})
    );
    let status = wait_for("t Succeeded", || {
        Some(space.status("t")).filter(|status| holds(status, "Succeeded"))
    });
    assert!(!holds(&status, "Failed"));
    for pod in space.pods("t") {
        assert_eq!(pod["spec"]["schedulingGroup"]["podGroupName"], "t");
    }
}

#[test]
fn a_launcher_that_waits_for_its_workers_does_not_keep_its_gang_waiting() {
    let space = Space::of("mpij", "gang-mpi");
    let job = |name: &str, when: &str| {
        json!({
            "apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob", "metadata": {"name": name},
            "spec": {
                "launcherCreationPolicy": when,
                "runPolicy": {"cleanPodPolicy": "Running"},
                "mpiReplicaSpecs": {
                    "Launcher": {"template": pod("mpi", "sleep 3")},
                    "Worker": {"replicas": 2, "template": pod("mpi", "sleep 600")},
                },
            },
        })
    };
    space.apply(&job("waits", "WaitForWorkersReady"));
    space.apply(&job("starts", "AtStartup"));
    let launcher = "training.kubeflow.org/job-name=waits,training.kubeflow.org/job-role=launcher";
    let launchers = || space.select(launcher);
    let of_launcher = wait_for("the launcher", || launchers().pop());
    assert_eq!(of_launcher["spec"]["schedulingGroup"]["podGroupName"], "waits");
    for name in ["waits", "starts"] {
        let status = wait_for(&format!("{name} Succeeded"), || {
            Some(space.status(name)).filter(|status| holds(status, "Succeeded"))
        });
        assert!(!holds(&status, "Failed"));
        wait_for("its PodGroup to go", || {
            group(&space, name).is_none().then_some(())
        });
    }
}

/// A quota has room for a part of a gang: it is given back, another job gets it, and the gang runs when there is room.
#[test]
fn of_a_gang_that_a_quota_refuses_in_part_nothing_is_held() {
    let space = Space::new("gang-quota");
    let quota = |pods: u32| {
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
            "spec": {"hard": {"pods": pods.to_string()}},
        })
    };
    space.apply(&quota(2));
    wait_for("the quota to hold", || {
        let quota = space.get("resourcequota", "q")?;
        (quota["status"]["hard"]["pods"] == "2").then_some(())
    });
    let mut large = gang("large", 3, 1, "true");
    large["spec"]["runPolicy"]["schedulingPolicy"] = json!({"scheduleTimeoutSeconds": 10});
    space.apply(&large);
    wait_for("a part of it to be refused", || {
        let status = space.status("large");
        status["gang"].get("incompleteSince").map(|_| ())
    });
    space.event("large", "GangGivenBack", &["given back", "exceeded quota: q"]);
    let status = space.status("large");
    assert_eq!(status["gang"]["givenBack"], 1, "{status}");
    assert!(status.get("restartCounts").is_none(), "{status}");
    space.apply(&gang("small", 2, 1, "true"));
    space.until("small", "Succeeded");
    space.must(&["delete", space.kind, "small"]);
    space.apply(&quota(3));
    space.until("large", "Succeeded");
    assert!(
        space
            .pods("large")
            .iter()
            .all(|pod| { pod["metadata"]["labels"]["trainyard.dev/attempt"] == "1" })
    );
}
