//! Jobs that grow and shrink while they run, by hand and by an autoscaler.

use e2e::{DIGITS, Space, TOOLBOX, find, holds, job, script, uid, wait_for};
use serde_json::{Value, json};

fn patch(space: &Space, job: &str, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    space.must(&["patch", space.kind, job, "--type=merge", "-p", &patch]);
}

fn scale(space: &Space, job: &str, count: usize) {
    space.must(&["scale", space.kind, job, &format!("--replicas={count}")]);
}

/// The scale subresource: replicas that are wanted, that there are, and the selector.
fn scale_of(space: &Space, job: &str) -> (i64, i64, String) {
    let scale = space.scale(job);
    (
        scale["spec"]["replicas"].as_i64().unwrap_or(0),
        scale["status"]["replicas"].as_i64().unwrap_or(0),
        scale["status"]["selector"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

/// Names of pods and their UIDs.
fn incarnations(pods: &[Value]) -> Vec<(String, String)> {
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
    pods.iter().map(|pod| (name(pod), uid(pod))).collect()
}

fn selected(space: &Space, selector: &str) -> Vec<Value> {
    space.select(selector)
}

/// A job of any kind in which nothing is computed, with these replicas.
fn idle(version: &str, kind: &str, map: &str, container: &str, replicas: &[(&str, u32)]) -> Value {
    let container = json!({
        "name": container, "image": TOOLBOX, "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "3600"], "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    });
    let pod = json!({"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}});
    let roles: serde_json::Map<String, Value> = replicas
        .iter()
        .map(|(role, count)| ((*role).to_owned(), json!({"replicas": count, "template": pod})))
        .collect();
    json!({
        "apiVersion": format!("kubeflow.org/{version}"), "kind": kind, "metadata": {"name": "t"},
        "spec": {"runPolicy": {"backoffLimit": 0}, map: roles},
    })
}

fn tf(replicas: &[(&str, u32)]) -> Value {
    idle("v1", "TFJob", "tfReplicaSpecs", "tensorflow", replicas)
}

fn mpi(version: &str, workers: u32) -> Value {
    let replicas = [("Launcher", 1), ("Worker", workers)];
    idle(version, "MPIJob", "mpiReplicaSpecs", "mpi", &replicas)
}

/// Scales the workers of job `t` up and down, and sees to it that those that stay are left alone.
fn goes_up_and_down(space: &Space) {
    space.until("t", "Running");
    let transition = find(&space.status("t"), "Running")["lastTransitionTime"].clone();
    let first = incarnations(&space.pods("t"));
    for count in [3_usize, 1, 2] {
        scale(space, "t", count);
        wait_for(&format!("{count} workers to run"), || {
            let (wanted, there, selector) = scale_of(space, "t");
            let pods = selected(space, &selector);
            let settled = usize::try_from(wanted) == Ok(count) && wanted == there && pods.len() == count;
            settled.then_some(())
        });
        let now = incarnations(&space.pods("t"));
        let stays = |(name, _): &&(String, String)| !name.ends_with("-worker-1");
        for kept in first.iter().filter(stays) {
            assert!(now.contains(kept), "{kept:?} is not in {now:?}");
        }
        let status = space.status("t");
        assert_eq!(
            find(&status, "Running")["lastTransitionTime"],
            transition,
            "{status:#}"
        );
        assert!(status.get("restartCounts").is_none(), "{status:#}");
        let (_, _, selector) = scale_of(space, "t");
        let mut workers: Vec<String> = incarnations(&selected(space, &selector))
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        workers.sort();
        let wanted: Vec<String> = (0..count).map(|i| format!("t-worker-{i}")).collect();
        assert_eq!(workers, wanted, "the highest indices go first");
    }
}

#[test]
fn jobs_of_every_kind_are_scaled_by_their_subresource() {
    let replicas = [("Master", 1), ("Worker", 2)];
    let jobs: [(&str, &str, Value); 4] = [
        (
            "ptj",
            "scale-ptj",
            idle("v1", "PyTorchJob", "pytorchReplicaSpecs", "pytorch", &replicas),
        ),
        ("tfj", "scale-tfj", tf(&[("Chief", 1), ("PS", 1), ("Worker", 2)])),
        ("mpijobs.v1.kubeflow.org", "scale-mpij-v1", mpi("v1", 2)),
        ("mpijobs.v2beta1.kubeflow.org", "scale-mpij", mpi("v2beta1", 2)),
    ];
    std::thread::scope(|scope| {
        for (kind, name, job) in &jobs {
            scope.spawn(move || {
                let space = Space::of(kind, name);
                space.apply(job);
                goes_up_and_down(&space);
                println!("{kind}: {:?}", scale_of(&space, "t"));
            });
        }
    });
}

/// With a Master the last worker may go, too.
#[test]
fn workers_beside_a_master_go_and_come_back() {
    let space = Space::new("scale-none");
    let replicas = [("Master", 1), ("Worker", 2)];
    space.apply(&idle(
        "v1",
        "PyTorchJob",
        "pytorchReplicaSpecs",
        "pytorch",
        &replicas,
    ));
    space.until("t", "Running");
    let master = uid(&space.get("pod", "t-master-0").unwrap());
    for count in [0_usize, 2] {
        scale(&space, "t", count);
        wait_for(&format!("{count} workers"), || {
            let (_, there, _) = scale_of(&space, "t");
            (space.pods("t").len() == count + 1 && usize::try_from(there) == Ok(count)).then_some(())
        });
    }
    assert_eq!(uid(&space.get("pod", "t-master-0").unwrap()), master);
    assert!(holds(&space.status("t"), "Running"));
}

#[test]
fn the_leader_is_never_scaled_away() {
    // Where nothing would be left, the API server says no.
    let alone = Space::new("scale-alone");
    alone.apply(&script("t", &[("Worker", 2)], "OnFailure", "sleep 3600"));
    alone.until("t", "Running");
    let output = alone.run(&["scale", "ptj", "t", "--replicas=0"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("{said}");
    assert!(said.contains("must have at least one replica"), "{said}");
    assert_eq!(alone.pods("t").len(), 2);

    // Where something would be left, the operator does.
    let space = Space::of("tfj", "scale-leader");
    space.apply(&tf(&[("PS", 1), ("Worker", 2)]));
    space.until("t", "Running");
    let before = incarnations(&space.pods("t"));
    scale(&space, "t", 0);
    let words =
        "would take away t-worker-0, which leads the job; to stop it, set spec.runPolicy.suspend to true";
    space.event("t", "TFJobInvalid", &[words]);
    let status = space.status("t");
    assert!(
        status["waitingFor"].as_str().unwrap().contains(words),
        "{status:#}"
    );
    assert!(holds(&status, "Running"));
    assert_eq!(incarnations(&space.pods("t")), before);
    assert_eq!(scale_of(&space, "t").1, 2);
    scale(&space, "t", 1);
    wait_for("worker 1 to go", || (space.pods("t").len() == 2).then_some(()));
    wait_for("nothing to be said any more", || {
        space.status("t").get("waitingFor").is_none().then_some(())
    });
    scale(&space, "t", 0);
    space.event("t", "TFJobInvalid", &[words]);
    patch(&space, "t", &json!({"runPolicy": {"suspend": true}}));
    wait_for("the pods to go", || space.pods("t").is_empty().then_some(()));
}

fn tf_config(pod: &Value) -> Value {
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let variable = env.iter().rfind(|e| e["name"] == "TF_CONFIG").unwrap();
    serde_json::from_str(variable["value"].as_str().unwrap()).unwrap()
}

#[test]
fn dynamic_workers_of_a_tfjob_come_and_go_and_nobody_else_is_told() {
    let space = Space::of("tfj", "scale-dynamic");
    let mut job = tf(&[("Chief", 1), ("PS", 1), ("Worker", 2)]);
    job["spec"]["enableDynamicWorker"] = json!(true);
    // Who is told to go ends badly: that is no failure.
    let worker = &mut job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0];
    worker["command"] = json!(["sh", "-c", "trap 'exit 1' TERM; sleep 3600 & wait"]);
    space.apply(&job);
    let chief = || tf_config(&space.get("pod", "t-chief-0").unwrap());
    space.until("t", "Running");
    let told = chief();
    goes_up_and_down(&space);
    assert_eq!(chief(), told);
    let config = tf_config(&space.get("pod", "t-worker-1").unwrap());
    let host = |name: &str| format!("{name}.t.{}.svc:2222", space.name);
    assert_eq!(
        config["cluster"]["worker"],
        json!({"1": host("t-worker-1")}),
        "itself"
    );
    assert_eq!(
        config["cluster"]["ps"].as_array().unwrap().len(),
        1,
        "and the parameter servers"
    );
    assert_eq!(config["task"], json!({"type": "worker", "index": 1}));
}

fn lists(space: &Space) -> (usize, usize) {
    let map = space.get("configmap", "t-config").unwrap_or_default();
    let lines = |file: &str, begin: &str| {
        let text = map["data"][file].as_str().unwrap_or_default();
        text.lines().filter(|line| line.starts_with(begin)).count()
    };
    (
        lines("hostfile", "t-worker-"),
        lines("discover_hosts.sh", "echo "),
    )
}

#[test]
fn host_lists_of_both_mpijobs_follow_the_workers() {
    for (version, kind, name) in [
        ("v1", "mpijobs.v1.kubeflow.org", "hosts-v1"),
        ("v2beta1", "mpijobs.v2beta1.kubeflow.org", "hosts-v2"),
    ] {
        let space = Space::of(kind, name);
        space.apply(&mpi(version, 2));
        space.until("t", "Running");
        for count in [3_usize, 1] {
            scale(&space, "t", count);
            wait_for("the lists to follow", || {
                (lists(&space) == (count, count)).then_some(())
            });
        }
        // The launcher sees them where it looks, once the kubelet has brought them.
        let launcher = if version == "v1" {
            "pod/t-launcher"
        } else {
            "job/t-launcher"
        };
        wait_for("the launcher to read one host", || {
            let output = space.run(&["exec", launcher, "--", "cat", "/etc/mpi/discover_hosts.sh"]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (text.matches("t-worker-").count() == 1).then_some(())
        });
        assert!(space.status("t").get("restartCounts").is_none());
    }
}

/// How many train together by the words of worker 0: those who have begun last, once they have come through an epoch. (Who
/// loses a peer sooner than that waits for it as long as the script's own patience lasts.)
fn together(space: &Space) -> Option<usize> {
    let log = space.run(&["logs", "t-worker-0"]).stdout;
    let log = String::from_utf8_lossy(&log).into_owned();
    let (_, last) = log.rsplit_once("world of ")?;
    let (world, since) = last.split_once(' ')?;
    since.contains("epoch ").then(|| world.parse().unwrap())
}

/// torchrun gathers those that there are, and training goes on from the last checkpoint.
#[test]
fn an_elastic_run_goes_from_two_workers_to_three_and_back() {
    let space = Space::new("elastic-scaled");
    // Says how many they are at each beginning; the training itself is the example's.
    let run = "import os, runpy, sys\n\
               print('world of', os.environ['WORLD_SIZE'], 'begins', flush=True)\n\
               sys.argv = ['train.py', '--epochs=30', '--epoch-seconds=1', '--timeout=20', \
               '--checkpoint-dir=/checkpoints']\n\
               runpy.run_path('/opt/trainyard/train.py', run_name='__main__')\n";
    let command = "printf '%s' \"$RUN\" > /tmp/run.py; exec torchrun /tmp/run.py";
    let mut job = job("t", &[("Worker", 2)], "OnFailure", DIGITS, &["sh", "-c", command]);
    job["spec"]["nprocPerNode"] = json!("1");
    job["spec"]["elasticPolicy"] = json!({"minReplicas": 2, "maxReplicas": 3, "maxRestarts": 30});
    let pod = &mut job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"];
    pod["containers"][0]["env"] = json!([{"name": "RUN", "value": run}]);
    pod["volumes"] = json!([{"name": "c", "emptyDir": {}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "c", "mountPath": "/checkpoints"}]);
    space.apply(&job);
    wait_for("a run of two", || (together(&space) == Some(2)).then_some(()));
    let leader = uid(&space.get("pod", "t-worker-0").unwrap());
    for count in [3_usize, 2] {
        scale(&space, "t", count);
        wait_for(&format!("a run of {count}"), || {
            (together(&space) == Some(count)).then_some(())
        });
        println!("{count} train together");
    }
    space.until("t", "Succeeded");
    let log = space.must(&["logs", "t-worker-0"]);
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("world of") || line.contains("resumed"))
        .collect();
    println!("{}", told.join("\n"));
    assert!(log.contains("resumed from epoch"), "{log}");
    assert_eq!(uid(&space.get("pod", "t-worker-0").unwrap()), leader);
    let status = space.status("t");
    assert!(status["restartCounts"].get("failures").is_none(), "{status:#}");
}

fn metrics(average: &str) -> Value {
    let target = json!({"type": "AverageValue", "averageValue": average});
    json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
}

fn autoscaled(min: u32, max: u32) -> Value {
    let mut job = script("t", &[("Worker", 2)], "OnFailure", "sleep 3600");
    job["spec"]["elasticPolicy"] = json!({"minReplicas": min, "maxReplicas": max, "metrics": metrics("0.5")});
    job
}

fn gone(space: &Space) {
    wait_for("no autoscaler", || space.get("hpa", "t").is_none().then_some(()));
}

fn there(space: &Space) -> Value {
    wait_for("an autoscaler", || space.get("hpa", "t"))
}

/// There is no metrics server here: what the autoscaler does without metrics is to keep to its limits.
#[test]
fn an_autoscaler_is_made_followed_changed_and_taken_away() {
    let space = Space::new("autoscaled");
    space.apply(&autoscaled(1, 4));
    space.until("t", "Running");
    let hpa = there(&space);
    let target = json!({"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": "t"});
    assert_eq!(hpa["spec"]["scaleTargetRef"], target);
    assert_eq!(
        (&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]),
        (&json!(1), &json!(4))
    );
    let quantity = "/spec/metrics/0/resource/target/averageValue";
    assert_eq!(
        hpa.pointer(quantity).unwrap(),
        "500m",
        "as the API server writes 0.5"
    );
    assert_eq!(
        hpa["metadata"]["ownerReferences"][0]["uid"],
        uid(&space.get("ptj", "t").unwrap())
    );
    // It can read the scale of the job.
    let status = wait_for("it to have looked", || {
        let status = there(&space)["status"].clone();
        holds(&status, "AbleToScale").then_some(status)
    });
    println!(
        "{} | {}",
        find(&status, "AbleToScale"),
        find(&status, "ScalingActive")
    );
    assert_eq!(
        find(&status, "ScalingActive")["status"],
        "False",
        "there are no metrics"
    );

    // It follows the policy, and the job follows it.
    patch(
        &space,
        "t",
        &json!({"elasticPolicy": {"minReplicas": 3, "maxReplicas": 5}}),
    );
    wait_for("the autoscaler to bring a third worker", || {
        (scale_of(&space, "t").1 == 3).then_some(())
    });
    let changed = there(&space);
    assert_eq!(uid(&changed), uid(&hpa));
    assert_eq!(
        (&changed["spec"]["minReplicas"], &changed["spec"]["maxReplicas"]),
        (&json!(3), &json!(5))
    );
    assert_eq!(changed.pointer(quantity).unwrap(), "500m");
    let events = space.must(&[
        "get",
        "events",
        "--field-selector=involvedObject.kind=HorizontalPodAutoscaler",
    ]);
    println!("{events}");
    assert!(events.contains("SuccessfulRescale"), "{events}");

    // It goes with the suspension, with the metrics and with the job's end, and comes back with them.
    patch(&space, "t", &json!({"runPolicy": {"suspend": true}}));
    gone(&space);
    patch(&space, "t", &json!({"runPolicy": {"suspend": false}}));
    assert_ne!(uid(&there(&space)), uid(&hpa));
    patch(&space, "t", &json!({"elasticPolicy": {"metrics": null}}));
    gone(&space);
    assert_eq!(scale_of(&space, "t").0, 3, "what it did stays");
    patch(
        &space,
        "t",
        &json!({"elasticPolicy": {"metrics": metrics("0.5")}}),
    );
    there(&space);
    patch(&space, "t", &json!({"elasticPolicy": null}));
    gone(&space);
}

#[test]
fn an_ended_job_is_not_scaled() {
    let space = Space::new("autoscaled-end");
    let mut job = script(
        "t",
        &[("Worker", 1)],
        "Never",
        "until [ -e /tmp/go ]; do sleep 1; done",
    );
    job["spec"]["elasticPolicy"] = json!({"minReplicas": 1, "maxReplicas": 2, "metrics": metrics("1")});
    space.apply(&job);
    space.until("t", "Running");
    there(&space);
    space.must(&["exec", "t-worker-0", "--", "touch", "/tmp/go"]);
    space.until("t", "Succeeded");
    gone(&space);
}

#[test]
fn an_autoscaler_of_somebody_else_is_never_touched_and_one_that_is_wrong_is_told_of() {
    let space = Space::new("autoscaled-other");
    let spec = json!({
        "scaleTargetRef": {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": "t"},
        "minReplicas": 2, "maxReplicas": 2, "metrics": metrics("1"),
    });
    space.apply(&json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "t"}, "spec": spec,
    }));
    let theirs = there(&space);
    space.apply(&autoscaled(1, 4));
    space.until("t", "Running");
    let words = "HorizontalPodAutoscaler t exists and does not belong to this job";
    space.event("t", "FailedCreateHorizontalPodAutoscaler", &[words]);
    patch(&space, "t", &json!({"elasticPolicy": {"maxReplicas": 5}}));
    patch(&space, "t", &json!({"runPolicy": {"suspend": true}}));
    wait_for("the pods to go", || space.pods("t").is_empty().then_some(()));
    let now = there(&space);
    assert_eq!((uid(&now), &now["spec"]), (uid(&theirs), &theirs["spec"]));

    // Metrics that only the API of autoscalers refuses.
    let mut wrong = autoscaled(1, 4);
    wrong["metadata"]["name"] = json!("u");
    wrong["spec"]["elasticPolicy"]["metrics"] = json!([{"type": "Nonsense"}]);
    space.apply(&wrong);
    space.until("u", "Running");
    space.event(
        "u",
        "FailedCreateHorizontalPodAutoscaler",
        &["HorizontalPodAutoscaler u was refused", "metrics[0]"],
    );
    patch(&space, "u", &json!({"elasticPolicy": {"metrics": metrics("1")}}));
    wait_for("it to be made once the mistake is mended", || {
        space.get("hpa", "u")
    });
    wait_for("nothing to be said any more", || {
        space.status("u").get("waitingFor").is_none().then_some(())
    });
}

/// `runPolicy.managedBy` of every kind, on the API server itself.
#[test]
fn managers_of_every_kind_are_known_words_and_never_change() {
    let pytorch = || {
        idle(
            "v1",
            "PyTorchJob",
            "pytorchReplicaSpecs",
            "pytorch",
            &[("Worker", 1)],
        )
    };
    let mpi_operator = "kubeflow.org/mpi-operator";
    let jobs: [(&str, Value, &[&str]); 4] = [
        ("ptj", pytorch(), &[]),
        ("tfj", tf(&[("Worker", 1)]), &[]),
        ("mpijobs.v1.kubeflow.org", mpi("v1", 1), &[mpi_operator]),
        ("mpijobs.v2beta1.kubeflow.org", mpi("v2beta1", 1), &[mpi_operator]),
    ];
    let space = Space::new("managers");
    let ours = "kubeflow.org/training-operator";
    let theirs = "kueue.x-k8s.io/multikueue";
    for (kind, mut job, more) in jobs {
        let mut of = |name: &str, manager: &str| {
            job["metadata"]["name"] = json!(name);
            job["spec"]["runPolicy"] = json!({"managedBy": manager, "suspend": true});
            job.clone()
        };
        for wrong in ["me", "", if more.is_empty() { mpi_operator } else { "kueue" }] {
            let said = space.try_apply(&of("wrong", wrong)).expect_err(kind);
            assert!(
                said.contains("spec.runPolicy.managedBy: Unsupported value"),
                "{kind} {wrong}: {said}"
            );
        }
        let name = kind.split('.').take(2).collect::<Vec<_>>().join("-");
        space.apply(&of(&name, theirs));
        for (i, manager) in [ours].iter().chain(more).enumerate() {
            space.apply(&of(&format!("{name}-{i}"), manager));
            wait_for("a status", || {
                let job = space.get(kind, &format!("{name}-{i}"))?;
                holds(&job["status"], "Suspended").then_some(())
            });
        }
        // The other's was there first: had it been looked at, it would have a status by now.
        assert!(space.get(kind, &name).unwrap().get("status").is_none(), "{kind}");
        for change in [json!(ours), Value::Null] {
            let patch = json!({"spec": {"runPolicy": {"managedBy": change}}}).to_string();
            let output = space.run(&["patch", kind, &name, "--type=merge", "-p", &patch]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                said.contains("spec.runPolicy.managedBy") && said.contains("field is immutable"),
                "{kind}: {said}"
            );
        }
        let patch = json!({"spec": {"runPolicy": {"managedBy": theirs}}}).to_string();
        let output = space.run(&["patch", kind, &format!("{name}-0"), "--type=merge", "-p", &patch]);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("field is immutable"),
            "{kind}"
        );
    }
}
