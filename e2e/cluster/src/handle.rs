//! A running cluster, as the rest of this crate and its callers use it: paths, kubectl, images.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::output;
use crate::images;
use crate::layout::Layout;
use crate::node::{Node, programs};
use crate::progress::Progress;
use crate::toolchain::Toolchain;

/// How a cluster is brought up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where progress is shown.
    pub progress: Progress,
    /// How long the node may take to become Ready, once its programs are built.
    pub ready_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            progress: Progress::default(),
            ready_within: Duration::from_mins(2),
        }
    }
}

/// A running cluster of this machine.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) layout: Layout,
    pub(crate) toolchain: Toolchain,
}

impl Cluster {
    /// The administrator's kubeconfig; it works from the host.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// What the API server has written down of the operator's requests since the cluster came up.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.layout.node(&Node::first()).audit_log()
    }

    /// The kubectl of the cluster's version.
    ///
    /// # Errors
    /// When it was removed from the cache.
    pub fn kubectl(&self) -> Result<PathBuf> {
        self.toolchain.program("kubectl")
    }

    /// A kubectl command as administrator of this cluster.
    ///
    /// # Errors
    /// When kubectl was removed from the cache.
    pub fn kubectl_command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Result<Command> {
        let mut command = Command::new(self.kubectl()?);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(args);
        Ok(command)
    }

    /// Loads an OCI archive into the first node, unless the node has that very image.
    ///
    /// # Errors
    /// When the archive cannot be read or the runtime refuses it.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        self.load_image_into(&Node::first(), archive)
    }

    /// The same for any node.
    pub(crate) fn load_image_into(&self, node: &Node, archive: &Path) -> Result<()> {
        let described = images::describe(archive)?;
        let folder = self.layout.node(node);
        let ctr = |args: &[&str]| programs::ctr(&folder, &self.toolchain, args);
        let known = output(&mut ctr(&["images", "ls"])?)?;
        let same = known.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(described.reference.as_str()) && words.any(|word| word == described.digest)
        });
        if same {
            return Ok(());
        }
        // Unpacked layers are all that a node needs: the packed ones are in the cache, and would be gigabytes to write and delete.
        let import = ["images", "import", "--local=true", "--discard-unpacked-layers"];
        let mut import = ctr(&import)?;
        output(import.arg(archive)).with_context(|| format!("cannot load {}", archive.display()))?;
        Ok(())
    }

    /// What `kubectl get` prints.
    pub(crate) fn get(&self, args: &[&str]) -> Result<String> {
        let mut command = self.kubectl_command(&["get", "--request-timeout=5s"])?;
        output(command.args(args))
    }

    pub(crate) fn node_ready(&self, node: &Node) -> bool {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        self.get(&["node", node.name(), "-o", path])
            .is_ok_and(|status| status == "True")
    }
}
