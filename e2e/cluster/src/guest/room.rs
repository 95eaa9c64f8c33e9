//! Where a guest runs, and what it may use there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::command::output;
use crate::handle::Cluster;
use crate::kubeconfig;
use crate::layout::{Folder, Layout, NODE_IP};
use crate::node::{Node, namespaces};
use crate::pki::Pki;
use crate::process::{Process, wait_ended};
use crate::progress::Progress;
use crate::state::State;
use crate::toolchain::{KUEUE, Module, SCHEDULER_PLUGINS, Toolchain};

const PATIENCE: Duration = Duration::from_mins(1);

/// A program of another project that can run beside the cluster's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// Kueue, which admits jobs by quota.
    Kueue,
    /// The scheduler of scheduler-plugins, which places groups of pods as a whole.
    SchedulerPlugins,
}

impl Guest {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Kueue, Self::SchedulerPlugins];

    /// Its name in commands, in the record and of its log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kueue => "kueue",
            Self::SchedulerPlugins => "scheduler-plugins",
        }
    }

    fn module(self) -> &'static Module {
        match self {
            Self::Kueue => &KUEUE,
            Self::SchedulerPlugins => &SCHEDULER_PLUGINS,
        }
    }

    /// Builds its program, if it is not in the cache.
    ///
    /// # Errors
    /// Without Go, or when the build fails.
    pub fn build(self, progress: Progress) -> Result<Toolchain> {
        Toolchain::ensure(&[self.module()], progress)
    }
}

impl FromStr for Guest {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|guest| guest.name() == name);
        found.ok_or_else(|| format!("is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Where a guest lives.
pub(super) struct Room<'a> {
    guest: Guest,
    cluster: &'a Cluster,
    layout: Layout,
    host: Node,
    of_host: Folder,
    pub(super) pki: Pki,
    pub(super) folder: PathBuf,
}

impl<'a> Room<'a> {
    pub(super) fn of(cluster: &'a Cluster, guest: Guest) -> Result<Self> {
        let layout = Layout::default();
        let host = Node::first();
        let of_host = layout.node(&host);
        let pki = Pki::open(&of_host.pki());
        let folder = of_host.etc().join(guest.name());
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self {
            guest,
            cluster,
            layout,
            host,
            of_host,
            pki,
            folder,
        })
    }

    pub(super) fn kubectl(&self, args: &[&str]) -> Result<Command> {
        self.cluster.kubectl_command(args)
    }

    /// What was applied for the guest.
    pub(super) fn objects(&self) -> PathBuf {
        self.folder.join("objects.json")
    }

    pub(super) fn write(&self, name: &str, content: &Value) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, serde_json::to_vec_pretty(content)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Applies what the guest needs in the API server.
    pub(super) fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let path = self.write("objects.json", &list)?;
        let mut apply = self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f"])?;
        output(apply.arg(path))?;
        let mut wait = self.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd"])?;
        let crds = objects
            .iter()
            .filter(|object| is(object, "CustomResourceDefinition"));
        wait.args(crds.filter_map(|crd| crd.pointer("/metadata/name")?.as_str()));
        output(&mut wait).map(drop)
    }

    /// A kubeconfig of the guest's own, as `user`.
    pub(super) fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        let (name, path) = (self.guest.name(), self.folder.join("kubeconfig"));
        self.pki.add_client(name, user)?;
        kubeconfig::write(&path, &format!("https://{NODE_IP}:6443"), &self.pki, name)?;
        Ok(path)
    }

    pub(super) fn state(&self) -> Result<State> {
        State::read(&self.layout.state()).context("the cluster has no record")
    }

    pub(super) fn alive(&self) -> bool {
        self.state().is_ok_and(|state| {
            state
                .process(&self.host, self.guest.name())
                .is_some_and(Process::alive)
        })
    }

    /// A command in the namespaces of the node.
    pub(super) fn inside(&self, program: &Path, args: &[String]) -> Result<Command> {
        let state = self.state()?;
        let keeper = state
            .process(&self.host, namespaces::KEEPER)
            .context("the node has no namespaces")?;
        Ok(namespaces::inside(keeper, program, args))
    }

    pub(super) fn spawn(&self, command: &mut Command) -> Result<()> {
        let process = Process::spawn(&self.host, self.guest.name(), command, &self.of_host.logs())?;
        self.record(Some(process))
    }

    pub(super) fn record(&self, process: Option<Process>) -> Result<()> {
        let mut state = self.state()?;
        state.processes.retain(|known| known.name != self.guest.name());
        state.processes.extend(process);
        state.write(&self.layout.state())
    }

    pub(super) fn end(&self) -> Result<()> {
        let state = self.state()?;
        let process: Vec<Process> = state
            .process(&self.host, self.guest.name())
            .into_iter()
            .cloned()
            .collect();
        process.iter().for_each(Process::kill);
        wait_ended(&process, PATIENCE)?;
        self.record(None)
    }

    /// Asks until it is so; ends early when the guest has ended.
    pub(super) fn await_that(&self, so: impl Fn() -> bool) -> Result<()> {
        let (name, log) = (
            self.guest.name(),
            self.of_host.logs().join(format!("{}.log", self.guest.name())),
        );
        let begun = Instant::now();
        while !so() {
            if !self.alive() {
                bail!("{name} ended; see {}", log.display());
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "{name} does not answer after {} s; see {}",
                    PATIENCE.as_secs(),
                    log.display()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

pub(super) fn is(object: &Value, kind: &str) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(kind)
}
