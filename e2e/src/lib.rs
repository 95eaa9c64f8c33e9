//! What the end-to-end suite stands on: `kubectl`, a namespace per test, and waiting.
//!
//! The suite drives a cluster as users do. It knows no difference between the local cluster, kind and anybody's: it
//! reads `KUBECONFIG` (and `TRAINYARD_KUBECTL`, if `kubectl` is not on the path). Where there is no cluster, tests
//! fail; none skips itself. `cargo xtask test` leaves out what the cluster cannot have (a further node), and, without
//! `--queue`, what needs Kueue or the scheduler of scheduler-plugins.

#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test suite's own library: tests fail by panicking and talk to people"
)]

mod api;
pub mod bare;
pub mod gang;
pub mod incarnations;
pub mod node;
pub mod proxy;

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Image with a shell and busybox's commands.
pub const TOOLBOX: &str = "docker.io/trainyard/toolbox:0.1.0";
/// Image with PyTorch, scikit-learn and `/opt/trainyard/train.py`.
pub const DIGITS: &str = "docker.io/trainyard/pytorch-digits:0.1.0";
/// Where the operator lives.
pub const SYSTEM: &str = "trainyard-system";
/// How long a test waits for anything: far longer than a slow machine needs.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// What one test at a time may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusive {
    /// The installed operator and the room on the nodes: tests that change or fill them.
    Cluster,
    /// The processors: tests with hundreds of jobs on an API server of their own.
    Processors,
}

/// Waits until no other test has this. Tests may run in one process or in many: the lock is that of a file, and is released
/// when the returned value is dropped.
pub fn alone(with: Exclusive) -> File {
    let path = std::env::temp_dir().join(format!("trainyard-e2e-{with:?}.lock"));
    let file = File::create(path).expect("a file");
    file.lock().expect("a lock");
    file
}

/// A kubectl command against the cluster under test.
#[must_use]
pub fn kubectl(args: &[&str]) -> Command {
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "no cluster: run `cargo xtask test`, or set KUBECONFIG to a cluster with the operator installed"
    );
    let mut command = Command::new(std::env::var_os("TRAINYARD_KUBECTL").unwrap_or_else(|| "kubectl".into()));
    command
        .args(args)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command
}

/// Output of a kubectl command that must succeed.
pub fn must(args: &[&str]) -> String {
    let output = kubectl(args).output().expect("kubectl starts");
    assert!(
        output.status.success(),
        "kubectl {}: {}",
        args.join(" "),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// An object in a namespace, if it exists.
///
/// # Panics
/// For a kind that the suite does not know.
#[must_use]
pub fn object(kind: &str, namespace: &str, name: &str) -> Option<Value> {
    let path = api::path(kind, namespace).expect("a known kind");
    api::json(&format!("{path}/{name}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Polls until there is an answer.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited {} s for: {what}",
            PATIENCE.as_secs()
        );
        std::thread::sleep(pause);
        pause = (pause * 5 / 4).min(Duration::from_millis(500));
    }
}

/// A namespace of a test's own. It goes when the test ends; if the test fails, it tells first what is in it.
#[derive(Debug)]
pub struct Space {
    /// Its name.
    pub name: String,
    /// Short name of the kind of its jobs.
    pub kind: &'static str,
}

impl Space {
    /// Makes the namespace, anew if a failed run left it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::of("ptj", name)
    }

    /// The same for jobs of another kind, by its short name.
    #[must_use]
    pub fn of(kind: &'static str, name: &str) -> Self {
        let name = format!("e2e-{name}");
        if api::json(&format!("/api/v1/namespaces/{name}")).is_some() {
            let deleted = kubectl(&["delete", "namespace", &name, "--ignore-not-found", "--wait"]).output();
            assert!(
                deleted.expect("kubectl starts").status.success(),
                "the namespace of an earlier run does not go"
            );
        }
        must(&["create", "namespace", &name]);
        // Pods are refused until it is there.
        wait_for("the namespace's service account", || {
            api::json(&format!("/api/v1/namespaces/{name}/serviceaccounts/default")).map(drop)
        });
        Self { name, kind }
    }

    /// Output of a kubectl command in this namespace that must succeed.
    pub fn must(&self, args: &[&str]) -> String {
        must(&[&["-n", &self.name], args].concat())
    }

    /// Output of a kubectl command in this namespace, whatever becomes of it.
    pub fn run(&self, args: &[&str]) -> Output {
        kubectl(&[&["-n", &self.name], args].concat())
            .output()
            .expect("kubectl starts")
    }

    /// Applies an object; what the user sees if it is refused.
    ///
    /// # Errors
    /// kubectl's words.
    pub fn try_apply(&self, object: &Value) -> Result<(), String> {
        let mut child = kubectl(&["-n", &self.name, "apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut input = child.stdin.take().expect("a pipe");
        input
            .write_all(object.to_string().as_bytes())
            .expect("kubectl reads");
        drop(input);
        let output = child.wait_with_output().expect("kubectl ends");
        if output.status.success() {
            Ok(())
        } else {
            Err(text(&output.stderr).trim().to_owned())
        }
    }

    /// Applies an object that must be accepted.
    pub fn apply(&self, object: &Value) {
        self.try_apply(object).expect("accepted");
    }

    /// An object, if it exists.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        if let Some(path) = api::path(kind, &self.name) {
            return api::json(&format!("{path}/{name}"));
        }
        let output = self.run(&["get", kind, name, "-o", "json"]);
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// The status of a job.
    #[must_use]
    pub fn status(&self, job: &str) -> Value {
        self.get(self.kind, job)
            .map(|job| job["status"].clone())
            .unwrap_or_default()
    }

    /// The scale subresource of a job.
    #[must_use]
    pub fn scale(&self, job: &str) -> Value {
        let path = api::path(self.kind, &self.name).expect("a kind of job");
        api::json(&format!("{path}/{job}/scale")).expect("a scale")
    }

    /// Pods with these labels.
    #[must_use]
    pub fn select(&self, selector: &str) -> Vec<Value> {
        let path = api::path("pod", &self.name).expect("pods have a path");
        let selector = selector
            .replace('=', "%3D")
            .replace(',', "%2C")
            .replace('/', "%2F");
        let list = api::json(&format!("{path}?labelSelector={selector}")).expect("pods are listed");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Pods of a job, by name.
    #[must_use]
    pub fn pods(&self, job: &str) -> Vec<Value> {
        self.select(&format!("training.kubeflow.org/job-name={job}"))
    }

    /// Waits until a condition of a job is True and answers with it; fails at once if the job fails instead.
    pub fn until(&self, job: &str, condition: &str) -> Value {
        wait_for(&format!("{job} {condition}"), || {
            let status = self.status(job);
            if condition != "Failed" {
                assert!(!holds(&status, "Failed"), "{job} has failed: {status:#}");
            }
            holds(&status, condition).then(|| find(&status, condition))
        })
    }

    /// Waits until a pod is in a phase and answers with the pod.
    pub fn pod_until(&self, pod: &str, phase: &str) -> Value {
        wait_for(&format!("{pod} {phase}"), || {
            self.get("pod", pod).filter(|p| p["status"]["phase"] == phase)
        })
    }

    /// Waits until the log of a pod says something.
    pub fn log_until(&self, pod: &str, says: &str) -> String {
        wait_for(&format!("{pod} to say {says:?}"), || {
            let path = api::path("pod", &self.name)?;
            api::text(&format!("{path}/{pod}/log")).filter(|log| log.contains(says))
        })
    }

    /// Events of a job as `(type, reason, message)`.
    #[must_use]
    pub fn events(&self, job: &str) -> Vec<(String, String, String)> {
        // Pods and batch Jobs of a job have other names.
        let path = api::path("event", &self.name).expect("events have a path");
        let selector = format!("fieldSelector=involvedObject.name%3D{job}");
        let list = api::json(&format!("{path}?{selector}")).expect("events are listed");
        let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let events = list["items"].as_array().cloned().unwrap_or_default();
        events
            .iter()
            .map(|e| (word(e, "type"), word(e, "reason"), word(e, "message")))
            .collect()
    }

    /// Waits for an event of a job with this reason whose message has all these words.
    pub fn event(&self, job: &str, reason: &str, words: &[&str]) {
        wait_for(&format!("event {reason} {words:?}"), || {
            let events = self.events(job);
            events
                .iter()
                .any(|(_, r, m)| r == reason && words.iter().all(|w| m.contains(w)))
                .then_some(())
        });
    }

    fn tell(&self) {
        let watched = format!("{},jobs,pods,services,events", self.kind);
        let watched = self.run(&["get", &watched, "-o", "wide"]);
        println!("---- {}\n{}", self.name, text(&watched.stdout));
        println!("{}", text(&self.run(&["get", self.kind, "-o", "yaml"]).stdout));
        let log = kubectl(&["-n", SYSTEM, "logs", "deployment/trainyard-operator", "--tail=40"]).output();
        println!(
            "---- operator\n{}",
            log.map(|o| text(&o.stdout)).unwrap_or_default()
        );
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let _ = kubectl(&["delete", "namespace", &self.name, "--wait=false"]).output();
    }
}

/// The entry of a condition; null if there is none.
#[must_use]
pub fn find(status: &Value, condition: &str) -> Value {
    let entries = status["conditions"].as_array().cloned().unwrap_or_default();
    entries
        .into_iter()
        .find(|c| c["type"] == condition)
        .unwrap_or_default()
}

/// Whether a condition is True.
#[must_use]
pub fn holds(status: &Value, condition: &str) -> bool {
    find(status, condition)["status"] == "True"
}

/// Conditions as `Type=Status`, in their order.
#[must_use]
pub fn conditions(status: &Value) -> Vec<String> {
    let entries = status["conditions"].as_array().cloned().unwrap_or_default();
    let word = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|c| format!("{}={}", word(c, "type"), word(c, "status")))
        .collect()
}

/// UID of an object.
#[must_use]
pub fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// A PyTorchJob all of whose replicas run `command` in `image`.
#[must_use]
pub fn job(name: &str, replicas: &[(&str, u32)], policy: &str, image: &str, command: &[&str]) -> Value {
    let specs: serde_json::Map<String, Value> = replicas
        .iter()
        .map(|(role, count)| {
            let container = json!({
                "name": "pytorch", "image": image, "imagePullPolicy": "IfNotPresent", "command": command,
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            });
            let template = json!({"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}});
            let spec = json!({"replicas": count, "restartPolicy": policy, "template": template});
            ((*role).to_owned(), spec)
        })
        .collect();
    json!({
        "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": name},
        "spec": {"pytorchReplicaSpecs": specs},
    })
}

/// A shell script in the toolbox image.
#[must_use]
pub fn script(name: &str, replicas: &[(&str, u32)], policy: &str, script: &str) -> Value {
    job(name, replicas, policy, TOOLBOX, &["sh", "-c", script])
}

/// A command that runs beside the test and ends with it.
#[derive(Debug)]
pub struct Beside(Child);

impl Beside {
    /// Starts a command whose output goes to a file.
    #[must_use]
    pub fn start(mut command: Command, output: &std::path::Path) -> Self {
        let file = std::fs::File::create(output).expect("a file");
        Self(
            command
                .stdout(file)
                .stderr(Stdio::null())
                .spawn()
                .expect("starts"),
        )
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
