//! The whole life of a job, one scenario for every kind: queued, started with what a queue adds, all replicas restarted,
//! ended as its success policy says, and what is left to read of it.

use e2e::{Space, TOOLBOX, conditions, find, holds, wait_for};
use serde_json::{Value, json};

/// Facts about a kind that the scenario needs.
struct Case {
    short: &'static str,
    kind: &'static str,
    version: &'static str,
    /// Field of `spec` with the replicas.
    map: &'static str,
    /// Name of the training container.
    container: &'static str,
    /// Role and number of replicas, the leader's first.
    roles: [(&'static str, u32); 2],
    /// A pod of the leader's role, by the end of its name.
    leader: &'static str,
}

const PYTORCH: Case = Case {
    short: "ptj",
    kind: "PyTorchJob",
    version: "v1",
    map: "pytorchReplicaSpecs",
    container: "pytorch",
    roles: [("Master", 1), ("Worker", 2)],
    leader: "master-0",
};
const TENSORFLOW: Case = Case {
    short: "tfj",
    kind: "TFJob",
    map: "tfReplicaSpecs",
    container: "tensorflow",
    roles: [("Chief", 1), ("Worker", 2)],
    leader: "chief-0",
    ..PYTORCH
};
const MPI_V2: Case = Case {
    short: "mpijobs.v2beta1.kubeflow.org",
    kind: "MPIJob",
    version: "v2beta1",
    map: "mpiReplicaSpecs",
    container: "mpi",
    roles: [("Launcher", 1), ("Worker", 2)],
    leader: "launcher",
};
const MPI_V1: Case = Case {
    short: "mpijobs.v1.kubeflow.org",
    version: "v1",
    ..MPI_V2
};

/// A worker ends as a killed one when the test tells it to; the leader ends well in the second attempt, when it is told to.
const RUN: &str = r#"
if [ "$LEADS" = yes ]; then
  if [ "$ATTEMPT" = 0 ]; then sleep 600; fi
  while [ ! -f /tmp/done ]; do sleep 1; done
  exit 0
fi
while [ ! -f /tmp/die ]; do sleep 1; done
echo "loss is not a number" > /dev/termination-log
exit 137
"#;

fn job(kind: &Case, name: &str) -> Value {
    let pod = |leads: bool| {
        let attempt = json!({"fieldRef": {"fieldPath": "metadata.labels['trainyard.dev/attempt']"}});
        let container = json!({
            "name": kind.container, "image": TOOLBOX, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", RUN],
            "env": [
                {"name": "LEADS", "value": if leads { "yes" } else { "no" }},
                {"name": "ATTEMPT", "valueFrom": attempt},
            ],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        });
        json!({"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}})
    };
    let specs: serde_json::Map<String, Value> = kind
        .roles
        .iter()
        .zip([true, false])
        .map(|((role, count), leads)| {
            let spec = json!({"replicas": count, "restartPolicy": "OnFailure", "template": pod(leads)});
            ((*role).to_owned(), spec)
        })
        .collect();
    json!({
        "apiVersion": format!("kubeflow.org/{}", kind.version), "kind": kind.kind, "metadata": {"name": name},
        "spec": {
            "runPolicy": {"suspend": true, "restartScope": "Job", "backoffLimit": 1, "cleanPodPolicy": "All"},
            "successPolicy": "Leader",
            kind.map: specs,
        },
    })
}

/// Pods of a job with their attempts, by name; those of a batch Job without the random end of theirs.
fn pods(space: &Space, job: &str) -> Vec<(String, String)> {
    let mut pods: Vec<(String, String)> = space
        .pods(job)
        .iter()
        .map(|pod| {
            let metadata = &pod["metadata"];
            let name = metadata["name"].as_str().unwrap();
            let carried = metadata["ownerReferences"][0]["kind"] == "Job";
            let name = if carried {
                name.rsplit_once('-').unwrap().0
            } else {
                name
            };
            let attempt = metadata["labels"]["trainyard.dev/attempt"].as_str().unwrap();
            (name.to_owned(), attempt.to_owned())
        })
        .collect();
    pods.sort();
    pods
}

/// Name of the leader's pod; a batch Job's has a random end.
fn leader_pod(space: &Space, kind: &Case, job: &str) -> String {
    let start = format!("{job}-{}", kind.leader);
    let pods = space.pods(job);
    let mut names = pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap());
    names.find(|name| name.starts_with(&start)).unwrap().to_owned()
}

fn expected(kind: &Case, job: &str, attempt: &str) -> Vec<(String, String)> {
    let mut names = vec![
        format!("{job}-{}", kind.leader),
        format!("{job}-worker-0"),
        format!("{job}-worker-1"),
    ];
    names.sort();
    names.into_iter().map(|name| (name, attempt.to_owned())).collect()
}

fn whole_life(kind: &Case, name: &str) {
    let space = Space::of(kind.short, &format!("life-{name}"));
    space.apply(&job(kind, "j"));
    // 1. Queued: nothing is made.
    let status = wait_for("j to be suspended", || {
        Some(space.status("j")).filter(|s| holds(s, "Suspended"))
    });
    assert!(status.get("startTime").is_none(), "{status:#}");
    let made = space.must(&["get", "pods,services,jobs,configmaps,secrets,roles", "-o", "name"]);
    let foreign = |line: &&str| !line.contains("kube-root-ca.crt");
    assert_eq!(made.lines().filter(foreign).collect::<Vec<_>>(), [""; 0]);
    // 2. Admitted, with what a queue adds to the template.
    let admitted = json!({"metadata": {"labels": {"flavor": "spot"}, "annotations": {"podset": "main"}},
        "spec": {"nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [{"key": "spot", "operator": "Exists"}]}});
    let specs: serde_json::Map<String, Value> = kind
        .roles
        .iter()
        .map(|(role, _)| ((*role).to_owned(), json!({"template": admitted})))
        .collect();
    let patch = json!({"spec": {"runPolicy": {"suspend": false}, kind.map: specs}}).to_string();
    space.must(&["patch", kind.short, "j", "--type=merge", "-p", &patch]);
    space.until("j", "Running");
    assert_eq!(pods(&space, "j"), expected(kind, "j", "0"));
    for pod in space.pods("j") {
        assert_eq!(pod["metadata"]["labels"]["flavor"], "spot");
        assert_eq!(pod["metadata"]["annotations"]["podset"], "main");
        assert_eq!(pod["spec"]["nodeSelector"]["kubernetes.io/os"], "linux");
        let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
        assert!(tolerations.iter().any(|t| t["key"] == "spot"), "{tolerations:?}");
    }
    // 3. One worker fails: all begin anew, once.
    let node = space.get("pod", "j-worker-1").unwrap()["spec"]["nodeName"].clone();
    space.must(&["exec", "j-worker-1", "--", "touch", "/tmp/die"]);
    space.event(
        "j",
        &format!("{}Restarting", kind.kind),
        &["j-worker-1", "137", "all replicas begin anew"],
    );
    wait_for("all pods to be of the second attempt", || {
        (pods(&space, "j") == expected(kind, "j", "1")).then_some(())
    });
    let leader = leader_pod(&space, kind, "j");
    space.pod_until(&leader, "Running");
    space.must(&["exec", &leader, "--", "touch", "/tmp/done"]);
    // 4. The leader's success is the job's, and the record stays when the pods are gone.
    space.until("j", "Succeeded");
    let status = wait_for("the pods to be cleaned up", || {
        space.pods("j").is_empty().then(|| space.status("j"))
    });
    println!("{}: {}", kind.kind, status["firstFailure"]);
    assert_eq!(
        conditions(&status),
        [
            "Created=True",
            "Suspended=False",
            "Running=False",
            "Succeeded=True"
        ]
    );
    assert_eq!(status["restartCounts"], json!({"failures": 1}));
    assert_eq!(status["wholeRestarts"]["count"], 1);
    let first = &status["firstFailure"];
    assert!(first["finishedAt"].is_string(), "{first}");
    let mut facts = first.clone();
    facts.as_object_mut().unwrap().remove("finishedAt");
    assert_eq!(
        facts,
        json!({
            "pod": "j-worker-1", "role": "Worker", "index": 1, "attempt": 0, "node": node,
            "container": kind.container, "exitCode": 137, "signal": 9, "reason": "Error",
            "message": "loss is not a number",
        })
    );
}

#[test]
fn the_whole_life_of_a_pytorch_job() {
    whole_life(&PYTORCH, "pytorch");
}

#[test]
fn the_whole_life_of_a_tf_job() {
    whole_life(&TENSORFLOW, "tf");
}

#[test]
fn the_whole_life_of_an_mpi_job_of_v2beta1() {
    whole_life(&MPI_V2, "mpi-v2");
}

#[test]
fn the_whole_life_of_an_mpi_job_of_v1() {
    whole_life(&MPI_V1, "mpi-v1");
}

/// The batch Job that carries a launcher retries nothing by itself where all begin anew together.
#[test]
fn a_launcher_that_fails_takes_its_workers_with_it() {
    let space = Space::of(MPI_V2.short, "life-launcher");
    let mut failing = job(&MPI_V2, "l");
    let spec = &mut failing["spec"];
    spec["runPolicy"] = json!({"restartScope": "Job", "backoffLimit": 1});
    spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["command"] = json!([
        "sh",
        "-c",
        "sleep 6; echo 'no route to the data' > /dev/termination-log; exit 3"
    ]);
    space.apply(&failing);
    let failed = space.until("l", "Failed");
    let status = space.status("l");
    println!("{}", failed["message"]);
    assert_eq!(status["wholeRestarts"]["count"], 1);
    assert_eq!(status["restartCounts"]["failures"], 1);
    assert!(
        failed["message"]
            .as_str()
            .unwrap()
            .contains("no route to the data"),
        "{failed}"
    );
    assert!(find(&status, "Running")["status"] != "True");
    assert_eq!(status["firstFailure"]["attempt"], 1);
    assert_eq!(status["firstFailure"]["exitCode"], 3);
}

/// The master is done first, but its worker still saves its part.
#[test]
fn all_workers_must_succeed_if_the_policy_says_so() {
    let space = Space::new("life-all");
    let run = "if [ $RANK = 0 ]; then exit 0; fi; while [ ! -f /tmp/saved ]; do sleep 1; done";
    let mut all = e2e::script("a", &[("Master", 1), ("Worker", 1)], "Never", run);
    all["spec"]["successPolicy"] = json!("AllWorkers");
    space.apply(&all);
    space.pod_until("a-master-0", "Succeeded");
    space.pod_until("a-worker-0", "Running");
    wait_for("the master's success to be seen", || {
        (space.status("a")["replicaStatuses"]["Master"]["succeeded"] == 1).then_some(())
    });
    assert!(!holds(&space.status("a"), "Succeeded"));
    space.must(&["exec", "a-worker-0", "--", "touch", "/tmp/saved"]);
    space.until("a", "Succeeded");
    let refused = space.try_apply(&{
        let mut job = job(&MPI_V2, "refused");
        job["spec"]["successPolicy"] = json!("AllWorkers");
        job
    });
    let refused = refused.unwrap_err();
    assert!(
        refused.contains("spec.successPolicy: Unsupported value"),
        "{refused}"
    );
}
