//! A cluster's life: up, asked about, used, down.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::{output, require_root};
use crate::layout::Layout;
use crate::node::{Node, programs};
use crate::process::Process;
use crate::progress::Progress;
use crate::state::State;
use crate::toolchain::{self, Toolchain};
use crate::{cache, down, images, launch, packages, start};

/// Raised when a change here must not meet a cluster made before it.
const REVISION: u32 = 3;

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
    /// Brings the cluster up: nothing to do when it is healthy, from scratch when it is not.
    ///
    /// # Errors
    /// Without root, on an unsupported system, or when a part does not become ready (its log is named).
    pub fn up(options: &Options) -> Result<Self> {
        require_root("the local cluster")?;
        packages::ensure(packages::NODE, options.progress)?;
        let toolchain = Toolchain::ensure_all(options.progress)?;
        let cluster = Self {
            layout: Layout::default(),
            toolchain,
        };
        let _lock = lock(options.progress)?;
        match cluster.fault() {
            None => return Ok(cluster),
            Some(fault) if down::residue(&cluster.layout) => {
                options.progress.say(&format!(
                    "the cluster that is there cannot be used ({fault}): making a new one"
                ));
                down::take_down(&cluster.layout)?;
            }
            Some(_) => {}
        }
        let step = options.progress.step("starting the cluster");
        start::run(&cluster, fingerprint(), options)?;
        step.done();
        Ok(cluster)
    }

    /// Takes the cluster down and removes every trace; nothing to do when there is none.
    ///
    /// # Errors
    /// Without root, or when a process, mount or folder resists.
    pub fn down(progress: Progress) -> Result<()> {
        require_root("the local cluster")?;
        let _lock = lock(progress)?;
        let layout = Layout::default();
        if down::residue(&layout) {
            let step = progress.step("taking the cluster down");
            down::take_down(&layout)?;
            step.done();
        }
        Ok(())
    }

    /// The cluster that runs, if one does and its programs are those of this version.
    #[must_use]
    pub fn open() -> Option<Self> {
        let layout = Layout::default();
        let state = State::read(&layout.state())?;
        let folders_there = toolchain::ALL
            .iter()
            .all(|module| module.folder().is_ok_and(|folder| folder.is_dir()));
        if state.fingerprint != fingerprint()
            || !folders_there
            || !state.process(&Node::first(), "kube-apiserver")?.alive()
        {
            return None;
        }
        let toolchain = Toolchain::ensure_all(Progress::Silent).ok()?;
        Some(Self { layout, toolchain })
    }

    /// How the cluster of this machine does.
    #[must_use]
    pub fn status() -> Status {
        let layout = Layout::default();
        let state = State::read(&layout.state()).unwrap_or_default();
        let first = Node::first();
        let alive = |name: &str| state.process(&first, name).is_some_and(Process::alive);
        let mut parts: Vec<_> = components().map(|name| (name.to_owned(), alive(name))).collect();
        for node in state.nodes.iter().filter(|node| !node.is_first()) {
            let alive = state.of(node).count() > 0 && state.of(node).all(Process::alive);
            parts.push((format!("node {}", node.name()), alive));
        }
        let fault = match Self::open() {
            Some(cluster) => cluster.fault(),
            None if layout.root().exists() => Some("it does not run, or another version made it".into()),
            None => Some("there is none".into()),
        };
        Status {
            parts,
            kubeconfig: layout.kubeconfig(),
            fault,
        }
    }

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
        let mut import = ctr(&["images", "import", "--local=true"])?;
        output(import.arg(archive)).with_context(|| format!("cannot load {}", archive.display()))?;
        Ok(())
    }

    /// Why the cluster cannot be used as it is.
    fn fault(&self) -> Option<String> {
        let Some(state) = State::read(&self.layout.state()) else {
            return Some("it has no record".into());
        };
        if state.fingerprint != fingerprint() {
            return Some("another version made it".into());
        }
        let first = Node::first();
        let ended = components().find(|name| !state.process(&first, name).is_some_and(Process::alive));
        if let Some(name) = ended {
            return Some(format!("{name} does not run"));
        }
        if self.get(&["--raw", "/readyz"]).is_err() {
            return Some("its API server is not ready".into());
        }
        (!self.node_ready(&first)).then(|| "its node is not Ready".into())
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

/// What `status` says.
#[derive(Clone, Debug)]
pub struct Status {
    parts: Vec<(String, bool)>,
    kubeconfig: PathBuf,
    fault: Option<String>,
}

impl Status {
    /// Whether the cluster can be used.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.fault.is_none()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            None => writeln!(out, "the cluster is up; KUBECONFIG={}", self.kubeconfig.display())?,
            Some(fault) => writeln!(out, "no usable cluster: {fault}")?,
        }
        for (name, alive) in &self.parts {
            writeln!(
                out,
                "  {name:<24} {}",
                if *alive { "runs" } else { "does not run" }
            )?;
        }
        Ok(())
    }
}

fn fingerprint() -> String {
    format!("{REVISION}-{}", toolchain::fingerprint())
}

/// What runs on the first node.
fn components() -> impl Iterator<Item = &'static str> {
    launch::PROGRAMS.into_iter().chain(start::PROGRAMS)
}

/// Keeps others from changing the cluster meanwhile.
pub(crate) fn lock(progress: Progress) -> Result<File> {
    cache::lock(&cache::folder()?, "cluster", progress)
}
