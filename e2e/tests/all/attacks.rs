//! What a user who may create jobs, and no more, tries by way of the operator, where a real API server matters; and what
//! only few of the other tests need of the operator's rights. More attacks, on all kinds, are in the tests of the
//! crates `operator` and `sim`.

use e2e::{Space, TOOLBOX, find, script, wait_for};
use serde_json::{Map, Value, json};

/// A job in whose pods `command` runs.
fn job(version: &str, kind: &str, map: &str, container: &str, roles: &[&str], command: &[&str]) -> Value {
    let container = json!({
        "name": container, "image": TOOLBOX, "imagePullPolicy": "IfNotPresent", "command": command,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    });
    let pod = json!({"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}});
    let roles: Map<String, Value> = roles
        .iter()
        .map(|role| ((*role).to_owned(), json!({"replicas": 1, "template": pod})))
        .collect();
    json!({
        "apiVersion": format!("kubeflow.org/{version}"), "kind": kind, "metadata": {"name": "t"},
        "spec": {"runPolicy": {"backoffLimit": 0}, map: roles},
    })
}

/// An object of somebody else, with labels as ours have them.
fn foreign(version: &str, kind: &str, name: &str, job: &str, content: &Value) -> Value {
    let labels = json!({"training.kubeflow.org/job-name": job, "training.kubeflow.org/operator-name": "x", "app": job});
    let mut object =
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}});
    object
        .as_object_mut()
        .unwrap()
        .extend(content.as_object().unwrap().clone());
    object
}

/// What the operator would have to change to take it over. A pod's status is its node's, and Kubernetes' own controllers
/// write to pods, Jobs and PodGroups.
fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    if ["Pod", "Job", "PodGroup"].contains(&object["kind"].as_str().unwrap()) {
        object["status"] = Value::Null;
        for field in ["managedFields", "resourceVersion", "generation"] {
            object["metadata"][field] = Value::Null;
        }
    }
    object
}

/// A job, and an object of somebody else under a name that the operator would use for it.
struct Taken {
    /// Version of the MPIJob; a PyTorchJob if absent.
    mpi: Option<&'static str>,
    job: &'static str,
    object: Value,
}

impl Taken {
    fn kind_of_job(&self) -> &'static str {
        if self.mpi.is_some() { "mpij" } else { "ptj" }
    }

    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap()
    }

    fn now(&self, space: &Space) -> Value {
        let kind = self.object["kind"].as_str().unwrap();
        let version = self.object["apiVersion"].as_str().unwrap();
        let (group, _) = version.split_once('/').unwrap_or_default();
        let found = space.get(format!("{kind}.{group}").trim_end_matches('.'), self.name());
        essence(&found.unwrap_or_else(|| panic!("{kind} {} is gone", self.name())))
    }

    fn apply_job(&self, space: &Space) {
        let sleep = ["sleep", "3600"];
        let mut job = match self.mpi {
            Some(version) => job(
                version,
                "MPIJob",
                "mpiReplicaSpecs",
                "mpi",
                &["Launcher", "Worker"],
                &sleep,
            ),
            None => job(
                "v1",
                "PyTorchJob",
                "pytorchReplicaSpecs",
                "pytorch",
                &["Master", "Worker"],
                &sleep,
            ),
        };
        job["metadata"]["name"] = json!(self.job);
        space.apply(&job);
    }
}

/// In the Secret of somebody else.
const TREASURE: &str = "dGhlIHNlY3JldCBvZiBzb21lYm9keSBlbHNl";

/// One object of each resource that the operator makes. A HorizontalPodAutoscaler is in the tests of elastic jobs.
fn taken(namespace: &str) -> Vec<Taken> {
    let rbac = "rbac.authorization.k8s.io";
    let of_rbac = format!("{rbac}/v1");
    let rights = json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]});
    let view = json!({
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    });
    let container = json!({"name": "c", "image": TOOLBOX, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]});
    let pod =
        json!({"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1});
    let batch = json!({"spec": {"suspend": true, "template": {"spec": pod}}});
    let service = json!({"spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 1}]}});
    let group = json!({"spec": {"schedulingPolicy": {"gang": {"minCount": 1}}}});
    let data = json!({"data": {"hostfile": "mine"}});
    let secret = json!({"data": {"ssh-privatekey": TREASURE}, "type": "kubernetes.io/ssh-auth"});
    let (exec, ssh) = (Some("v1"), Some("v2beta1"));
    let taken = |mpi, job, object| Taken { mpi, job, object };
    vec![
        taken(exec, "a", foreign("v1", "ConfigMap", "a-config", "a", &data)),
        taken(
            exec,
            "b",
            foreign("v1", "ServiceAccount", "b-launcher", "b", &json!({})),
        ),
        taken(exec, "c", foreign(&of_rbac, "Role", "c-launcher", "c", &rights)),
        taken(
            exec,
            "d",
            foreign(&of_rbac, "RoleBinding", "d-launcher", "d", &view),
        ),
        taken(ssh, "e", foreign("v1", "Secret", "e-ssh", "e", &secret)),
        taken(ssh, "f", foreign("batch/v1", "Job", "f-launcher", "f", &batch)),
        taken(None, "g", foreign("v1", "Service", "g", "g", &service)),
        taken(
            None,
            "h",
            foreign("v1", "Pod", "h-master-0", "h", &json!({"spec": pod})),
        ),
        taken(
            None,
            "i",
            foreign("scheduling.k8s.io/v1beta1", "PodGroup", "i", "i", &group),
        ),
    ]
}

#[test]
fn objects_of_others_under_generated_names_stay_as_they_are() {
    let space = Space::of("mpij", "attacks-names");
    let all = taken(&space.name);
    for taken in &all {
        space.apply(&taken.object);
    }
    space.pod_until("h-master-0", "Running");
    let before: Vec<Value> = all.iter().map(|taken| taken.now(&space)).collect();
    for taken in &all {
        taken.apply_job(&space);
    }
    for taken in &all {
        let words = format!("{} exists and does not belong to this job", taken.name());
        wait_for(&format!("{} to say {words:?}", taken.job), || {
            let status = space.get(taken.kind_of_job(), taken.job)?["status"].clone();
            status["waitingFor"].as_str()?.contains(&words).then_some(())
        });
    }
    // Events and status say whose name it is, and nothing of what is in it.
    let told = space.must(&["get", "events,mpij,ptj,configmaps,pods", "-o", "json"]);
    assert!(!told.contains(TREASURE) && !told.contains("the secret of somebody else"));
    for kind in ["mpij", "ptj"] {
        space.must(&["delete", kind, "--all"]);
    }
    wait_for("what belonged to the jobs to go", || {
        let list: Value = serde_json::from_str(&space.must(&["get", "pods", "-o", "json"])).unwrap();
        (list["items"].as_array().unwrap().len() == 1).then_some(())
    });
    for (taken, before) in all.iter().zip(&before) {
        assert_eq!(
            taken.now(&space).to_string(),
            before.to_string(),
            "{}",
            taken.name()
        );
    }
}

/// The API server hands over what the schema lets through: what a template says of its pods' identity is not believed.
#[test]
fn a_template_cannot_put_its_pods_elsewhere_or_under_another_owner() {
    let space = Space::new("attacks-template");
    space.apply(&script(
        "victim",
        &[("Master", 1), ("Worker", 1)],
        "Never",
        "sleep 3600",
    ));
    space.until("victim", "Running");
    let victim = space.get("ptj", "victim").unwrap();
    let owner = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": "victim", "uid": victim["metadata"]["uid"],
        "controller": true,
    });
    let mut job = script("attacker", &[("Worker", 1)], "Never", "exit 1");
    job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["metadata"] = json!({
        "name": "victim-worker-0", "namespace": "kube-system", "ownerReferences": [owner],
        "labels": {
            "training.kubeflow.org/job-name": "victim", "training.kubeflow.org/replica-type": "master",
            "training.kubeflow.org/replica-index": "0", "training.kubeflow.org/job-role": "master",
            "trainyard.dev/attempt": "7",
        },
    });
    if let Err(said) = space.try_apply(&job) {
        // kubectl refuses fields that the schema does not know; a client that sends them all the same has them dropped.
        println!("{said}");
        let metadata = &mut job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["metadata"];
        metadata
            .as_object_mut()
            .unwrap()
            .retain(|field, _| field == "labels");
        space.apply(&job);
    }
    space.until("attacker", "Failed");
    let pod = space
        .get("pod", "attacker-worker-0")
        .expect("the pod is where its job is");
    assert_eq!(pod["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    assert_eq!(pod["metadata"]["ownerReferences"][0]["name"], "attacker");
    let label = |key: &str| pod["metadata"]["labels"][key].clone();
    assert_eq!(label("training.kubeflow.org/job-name"), "attacker");
    assert_eq!(label("training.kubeflow.org/replica-type"), "worker");
    assert_eq!(label("trainyard.dev/attempt"), "0");
    let status = space.status("victim");
    assert_eq!(find(&status, "Running")["status"], "True", "{status:#}");
    assert_eq!(space.pods("victim").len(), 2);
}

/// A job of each kind is deleted at the end of its time to live: a right that the operator has for each of them.
#[test]
fn a_job_of_every_kind_is_deleted_when_its_time_to_live_is_over() {
    let kinds: [(&str, &str, &str, &str, &[&str]); 7] = [
        (
            "pytorchjobs",
            "PyTorchJob",
            "pytorchReplicaSpecs",
            "pytorch",
            &["Worker"],
        ),
        ("tfjobs", "TFJob", "tfReplicaSpecs", "tensorflow", &["Worker"]),
        (
            "mpijobs",
            "MPIJob",
            "mpiReplicaSpecs",
            "mpi",
            &["Launcher", "Worker"],
        ),
        (
            "xgboostjobs",
            "XGBoostJob",
            "xgbReplicaSpecs",
            "xgboost",
            &["Master", "Worker"],
        ),
        ("jaxjobs", "JAXJob", "jaxReplicaSpecs", "jax", &["Worker"]),
        (
            "paddlejobs",
            "PaddleJob",
            "paddleReplicaSpecs",
            "paddle",
            &["Worker"],
        ),
        (
            "mxjobs",
            "MXJob",
            "mxReplicaSpecs",
            "mxnet",
            &["Scheduler", "Server", "Worker"],
        ),
    ];
    let space = Space::new("attacks-ttl");
    for (plural, kind, map, container, roles) in kinds {
        let mut job = job("v1", kind, map, container, roles, &["true"]);
        job["metadata"]["name"] = json!(container);
        job["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = json!(1);
        space.apply(&job);
        assert!(space.get(plural, container).is_some(), "{kind}");
    }
    for (plural, kind, _, container, _) in kinds {
        wait_for(&format!("the {kind} to be deleted"), || {
            space.get(plural, container).is_none().then_some(())
        });
    }
}
