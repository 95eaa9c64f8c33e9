//! An operator of one namespace, with the rights that `trainyard-operator rbac --namespaced` prints and no others, on an API
//! server alone: the installed operator would run its jobs too.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cluster::{ApiServer, ApiServerOptions};
use e2e::{holds, script, wait_for};
use serde_json::{Value, json};

/// Where the operator and its jobs are.
const TEAM: &str = "team";

struct World {
    server: ApiServer,
    folder: PathBuf,
}

/// Ends with the test.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn operator(args: &[&str]) -> Command {
    let program = std::env::var_os("TRAINYARD_OPERATOR_BIN")
        .expect("no operator: run `cargo xtask test`, or set TRAINYARD_OPERATOR_BIN to a build of it");
    let mut command = Command::new(program);
    command.args(args);
    command
}

impl World {
    /// An API server with our kinds that writes down who was refused what.
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("trainyard-namespaced-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let policy = folder.join("policy.json");
        let rules = json!([{"level": "Metadata"}]);
        let text = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules,
        });
        std::fs::write(&policy, text.to_string()).unwrap();
        let options = ApiServerOptions {
            extra_flags: vec![
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", folder.join("audit.log").display()),
            ],
            ..ApiServerOptions::default()
        };
        let server = ApiServer::start(&folder.join("server"), &options).expect("an API server");
        let world = Self { server, folder };
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds");
        world.must(&["apply", "--server-side", "-f", crds]);
        wait_for("the kinds to be served", || {
            let listed = world.kubectl(&["get", "training"]).output();
            listed.is_ok_and(|output| output.status.success()).then_some(())
        });
        for namespace in [TEAM, "other"] {
            world.must(&["create", "namespace", namespace]);
        }
        world
    }

    fn kubectl(&self, args: &[&str]) -> Command {
        self.server.kubectl_command(args).expect("kubectl")
    }

    fn must(&self, args: &[&str]) -> String {
        let output = self.kubectl(args).output().expect("kubectl starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.must(&[args, &["-o", "json"]].concat())).unwrap()
    }

    fn apply(&self, namespace: &str, text: &str) {
        let mut child = self
            .kubectl(&["-n", namespace, "apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("kubectl starts");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
    }

    /// A kubeconfig of the operator's service account.
    fn kubeconfig(&self) -> PathBuf {
        let mut config = self.json(&["config", "view", "--raw"]);
        let token = self.must(&["-n", TEAM, "create", "token", "trainyard-operator"]);
        config["users"][0]["user"] = json!({"token": token.trim()});
        let path = self.folder.join("operator.kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    fn start_operator(&self) -> Operator {
        let printed = operator(&["rbac", "--namespaced", "--namespace", TEAM])
            .output()
            .unwrap();
        assert!(printed.status.success());
        self.apply(TEAM, std::str::from_utf8(&printed.stdout).unwrap());
        let log = std::fs::File::create(self.folder.join("operator.log")).unwrap();
        let mut command = operator(&[
            "run",
            &format!("--namespace={TEAM}"),
            &format!("--leader-election-namespace={TEAM}"),
            "--metrics-bind-address=0",
            "--health-probe-bind-address=0",
            "--log-format=text",
        ]);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Operator(command.spawn().expect("the operator starts"))
    }

    fn pods(&self, namespace: &str) -> Vec<String> {
        let list = self.json(&["-n", namespace, "get", "pods"]);
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// There is no kubelet: the test says how the pods of a job do.
    fn ends_well(&self, job: &str) {
        for pod in self
            .pods(TEAM)
            .iter()
            .filter(|pod| pod.starts_with(&format!("{job}-")))
        {
            let state = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
            let container = json!({
                "name": "pytorch", "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state,
            });
            let status =
                json!({"status": {"phase": "Succeeded", "containerStatuses": [container]}}).to_string();
            self.must(&[
                "-n",
                TEAM,
                "patch",
                "pod",
                pod,
                "--subresource=status",
                "--type=merge",
                "-p",
                &status,
            ]);
        }
    }

    /// What was refused to the operator, and in how many of its requests.
    fn refused(&self) -> (BTreeSet<String>, usize) {
        let account = format!("system:serviceaccount:{TEAM}:trainyard-operator");
        let log = std::fs::read_to_string(self.folder.join("audit.log")).unwrap();
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let own: Vec<Value> = lines
            .filter(|line| line["user"]["username"] == *account)
            .collect();
        let forbidden = own
            .iter()
            .filter(|line| line["annotations"]["authorization.k8s.io/decision"] == "forbid");
        let what = forbidden.map(|line| format!("{} {}", line["verb"], line["objectRef"]["resource"]));
        (what.collect(), own.len())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("---- operator\n{}", tail(&self.folder.join("operator.log")));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// An MPIJob in which nothing runs.
fn mpi(version: &str, name: &str) -> Value {
    let pod = json!({"spec": {"containers": [{"name": "mpi", "image": "i", "command": ["true"]}]}});
    json!({
        "apiVersion": format!("kubeflow.org/{version}"), "kind": "MPIJob", "metadata": {"name": name},
        "spec": {"mpiReplicaSpecs": {"Launcher": {"template": pod}, "Worker": {"replicas": 2, "template": pod}}},
    })
}

#[test]
fn an_operator_of_one_namespace_runs_its_jobs_with_roles_only() {
    let world = World::start();
    let _operator = world.start_operator();
    let of_cluster = world
        .json(&["get", "clusterroles,clusterrolebindings"])
        .to_string();
    assert!(
        !of_cluster.contains("trainyard"),
        "there is a role of the whole cluster"
    );

    let pytorch = script("t", &[("Master", 1), ("Worker", 1)], "Never", "true");
    let mut scaled = script("scaled", &[("Worker", 1)], "Never", "true");
    let metrics = json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]);
    scaled["spec"]["elasticPolicy"] = json!({"minReplicas": 1, "maxReplicas": 2, "metrics": metrics});
    scaled["spec"]["runPolicy"] = json!({"ttlSecondsAfterFinished": 1});
    world.apply("other", &pytorch.to_string());
    for job in [&pytorch, &scaled, &mpi("v1", "exec"), &mpi("v2beta1", "ssh")] {
        world.apply(TEAM, &job.to_string());
    }
    let wanted: BTreeSet<String> = [
        "exec-launcher",
        "exec-worker-0",
        "exec-worker-1",
        "scaled-worker-0",
        "ssh-worker-0",
        "ssh-worker-1",
        "t-master-0",
        "t-worker-0",
    ]
    .map(str::to_owned)
    .into();
    wait_for("the pods of all jobs", || {
        let pods: BTreeSet<String> = world.pods(TEAM).into_iter().collect();
        pods.is_superset(&wanted).then_some(())
    });
    world.must(&[
        "-n",
        TEAM,
        "get",
        "secret/ssh-ssh",
        "job/ssh-launcher",
        "role/exec-launcher",
        "configmap/exec-config",
    ]);
    wait_for("the autoscaler", || {
        world
            .kubectl(&["-n", TEAM, "get", "hpa", "scaled"])
            .output()
            .unwrap()
            .status
            .success()
            .then_some(())
    });
    world.ends_well("t");
    world.ends_well("scaled");
    wait_for("the job to succeed", || {
        holds(
            &world.json(&["-n", TEAM, "get", "pytorchjob", "t"])["status"],
            "Succeeded",
        )
        .then_some(())
    });
    wait_for(
        "the other one to be deleted at the end of its time to live",
        || {
            let output = world
                .kubectl(&["-n", TEAM, "get", "pytorchjob", "scaled"])
                .output()
                .unwrap();
            (!output.status.success()).then_some(())
        },
    );
    assert_eq!(
        world.pods("other"),
        [""; 0],
        "jobs of other namespaces are not its own"
    );
    let (refused, requests) = world.refused();
    println!("{requests} requests, refused: {refused:?}");
    assert!(requests > 50, "{requests} requests");
    // It looks for nodes all the same, and does without.
    assert_eq!(refused, [r#""list" "nodes""#.to_owned()].into());
}
