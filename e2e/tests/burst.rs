//! Many jobs at once, on an API server alone: no kubelet and no scheduler between the operator and the figures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cluster::{ApiServer, ApiServerOptions};
use e2e::incarnations::Watch;
use e2e::{script, wait_for};
use serde_json::{Value, json};

const JOBS: usize = 200;
const PODS_PER_JOB: usize = 4;
const PODS: usize = JOBS * PODS_PER_JOB;

/// One test at a time has the processors.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// An API server with our kinds, and room for operators.
struct World {
    server: ApiServer,
    folder: PathBuf,
    metrics: u16,
}

impl World {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("trainyard-{name}-{}", std::process::id()));
        let server = ApiServer::start(&folder, &ApiServerOptions::default()).expect("an API server");
        let world = Self {
            server,
            folder,
            metrics: free_port(),
        };
        world.must(&[
            "apply",
            "--server-side",
            "-f",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds"),
        ]);
        wait_for("the kinds to be served", || {
            world
                .kubectl(&["get", "training"])
                .output()
                .is_ok_and(|output| output.status.success())
                .then_some(())
        });
        world
    }

    fn kubectl(&self, args: &[&str]) -> Command {
        self.server.kubectl_command(args).expect("kubectl")
    }

    fn must(&self, args: &[&str]) -> String {
        let output = self.kubectl(args).output().expect("kubectl starts");
        assert!(
            output.status.success(),
            "kubectl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts an operator with its defaults, but for the addresses, and waits until it leads.
    fn operator(&self, namespace: &str) -> Operator {
        let program = std::env::var_os("TRAINYARD_OPERATOR_BIN").expect(
            "no operator: run `cargo xtask test`, or set TRAINYARD_OPERATOR_BIN to a release build of it",
        );
        let log = std::fs::File::create(self.folder.join("logs/operator.log")).unwrap();
        let mut command = Command::new(program);
        command
            .args([
                "run",
                "--health-probe-bind-address=0",
                &format!("--leader-election-namespace={namespace}"),
            ])
            .arg(format!("--metrics-bind-address=127.0.0.1:{}", self.metrics))
            .env("KUBECONFIG", self.server.kubeconfig())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let operator = Operator(command.spawn().expect("the operator starts"));
        wait_for("the operator to lead", || {
            self.scrape()
                .lines()
                .any(|line| line == "trainyard_leader 1")
                .then_some(())
        });
        operator
    }

    /// The operator's metrics; empty while it does not answer.
    fn scrape(&self) -> String {
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.metrics)) {
            let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let _ = stream
                .write_all(request.as_bytes())
                .and_then(|()| stream.read_to_string(&mut text));
        }
        text
    }

    /// Requests that the operator has made so far, for anything but the Lease.
    fn requests(&self) -> Vec<(String, u64)> {
        let scrape = self.scrape();
        let lines = scrape
            .lines()
            .filter_map(|line| line.strip_prefix("trainyard_api_requests_total"));
        let figures = lines.filter_map(|line| line.rsplit_once(' '));
        figures
            .filter_map(|(labels, count)| Some((labels.to_owned(), count.parse().ok()?)))
            .collect()
    }

    /// Pods of a namespace, counted by the server.
    fn count(&self, namespace: &str) -> usize {
        let path = format!("/api/v1/namespaces/{namespace}/pods?limit=1");
        let list: Value = serde_json::from_str(&self.must(&["get", "--raw", &path])).unwrap();
        let rest = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
        list["items"].as_array().map_or(0, Vec::len) + usize::try_from(rest).unwrap()
    }

    /// Creates the jobs in one go.
    fn create_jobs(&self, namespace: &str) -> Child {
        let jobs: Vec<Value> = (0..JOBS)
            .map(|i| {
                script(
                    &format!("j{i}"),
                    &[("Master", 1), ("Worker", 3)],
                    "OnFailure",
                    "true",
                )
            })
            .collect();
        let file = self.folder.join(format!("{namespace}.json"));
        std::fs::write(
            &file,
            json!({"apiVersion": "v1", "kind": "List", "items": jobs}).to_string(),
        )
        .unwrap();
        let mut create = self.kubectl(&["-n", namespace, "create", "-f", file.to_str().unwrap()]);
        create.stdout(Stdio::null()).spawn().expect("kubectl starts")
    }

    fn watch(&self, namespace: &str) -> Watch {
        self.must(&["create", "namespace", namespace]);
        Watch::start(|args| self.kubectl(&[&["-n", namespace], args].concat()))
    }
}

/// A running operator; killed when this goes.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Each slot was made once, whatever happened meanwhile.
fn assert_nothing_doubled(watch: &Watch) {
    let made = wait_for("the watch to show all pods", || {
        Some(watch.read()).filter(|made| made.len() >= PODS)
    });
    assert_eq!(made.len(), PODS);
    for ((name, attempt), uids) in made {
        assert_eq!((attempt.as_str(), uids.len()), ("0", 1), "{name}: {uids:?}");
    }
}

#[test]
fn two_hundred_jobs_at_once() {
    let _alone = alone();
    let world = World::start("burst");
    let watch = world.watch("burst");
    // All jobs wait when the operator starts: kubectl makes them too slowly to keep it busy.
    assert!(world.create_jobs("burst").wait().unwrap().success());
    let before = world.requests();
    let begun = Instant::now();
    let _operator = world.operator("default");
    // The watch begins with a pod of its own.
    while world.count("burst") < PODS + 1 {
        assert!(
            begun.elapsed() < e2e::PATIENCE,
            "{} pods after {:?}",
            world.count("burst"),
            begun.elapsed()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = begun.elapsed();
    let after = world.requests();
    assert_nothing_doubled(&watch);
    let mut sum = 0;
    for (labels, count) in after {
        let earlier = before
            .iter()
            .find(|(l, _)| *l == labels)
            .map_or(0, |(_, count)| *count);
        sum += count - earlier;
        println!("{:>6}  {labels}", count - earlier);
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let (rate, each) = (PODS as f64 / took.as_secs_f64(), sum as f64 / JOBS as f64);
    println!(
        "{JOBS} jobs, {PODS} pods in {:.2} s from the operator's start: {rate:.0} pods per second",
        took.as_secs_f64()
    );
    println!("API requests per job until all its pods are there: {each:.2}");
    assert!(each <= 10.0, "{each} requests per job");
}

#[test]
fn killed_in_the_middle_of_two_hundred_jobs() {
    let _alone = alone();
    let world = World::start("killed");
    let mut operator = world.operator("default");
    let watch = world.watch("killed");
    let mut create = world.create_jobs("killed");
    // Another Lease for each: to wait for a dead leader's is another test's matter.
    for (pods, lease) in [(150, "kube-system"), (450, "kube-public")] {
        wait_for("the middle of the burst", || {
            (world.count("killed") > pods).then_some(())
        });
        drop(operator);
        println!("killed at {} pods", world.count("killed"));
        operator = world.operator(lease);
    }
    assert!(create.wait().unwrap().success());
    wait_for("all pods", || (world.count("killed") > PODS).then_some(()));
    // A second pass over all of them would show here.
    std::thread::sleep(Duration::from_secs(3));
    drop(operator);
    assert_nothing_doubled(&watch);
    assert_eq!(world.count("killed"), PODS + 1);
}
