//! What is written down about a running cluster, so that another command can judge it and take it down.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

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

    /// The process of a component.
    pub(crate) fn process(&self, name: &str) -> Option<&Process> {
        self.processes.iter().find(|process| process.name == name)
    }
}
