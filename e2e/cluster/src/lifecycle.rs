//! Lifecycle of the cluster: up, status, down.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use anyhow::Result;

use crate::command::require_root;
use crate::handle::{Cluster, Options};
use crate::layout::Layout;
use crate::node::Node;
use crate::process::Process;
use crate::progress::Progress;
use crate::state::State;
use crate::toolchain::Toolchain;
use crate::{cache, down, launch, packages, start, toolchain};

/// Raised when a change here must not meet a cluster made before it.
const REVISION: u32 = 3;

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
