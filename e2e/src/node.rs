//! A further node of the local cluster, for tests that lose one.
//!
//! Only the local cluster can have one. Tests that add a node have `spare_node` in their names: `cargo xtask test`
//! leaves them out where it is another cluster.

use std::process::Command;

use serde_json::{Value, json};

use crate::{find, kubectl, must, text};

/// Key of the taint that keeps all pods away from a spare node but those that are meant for it.
pub const TAINT: &str = "trainyard.dev/spare";

/// Whether a Node object is that of a spare node.
pub fn is_spare(node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array();
    taints.is_some_and(|taints| taints.iter().any(|taint| taint["key"] == TAINT))
}

/// Name of a node that is there for all tests.
pub fn common() -> String {
    let list: Value = serde_json::from_str(&must(&["get", "nodes", "-o", "json"])).expect("JSON");
    let nodes = list["items"].as_array().expect("a list");
    let node = nodes.iter().find(|node| !is_spare(node)).expect("a node");
    node["metadata"]["name"].as_str().expect("a name").to_owned()
}

/// A node beside the first. It goes when the test ends, whether it lives or was killed.
#[derive(Debug)]
pub struct Spare {
    /// Its name.
    pub name: String,
}

impl Spare {
    /// Joins a node that has the toolbox image, and waits until pods can run on it; a node that a failed run left
    /// under this name goes first. Tests that run side by side use different names.
    pub fn add(name: &str) -> Self {
        Self::with_images(name, &["toolbox"])
    }

    /// The same with these images, by their names in `cargo xtask image`.
    pub fn with_images(name: &str, images: &[&str]) -> Self {
        let spare = Self {
            name: name.to_owned(),
        };
        let taint = format!("--taint={TAINT}=true:NoSchedule");
        let images: Vec<String> = images.iter().map(|image| format!("--image={image}")).collect();
        let mut args = vec!["add", name, &taint];
        args.extend(images.iter().map(String::as_str));
        spare.must(&args);
        spare
    }

    /// Ends all that runs on it at once, as a loss of power would. Its Node object stays, and is not Ready some 50 s
    /// later.
    pub fn kill(&self) {
        self.must(&["kill", &self.name]);
    }

    /// Removes it, its Node object and its pods.
    pub fn remove(&self) {
        self.must(&["remove", &self.name]);
    }

    /// Lets pods of a pod spec run there and nowhere else.
    pub fn pin(&self, spec: &mut Value) {
        Self::tolerate(spec);
        spec["nodeSelector"] = json!({"kubernetes.io/hostname": self.name});
    }

    /// Lets pods of a pod spec run on spare nodes too.
    pub fn tolerate(spec: &mut Value) {
        spec["tolerations"] = json!([{"key": TAINT, "operator": "Exists"}]);
    }

    /// Its Node object, if there is one.
    pub fn object(&self) -> Option<Value> {
        let output = kubectl(&["get", "node", &self.name, "-o", "json"]).output();
        let output = output.expect("kubectl starts");
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// What its condition Ready says: `True`, `False` or `Unknown`.
    pub fn ready(&self) -> String {
        let object = self.object().unwrap_or_default();
        let ready = find(&object["status"], "Ready")["status"].clone();
        ready.as_str().unwrap_or_default().to_owned()
    }

    fn must(&self, args: &[&str]) {
        let output = xtask(args).output().expect("xtask starts");
        assert!(
            output.status.success(),
            "node {}: {}: {}",
            self.name,
            args.join(" "),
            text(&output.stderr)
        );
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // Nothing to do if the test did so already.
        if let Ok(output) = xtask(&["remove", &self.name]).output()
            && !output.status.success()
        {
            println!("node {} does not go: {}", self.name, text(&output.stderr));
        }
    }
}

fn xtask(args: &[&str]) -> Command {
    let program = std::env::var_os("TRAINYARD_XTASK")
        .expect("`cargo xtask test` with the local cluster: other clusters cannot be given a node");
    let mut command = Command::new(program);
    command.args(["cluster", "node"]).args(args);
    command
}
