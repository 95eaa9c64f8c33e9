//! What is written down about a running cluster, so that another command can judge it and take it down.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::node::Node;
use crate::process::{Process, boot_id};

/// The record of a cluster. It is written before and after every step that leaves something behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Which programs and settings made it.
    pub(crate) fingerprint: String,
    /// The run of the machine that it belongs to.
    pub(crate) boot: String,
    /// All processes in the order in which they were started.
    pub(crate) processes: Vec<Process>,
    /// The nodes in the order in which they were made; records of earlier versions do not mention the first.
    #[serde(default)]
    pub(crate) nodes: Vec<Node>,
    /// Folders outside the cluster's own that did not exist before.
    pub(crate) made_folders: Vec<String>,
}

impl State {
    /// The record of a cluster that begins now.
    pub(crate) fn begin(fingerprint: String) -> Self {
        Self {
            fingerprint,
            boot: boot_id(),
            ..Self::default()
        }
    }

    /// Reads the record; none when there is no file or it cannot be understood.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut state: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        if state.boot != boot_id() {
            state.processes.clear();
        }
        Some(state)
    }

    /// Writes the record, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&temporary, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The process of a component of a node.
    pub(crate) fn process(&self, node: &Node, name: &str) -> Option<&Process> {
        self.of(node).find(|process| process.name == name)
    }

    /// The processes of a node.
    pub(crate) fn of(&self, node: &Node) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.is_of(node))
    }

    /// The node of this name besides the first, if it was made.
    pub(crate) fn further(&self, name: &str) -> Option<Node> {
        self.nodes
            .iter()
            .find(|node| node.name() == name && !node.is_first())
            .cloned()
    }

    /// Strikes a node out that is no more.
    pub(crate) fn forget(&mut self, node: &Node) {
        self.processes.retain(|process| !process.is_of(node));
        self.nodes.retain(|other| other != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_still_names_what_runs() {
        let path = std::env::temp_dir().join(format!("state-{}.json", std::process::id()));
        let earlier = serde_json::json!({
            "fingerprint": "1", "boot": boot_id(), "made_folders": [],
            "processes": [{"name": "etcd", "pid": 1, "started": 1}],
        });
        fs::write(&path, earlier.to_string()).unwrap();
        let state = State::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(state.processes.len(), 1);
        assert!(state.nodes.is_empty());
    }

    #[test]
    fn who_is_forgotten_takes_its_processes_along() {
        let process = |node: &str| {
            let value = serde_json::json!({"node": node, "name": "kubelet", "pid": 1, "started": 1});
            serde_json::from_value::<Process>(value).unwrap()
        };
        let first = Node::first();
        let spare = Node::further("spare", &[]).unwrap();
        let mut state = State {
            processes: vec![process(first.name()), process("spare")],
            nodes: vec![first.clone(), spare.clone()],
            ..State::default()
        };
        assert_eq!(state.further("spare"), Some(spare.clone()));
        assert_eq!(state.further(first.name()), None);
        state.forget(&spare);
        assert_eq!(state.nodes, [first]);
        assert_eq!(state.processes, [process("trainyard")]);
    }
}
