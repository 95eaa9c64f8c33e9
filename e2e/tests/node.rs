//! A second node that is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use e2e::node::Spare;
use e2e::{Space, TOOLBOX, must, wait_for};
use serde_json::{Value, json};

/// A pod that says its name to who asks for it, and in its log who asked; and the Service of that name.
fn teller(name: &str) -> (Value, Value) {
    let run = format!("cd /tmp; echo I am {name} > index.html; exec httpd -f -vv -p 8080");
    let container = json!({
        "name": "teller", "image": TOOLBOX, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", run],
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"teller": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"teller": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    (pod, service)
}

fn running(space: &Space, pod: &str) -> (String, String) {
    let pod = space.pod_until(pod, "Running");
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    (word(&pod["spec"]["nodeName"]), word(&pod["status"]["podIP"]))
}

/// What `pod` gets from an address; none if it gets nothing within 5 s.
fn asks(space: &Space, pod: &str, address: &str) -> Option<String> {
    let url = format!("http://{address}/");
    let output = space.run(&["exec", pod, "--", "wget", "-q", "-T", "5", "-O", "-", &url]);
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(answer)
}

/// Asks until the answer is right: a Service's endpoints reach the nodes some time after the pod runs.
fn hears(space: &Space, pod: &str, address: &str, answer: &str) {
    wait_for(&format!("{pod} to hear {answer:?} from {address}"), || {
        asks(space, pod, address).filter(|heard| heard == answer)
    });
}

#[test]
fn a_spare_node_is_like_the_first_and_can_be_lost() {
    let node = Spare::add("spare");
    let space = Space::new("node");
    let ((here, here_service), (mut there, there_service)) = (teller("here"), teller("there"));
    node.pin(&mut there["spec"]);
    for object in [&here, &there, &here_service, &there_service] {
        space.apply(object);
    }
    let (first, here_address) = running(&space, "here");
    let (second, there_address) = running(&space, "there");
    assert_ne!(first, second);
    assert_eq!(second, "spare");

    let name = |service: &str| format!("{service}.{}.svc.cluster.local", space.name);
    hears(&space, "there", &name("here"), "I am here");
    hears(&space, "here", &name("there"), "I am there");
    // By their own addresses, and these are seen: no node hides its pods behind itself.
    hears(&space, "there", &format!("{here_address}:8080"), "I am here");
    hears(&space, "here", &format!("{there_address}:8080"), "I am there");
    space.log_until("here", &there_address);
    space.log_until("there", &here_address);

    assert!(!inhabitants("spare").is_empty());
    let begun = Instant::now();
    node.kill();
    println!("killed in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(inhabitants("spare").is_empty(), "{:?}", inhabitants("spare"));
    assert_eq!(node.ready(), "True", "nobody has told the cluster");
    assert_eq!(asks(&space, "here", &format!("{there_address}:8080")), None);
    wait_for("the node to be missed", || {
        (node.ready() == "Unknown").then_some(())
    });
    println!("missed after {:.1} s", begun.elapsed().as_secs_f64());
    assert!(space.get("pod", "there").is_some(), "its pod is not touched yet");
    hears(&space, "here", &name("here"), "I am here");

    assert!(!traces("spare").is_empty());
    let begun = Instant::now();
    node.remove();
    println!("removed in {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(traces("spare"), Vec::<String>::new());
    assert!(node.object().is_none());
    assert!(space.get("pod", "there").is_none());
    assert!(!must(&["get", "nodes", "-o", "name"]).contains("spare"));
    node.remove();
}

/// Processes in the network namespace of a node.
fn inhabitants(node: &str) -> Vec<String> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let own = identity(&namespace(node)).expect("a namespace");
    let ids = processes();
    ids.filter(|id| identity(&Path::new("/proc").join(id).join("ns/net")) == Some(own))
        .collect()
}

/// What this machine still has of a node.
fn traces(node: &str) -> Vec<String> {
    let folder = format!("/var/lib/trainyard-cluster/nodes/{node}");
    let cgroup = format!("trainyard-{node}");
    let mut found = Vec::new();
    for id in processes() {
        let read =
            |file: &str| fs::read_to_string(Path::new("/proc").join(&id).join(file)).unwrap_or_default();
        if read("cmdline").contains(&format!("{folder}/")) || read("cgroup").contains(&format!("/{cgroup}")) {
            found.push(format!("process {id}: {}", read("cmdline").replace('\0', " ")));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let ours = |line: &&str| line.contains(&folder) || line.contains(&cgroup);
    found.extend(mounts.lines().filter(ours).map(str::to_owned));
    let hierarchies = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let mount = fields.next()?;
        fields.next()?.starts_with("cgroup").then_some(mount)
    });
    let folders = hierarchies.map(|mount| Path::new(mount).join(&cgroup));
    let paths = folders.chain([namespace(node), PathBuf::from(&folder)]);
    found.extend(
        paths
            .filter(|path| path.exists())
            .map(|path| path.display().to_string()),
    );
    found
}

fn namespace(node: &str) -> PathBuf {
    PathBuf::from(format!("/run/netns/trainyard-{node}"))
}

fn processes() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}
