//! Kueue's real controller: who fits runs, who does not waits; who is evicted leaves, and comes back.
//!
//! It has to run in the cluster: `cargo xtask cluster add kueue`.

use e2e::{Space, TOOLBOX, conditions, find, holds, kubectl, must, uid, wait_for};
use serde_json::{Value, json};

const MPI: &str = "docker.io/trainyard/openmpi4:0.1.0";
/// The jobs' local queue.
/// Kubernetes has another kind of this name.
const WORKLOADS: &str = "workloads.kueue.x-k8s.io";
const QUEUE: &str = "jobs";
const QUEUE_LABEL: &str = "kueue.x-k8s.io/queue-name";
const PRIORITY_LABEL: &str = "kueue.x-k8s.io/priority-class";

/// A kind of job: of two pods, one of which ends the job when the test tells it to.
struct Kind {
    name: &'static str,
    version: &'static str,
    short: &'static str,
    specs: &'static str,
    container: &'static str,
    /// First the one that ends the job.
    roles: [&'static str; 2],
}

const PYTORCH: Kind = Kind {
    name: "PyTorchJob",
    version: "v1",
    short: "ptj",
    specs: "pytorchReplicaSpecs",
    container: "pytorch",
    roles: ["Master", "Worker"],
};

const TENSORFLOW: Kind = Kind {
    name: "TFJob",
    version: "v1",
    short: "tfj",
    specs: "tfReplicaSpecs",
    container: "tensorflow",
    roles: ["Chief", "Worker"],
};

/// Its launcher reaches its worker by ssh before it waits for the test.
const SSH: Kind = Kind {
    name: "MPIJob",
    version: "v2beta1",
    short: "mpij",
    specs: "mpiReplicaSpecs",
    container: "mpi",
    roles: ["Launcher", "Worker"],
};

impl Kind {
    /// A job that goes on until [`finish`], and whose first pod takes some seconds to leave.
    fn job(&self, name: &str) -> Value {
        let mpi = self.name == "MPIJob";
        let meet = if mpi {
            "until mpirun -n 1 hostname; do sleep 1; done; "
        } else {
            ""
        };
        let main = format!("trap 'sleep 3; exit 1' TERM; {meet}until [ -e /tmp/go ]; do sleep 1; done");
        let image = if mpi { MPI } else { TOOLBOX };
        let pod = |command: Option<Value>, grace: u32| {
            let mut container = json!({
                "name": self.container, "image": image, "imagePullPolicy": "IfNotPresent",
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            });
            if let Some(command) = command {
                container["command"] = command;
            }
            json!({"spec": {"containers": [container], "terminationGracePeriodSeconds": grace}})
        };
        // The worker of an MPIJob runs sshd by default.
        let idle = (!mpi).then(|| json!(["sleep", "600"]));
        json!({
            "apiVersion": format!("kubeflow.org/{}", self.version), "kind": self.name,
            "metadata": {"name": name, "labels": {QUEUE_LABEL: QUEUE}},
            "spec": {
                "runPolicy": {"cleanPodPolicy": "Running"},
                self.specs: {
                    self.roles[0]: {"template": pod(Some(json!(["sh", "-c", main])), 20)},
                    self.roles[1]: {"replicas": 1, "template": pod(idle, 1)},
                },
            },
        })
    }

    /// The template of a role of a job.
    fn template<'a>(&self, job: &'a Value, role: &str) -> &'a Value {
        &job["spec"][self.specs][role]["template"]
    }
}

/// A cluster queue of a test's own with room for one job, and what goes with it.
struct Queue(String);

impl Queue {
    /// Makes it, with a flavor like this.
    fn new(space: &Space, flavor: &Value) -> Self {
        let queue = Self(space.name.clone());
        queue.delete(true);
        let name = &queue.0;
        let (version, meta) = ("kueue.x-k8s.io/v1beta2", json!({"name": name}));
        let quota =
            json!([{"name": "cpu", "nominalQuota": "20m"}, {"name": "memory", "nominalQuota": "1Gi"}]);
        let objects = [
            json!({"kind": "WorkloadPriorityClass", "value": 1000, "description": "before the others"}),
            json!({"kind": "Topology", "spec": {"levels": [{"nodeLabel": "kubernetes.io/hostname"}]}}),
            json!({"kind": "ResourceFlavor", "spec": flavor}),
            json!({"kind": "ClusterQueue", "spec": {
                "namespaceSelector": {},
                "preemption": {"withinClusterQueue": "LowerPriority"},
                "resourceGroups": [{
                    "coveredResources": ["cpu", "memory"], "flavors": [{"name": name, "resources": quota}],
                }],
            }}),
            json!({"kind": "LocalQueue", "spec": {"clusterQueue": name}}),
        ];
        for mut object in objects {
            object["apiVersion"] = json!(version);
            object["metadata"] = meta.clone();
            if object["kind"] == "LocalQueue" {
                object["metadata"]["name"] = json!(QUEUE);
            }
            if let Err(words) = space.try_apply(&object) {
                panic!("Kueue does not run in this cluster (`cargo xtask cluster add kueue`): {words}");
            }
        }
        queue
    }

    fn delete(&self, wait: bool) {
        let kinds = "clusterqueue,resourceflavor,topologies.kueue.x-k8s.io,workloadpriorityclass";
        let wait = format!("--wait={wait}");
        let _ = kubectl(&["delete", kinds, &self.0, "--ignore-not-found", &wait]).output();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = kubectl(&["get", WORKLOADS, "-A", "-o", "wide"]).output();
            println!("{}", String::from_utf8_lossy(&told.unwrap().stdout));
        }
        self.delete(false);
    }
}

fn workloads(space: &Space) -> Vec<Value> {
    let list: Value = serde_json::from_str(&space.must(&["get", WORKLOADS, "-o", "json"])).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Waits until a condition of a job's Workload is as said, and answers with the Workload.
fn workload_until(space: &Space, job: &str, condition: &str, status: &str) -> Value {
    wait_for(&format!("the workload of {job}: {condition}={status}"), || {
        let mut all = workloads(space).into_iter();
        let workload = all.find(|w| w["metadata"]["ownerReferences"][0]["name"] == job)?;
        (find(&workload["status"], condition)["status"] == status).then_some(workload)
    })
}

fn activate(space: &Space, job: &str, active: bool) {
    let workload = workload_until(space, job, "QuotaReserved", if active { "False" } else { "True" });
    let patch = json!({"spec": {"active": active}}).to_string();
    let name = workload["metadata"]["name"].as_str().unwrap();
    space.must(&["patch", WORKLOADS, name, "--type=merge", "-p", &patch]);
}

/// The role of a pod; an MPIJob of v2beta1 has it under a label of its own.
fn role_of(pod: &Value) -> &str {
    let label = |key: &str| pod["metadata"]["labels"][format!("training.kubeflow.org/{key}")].as_str();
    label("replica-type").or(label("job-role")).unwrap()
}

/// Lets a job that runs end well.
fn finish(space: &Space, kind: &Kind, job: &str) {
    let role = kind.roles[0].to_lowercase();
    let pods = space.pods(job);
    let main = pods.iter().find(|pod| role_of(pod) == role);
    let name = main.expect("the job runs")["metadata"]["name"].as_str().unwrap();
    space.must(&["exec", name, "--", "touch", "/tmp/go"]);
    space.until(job, "Succeeded");
}

fn active(space: &Space, kind: &Kind, job: &str) -> bool {
    let counts = space.status(job)["replicaStatuses"].clone();
    kind.roles
        .iter()
        .any(|role| counts[*role]["active"].as_u64().unwrap_or(0) > 0)
}

/// Waits until a job counts no pod as active, and sees that none is there.
fn left(space: &Space, kind: &Kind, job: &str) {
    space.until(job, "Suspended");
    wait_for(&format!("{job} to leave"), || {
        (!active(space, kind, job)).then_some(())
    });
    let pods = space.pods(job);
    assert!(
        pods.is_empty(),
        "active reads 0 only when the pods are gone: {pods:#?}"
    );
    let status = space.status(job);
    assert!(!holds(&status, "Running"), "{status:#}");
}

/// Waits until a job runs, and sees that all of it does.
fn runs(space: &Space, job: &str) -> Vec<Value> {
    space.until(job, "Running");
    let pods = space.pods(job);
    assert!(
        pods.len() == 2 && pods.iter().all(|pod| pod["status"]["phase"] == "Running"),
        "{pods:#?}"
    );
    workload_until(space, job, "PodsReady", "True");
    pods
}

fn waits_its_turn(kind: &Kind) {
    let space = Space::of(kind.short, &format!("kueue-turn-{}", kind.short));
    let _queue = Queue::new(&space, &json!({}));
    space.apply(&kind.job("first"));
    runs(&space, "first");
    space.apply(&kind.job("second"));
    let second = space.get(kind.short, "second").unwrap();
    assert_eq!(second["spec"]["runPolicy"]["suspend"], true);
    assert_eq!(
        second["metadata"]["generation"], 1,
        "suspended before anybody saw it"
    );
    space.until("second", "Suspended");
    let waiting = workload_until(&space, "second", "QuotaReserved", "False");
    println!("second: {}", find(&waiting["status"], "QuotaReserved")["message"]);
    assert!(space.pods("second").is_empty());

    finish(&space, kind, "first");
    let free = space.status("first")["completionTime"]
        .as_str()
        .unwrap()
        .to_owned();
    for pod in runs(&space, "second") {
        let made = pod["metadata"]["creationTimestamp"].as_str().unwrap();
        assert!(made >= free.as_str(), "{made} is before {free}");
    }
    finish(&space, kind, "second");
    for job in ["first", "second"] {
        let finished = workload_until(&space, job, "Finished", "True");
        let finished = find(&finished["status"], "Finished");
        let object = space.get(kind.short, job).unwrap();
        println!("{job}: {}", finished["message"]);
        assert_eq!(finished["reason"], "Succeeded");
        assert_eq!(
            finished["message"],
            find(&object["status"], "Succeeded")["message"]
        );
        assert_eq!(object["metadata"]["labels"], json!({QUEUE_LABEL: QUEUE}));
    }
    assert_eq!(
        conditions(&space.status("second")),
        [
            "Created=True",
            "Suspended=False",
            "Running=False",
            "Succeeded=True"
        ]
    );
    assert_eq!(
        workloads(&space).len(),
        2,
        "what a job is made of is not queued by itself"
    );
}

fn is_evicted_and_comes_back(kind: &Kind) {
    let space = Space::of(kind.short, &format!("kueue-evicted-{}", kind.short));
    let queue = Queue::new(&space, &json!({}));
    space.apply(&kind.job("low"));
    let before: Vec<String> = runs(&space, "low").iter().map(uid).collect();

    let mut high = kind.job("high");
    high["metadata"]["labels"][PRIORITY_LABEL] = json!(queue.0);
    space.apply(&high);
    wait_for("the other to run", || {
        let both = [space.pods("high"), space.pods("low")];
        assert!(both.iter().any(Vec::is_empty), "room for one: {both:#?}");
        holds(&space.status("high"), "Running").then_some(())
    });
    left(&space, kind, "low");
    let evicted = workload_until(&space, "low", "Evicted", "True");
    assert_eq!(find(&evicted["status"], "Evicted")["reason"], "Preempted");
    finish(&space, kind, "high");

    let after: Vec<String> = runs(&space, "low").iter().map(uid).collect();
    assert!(after.iter().all(|uid| !before.contains(uid)), "pods are new ones");
    activate(&space, "low", false);
    left(&space, kind, "low");
    space.apply(&kind.job("next"));
    runs(&space, "next");
    finish(&space, kind, "next");
    assert!(space.pods("low").is_empty() && holds(&space.status("low"), "Suspended"));
    activate(&space, "low", true);
    runs(&space, "low");
    finish(&space, kind, "low");
    let status = space.status("low");
    let failures = status["restartCounts"]["failures"].as_u64().unwrap_or(0);
    assert_eq!(failures, 0, "an eviction is nobody's failure: {status:#}");
}

/// A label of the node, until the end of the test.
struct NodeLabel(String, &'static str);

impl NodeLabel {
    fn set(key: &'static str, value: &str) -> Self {
        let node = e2e::node::common();
        must(&["label", "node", &node, &format!("{key}={value}"), "--overwrite"]);
        Self(node, key)
    }
}

impl Drop for NodeLabel {
    fn drop(&mut self) {
        let _ = kubectl(&["label", "node", &self.0, &format!("{}-", self.1)]).output();
    }
}

fn gets_what_its_flavor_says(kind: &Kind, key: &'static str) {
    let space = Space::of(kind.short, &format!("kueue-flavor-{}", kind.short));
    let node = NodeLabel::set(key, &space.name);
    let toleration = json!({"key": key, "operator": "Equal", "value": "yes", "effect": "NoSchedule"});
    let flavor = json!({
        "nodeLabels": {key: space.name}, "tolerations": [toleration], "topologyName": space.name,
    });
    let _queue = Queue::new(&space, &flavor);
    let job = kind.job("t");
    space.apply(&job);
    let pods = runs(&space, "t");
    let admitted = workload_until(&space, "t", "Admitted", "True");
    let running = space.get(kind.short, "t").unwrap();
    for pod in &pods {
        let (meta, spec) = (&pod["metadata"], &pod["spec"]);
        let role = role_of(pod);
        println!(
            "{}: {} {}",
            meta["name"], spec["nodeSelector"], meta["annotations"]
        );
        // The host's name is set when Kueue lifts the gate that it has put on the pod.
        let selector = json!({key: space.name, "kubernetes.io/hostname": node.0});
        assert_eq!(spec["nodeSelector"], selector);
        assert!(
            spec["tolerations"].as_array().unwrap().contains(&toleration),
            "{spec:#}"
        );
        assert_eq!(meta["labels"]["kueue.x-k8s.io/podset"], role);
        assert_eq!(
            meta["annotations"]["kueue.x-k8s.io/workload"],
            admitted["metadata"]["name"]
        );
        assert_eq!(spec["schedulingGates"], Value::Null);
    }
    for role in kind.roles {
        let gates = &kind.template(&running, role)["spec"]["schedulingGates"];
        assert_eq!(*gates, json!([{"name": "kueue.x-k8s.io/topology"}]));
    }
    activate(&space, "t", false);
    left(&space, kind, "t");
    let restored = space.get(kind.short, "t").unwrap();
    for role in kind.roles {
        let (now, first) = (kind.template(&restored, role), kind.template(&job, role));
        assert_eq!(now["spec"], first["spec"], "as the user wrote it");
    }
    activate(&space, "t", true);
    runs(&space, "t");
    finish(&space, kind, "t");
}

fn is_ready_when_all_pods_are(kind: &Kind) {
    let space = Space::of(kind.short, &format!("kueue-ready-{}", kind.short));
    let _queue = Queue::new(&space, &json!({}));
    let mut job = kind.job("t");
    let pod = &mut job["spec"][kind.specs]["Worker"]["template"]["spec"];
    pod["initContainers"] = json!([{
        "name": "wait", "image": TOOLBOX, "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "until [ -e /tmp/go ]; do sleep 1; done"],
    }]);
    space.apply(&job);
    wait_for("one of two to be counted", || {
        active(&space, kind, "t").then_some(())
    });
    let waiting = workload_until(&space, "t", "PodsReady", "False");
    println!("{}", find(&waiting["status"], "PodsReady")["message"]);
    assert!(!holds(&space.status("t"), "Running"));
    space.must(&["exec", "t-worker-0", "-c", "wait", "--", "touch", "/tmp/go"]);
    runs(&space, "t");
    finish(&space, kind, "t");
}

#[test]
fn kueue_lets_a_pytorchjob_wait_its_turn() {
    waits_its_turn(&PYTORCH);
}

#[test]
fn kueue_lets_a_tfjob_wait_its_turn() {
    waits_its_turn(&TENSORFLOW);
}

#[test]
fn kueue_lets_an_mpijob_wait_its_turn() {
    waits_its_turn(&SSH);
}

#[test]
fn kueue_evicts_a_pytorchjob_that_comes_back() {
    is_evicted_and_comes_back(&PYTORCH);
}

#[test]
fn kueue_evicts_a_tfjob_that_comes_back() {
    is_evicted_and_comes_back(&TENSORFLOW);
}

#[test]
fn kueue_evicts_an_mpijob_that_comes_back() {
    is_evicted_and_comes_back(&SSH);
}

#[test]
fn kueue_gives_a_pytorchjob_what_its_flavor_says() {
    gets_what_its_flavor_says(&PYTORCH, "kueue-pytorch");
}

#[test]
fn kueue_gives_a_tfjob_what_its_flavor_says() {
    gets_what_its_flavor_says(&TENSORFLOW, "kueue-tensorflow");
}

#[test]
fn kueue_gives_an_mpijob_what_its_flavor_says() {
    gets_what_its_flavor_says(&SSH, "kueue-mpi");
}

#[test]
fn kueue_sees_a_pytorchjob_ready_when_all_pods_are() {
    is_ready_when_all_pods_are(&PYTORCH);
}

#[test]
fn kueue_sees_a_tfjob_ready_when_all_pods_are() {
    is_ready_when_all_pods_are(&TENSORFLOW);
}

#[test]
fn kueue_sees_an_mpijob_ready_when_all_pods_are() {
    is_ready_when_all_pods_are(&SSH);
}
