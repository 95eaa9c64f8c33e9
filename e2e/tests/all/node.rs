//! A second node that is lost.

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
    let (host, port) = address.split_once(':').unwrap_or((address, "80"));
    // Not by wget: the one of a static busybox crashes on some machines.
    let ask = format!(r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 {host} {port}");
    let output = space.run(&["exec", pod, "--", "sh", "-c", &ask]);
    let answer = String::from_utf8_lossy(&output.stdout);
    let answer = answer.lines().last()?.trim().to_owned();
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

    // Six at least: what holds its namespaces, its runtime, kubelet and proxy, the pod's shim, the pod.
    assert!(alive("spare").len() >= 6, "{:?}", alive("spare"));
    let begun = Instant::now();
    node.kill();
    println!("killed in {:.1} s", begun.elapsed().as_secs_f64());
    wait_for("its last process to be reaped", || {
        alive("spare").is_empty().then_some(())
    });
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

/// Processes of a node: in its network namespace, in its pods, or with its folder among their arguments.
fn alive(node: &str) -> Vec<String> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let own = identity(&namespace(node));
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = entries.filter(|entry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
    });
    let mut found = Vec::new();
    for process in ids.map(|entry| entry.path()) {
        let read = |file: &str| fs::read_to_string(process.join(file)).unwrap_or_default();
        let inside = own.is_some() && identity(&process.join("ns/net")) == own;
        let in_pod = read("cgroup").contains(&format!("/trainyard-{node}/"));
        let command = read("cmdline").replace('\0', " ");
        if inside || in_pod || command.contains(&format!("{}/", folder(node))) {
            found.push(format!("{}: {command}", process.display()));
        }
    }
    found
}

/// What this machine has of a node.
fn traces(node: &str) -> Vec<String> {
    let mut found = alive(node);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let names = [format!("{}/", folder(node)), format!("/trainyard-{node} ")];
    let ours = |line: &&str| names.iter().any(|name| line.contains(name));
    found.extend(mounts.lines().filter(ours).map(str::to_owned));
    let hierarchies = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let mount = fields.next()?;
        fields.next()?.starts_with("cgroup").then_some(mount)
    });
    let cgroups = hierarchies.map(|mount| Path::new(mount).join(format!("trainyard-{node}")));
    let paths = cgroups.chain([namespace(node), PathBuf::from(folder(node))]);
    let there = paths.filter(|path| path.exists());
    found.extend(there.map(|path| path.display().to_string()));
    found
}

fn namespace(node: &str) -> PathBuf {
    PathBuf::from(format!("/run/netns/trainyard-{node}"))
}

fn folder(node: &str) -> String {
    format!("/var/lib/trainyard-cluster/nodes/{node}")
}
