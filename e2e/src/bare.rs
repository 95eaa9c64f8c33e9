//! Operators beside an API server alone: no kubelet and no scheduler, and all of it can be killed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use cluster::{ApiServer, ApiServerOptions};
use serde_json::{Value, json};

use crate::incarnations::Watch;
use crate::{script, wait_for};

/// What the API server notes down: writes of pods, once they are answered.
const AUDIT: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "Metadata", "verbs": ["create", "delete", "patch", "update"]}, {"level": "None"}]}"#;

/// An API server with our kinds, and room for operators.
pub struct World {
    /// The API server.
    pub server: ApiServer,
    folder: PathBuf,
    audit: PathBuf,
}

impl World {
    /// Starts it; the name tells its folder from others'.
    pub fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("trainyard-{name}-{}", std::process::id()));
        let audit = folder.with_extension("audit");
        std::fs::create_dir_all(&audit).expect("a folder");
        std::fs::write(audit.join("policy.json"), AUDIT).expect("a file");
        let options = ApiServerOptions {
            extra_flags: vec![
                format!("--audit-policy-file={}", audit.join("policy.json").display()),
                format!("--audit-log-path={}", audit.join("log").display()),
                "--audit-log-mode=blocking".to_owned(),
            ],
            ..ApiServerOptions::default()
        };
        let server = ApiServer::start(&folder, &options).expect("an API server");
        let world = Self {
            server,
            folder,
            audit,
        };
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds");
        world.must(&["apply", "--server-side", "-f", crds]);
        wait_for("the kinds to be served", || {
            let jobs = world.kubectl(&["get", "training"]).output();
            jobs.is_ok_and(|output| output.status.success()).then_some(())
        });
        world
    }

    /// A kubectl command as administrator.
    pub fn kubectl(&self, args: &[&str]) -> Command {
        self.server.kubectl_command(args).expect("kubectl")
    }

    /// Output of a kubectl command that must succeed.
    pub fn must(&self, args: &[&str]) -> String {
        let output = self.kubectl(args).output().expect("kubectl starts");
        assert!(
            output.status.success(),
            "kubectl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts an operator with its defaults, but for the addresses; its Lease is in that namespace.
    pub fn operator(&self, namespace: &str) -> Operator {
        self.operator_through(namespace, &self.server.kubeconfig(), &[])
    }

    /// The same, with a kubeconfig of its own, and further flags.
    pub fn operator_through(&self, namespace: &str, kubeconfig: &Path, flags: &[&str]) -> Operator {
        let program = std::env::var_os("TRAINYARD_OPERATOR_BIN").expect(
            "no operator: run `cargo xtask test`, or set TRAINYARD_OPERATOR_BIN to a release build of it",
        );
        let metrics = free_port();
        let log = self.folder.join(format!("logs/operator-{metrics}.log"));
        let log = std::fs::File::create(log).expect("a log");
        let mut command = Command::new(program);
        command
            .args(["run", "--health-probe-bind-address=0"])
            .args(flags)
            .arg(format!("--leader-election-namespace={namespace}"))
            .arg(format!("--metrics-bind-address=127.0.0.1:{metrics}"))
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log"))
            .stderr(log);
        Operator {
            kept: Some(Kept::start(command)),
            metrics,
        }
    }

    /// Pods of a namespace, counted by the server; none while it does not answer.
    pub fn count(&self, namespace: &str) -> usize {
        let path = format!("/api/v1/namespaces/{namespace}/pods?limit=1");
        let list = self
            .kubectl(&["get", "--raw", &path])
            .output()
            .expect("kubectl starts");
        let list: Value = serde_json::from_slice(&list.stdout).unwrap_or_default();
        let rest = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
        list["items"].as_array().map_or(0, Vec::len) + usize::try_from(rest).expect("a count")
    }

    /// Attempts of the pods of a namespace, by name.
    pub fn attempts(&self, namespace: &str) -> BTreeMap<String, String> {
        let list = self.must(&["-n", namespace, "get", "pods", "-o", "json"]);
        let list: Value = serde_json::from_str(&list).expect("a list");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = list["items"].as_array().into_iter().flatten();
        let attempt = |pod: &Value| word(&pod["metadata"]["labels"]["trainyard.dev/attempt"]);
        pods.map(|pod| (word(&pod["metadata"]["name"]), attempt(pod)))
            .collect()
    }

    /// How often a pod of each name was made, as the API server noted it down.
    pub fn creations(&self, namespace: &str) -> BTreeMap<String, usize> {
        let mut made = BTreeMap::new();
        for entry in self.noted() {
            let object = &entry["objectRef"];
            let is = |field: &str, value: &str| object[field] == value;
            if entry["verb"] == "create"
                && entry["responseStatus"]["code"] == 201
                && is("resource", "pods")
                && is("namespace", namespace)
                && object.get("subresource").is_none()
            {
                let name = object["name"].as_str().unwrap_or_default().to_owned();
                *made.entry(name).or_default() += 1;
            }
        }
        made
    }

    /// Writes of anything but Leases that were answered so far.
    pub fn writes(&self) -> usize {
        let others = |entry: &Value| entry["objectRef"]["resource"] != "leases";
        self.noted().into_iter().filter(others).count()
    }

    fn noted(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.audit.join("log")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Last words of the operators, for who has to find out why a test failed.
    fn tell(&self) {
        let logs = std::fs::read_dir(self.folder.join("logs")).into_iter().flatten();
        for log in logs.filter_map(Result::ok) {
            if log.file_name().to_string_lossy().starts_with("operator") {
                let text = std::fs::read_to_string(log.path()).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(30)..].join("\n");
                println!("{}:\n{last}", log.path().display());
            }
        }
    }

    /// Creates so many jobs of four pods in one go.
    pub fn create_jobs(&self, namespace: &str, jobs: usize) -> Child {
        let roles = [("Master", 1), ("Worker", 3)];
        let jobs: Vec<Value> = (0..jobs)
            .map(|i| script(&format!("j{i}"), &roles, "OnFailure", "true"))
            .collect();
        let file = self.folder.join(format!("{namespace}.json"));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": jobs});
        std::fs::write(&file, list.to_string()).expect("a file");
        let file = file.to_str().expect("a name");
        let mut create = self.kubectl(&["-n", namespace, "create", "-f", file]);
        create.stdout(Stdio::null()).spawn().expect("kubectl starts")
    }

    /// A namespace, and a watch of its pods.
    pub fn watch(&self, namespace: &str) -> Watch {
        self.must(&["create", "namespace", namespace]);
        let kubeconfig = self.server.kubeconfig();
        let program = self.kubectl(&[]).get_program().to_owned();
        Watch::start(namespace, move |args| {
            let mut kubectl = Command::new(&program);
            kubectl.arg("--kubeconfig").arg(&kubeconfig).args(args);
            kubectl
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let _ = std::fs::remove_dir_all(&self.audit);
    }
}

/// A running operator; killed when this goes. One that ends by itself, as it does when its lease is lost, is started
/// again: its kubelet would do so.
pub struct Operator {
    kept: Option<Kept>,
    metrics: u16,
}

/// A process that is kept running by a thread.
struct Kept {
    stop: Sender<()>,
    thread: JoinHandle<usize>,
}

impl Kept {
    fn start(mut command: Command) -> Self {
        let (stop, stopped) = channel();
        let mut process = command.spawn().expect("the operator starts");
        let thread = std::thread::spawn(move || {
            let mut ends = 0;
            while stopped.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
                if matches!(process.try_wait(), Ok(Some(_))) {
                    ends += 1;
                    process = command.spawn().expect("the operator starts again");
                }
            }
            let _ = process.kill();
            let _ = process.wait();
            ends
        });
        Self { stop, thread }
    }

    /// Kills it without a word; says how often it had ended by itself.
    fn kill(self) -> usize {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

impl Operator {
    /// Waits until it leads.
    #[must_use]
    pub fn leading(self) -> Self {
        wait_for("the operator to lead", || self.leads().then_some(()));
        self
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.scrape().lines().any(|line| line == "trainyard_leader 1")
    }

    /// Whether it is up.
    pub fn answers(&self) -> bool {
        !self.scrape().is_empty()
    }

    /// Requests that it has made so far, for anything but the Lease.
    pub fn requests(&self) -> Vec<(String, u64)> {
        let scrape = self.scrape();
        let lines = scrape
            .lines()
            .filter_map(|line| line.strip_prefix("trainyard_api_requests_total"));
        let figures = lines.filter_map(|line| line.rsplit_once(' '));
        figures
            .filter_map(|(labels, count)| Some((labels.to_owned(), count.parse().ok()?)))
            .collect()
    }

    /// Its metrics; empty while it does not answer.
    fn scrape(&self) -> String {
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.metrics)) {
            let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let sent = stream.write_all(request.as_bytes());
            let _ = sent.and_then(|()| stream.read_to_string(&mut text));
        }
        text
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let ends = self.kept.take().map_or(0, Kept::kill);
        if ends > 0 {
            println!("an operator ended by itself {ends} times");
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}
