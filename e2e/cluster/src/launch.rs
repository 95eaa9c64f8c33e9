//! A node on its way up.
//!
//! Invariant: what leaves something behind is written down before, each process at once after; so the node can be
//! taken away from any point.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{command, output};
use crate::handle::Cluster;
use crate::layout::{DNS_IP, Folder, NODE_IP};
use crate::node::namespaces::{self, KEEPER};
use crate::node::{Node, Taint, programs};
use crate::pki::Pki;
use crate::process::Process;
use crate::progress::Progress;
use crate::state::State;
use crate::{cgroups, images, kubeconfig, network};

/// The programs of every node.
pub(crate) const PROGRAMS: [&str; 4] = [KEEPER, "containerd", "kubelet", "kube-proxy"];

/// A node whose namespaces are there, and whose programs are being started.
pub(crate) struct Launch<'a> {
    cluster: &'a Cluster,
    state: State,
    node: Node,
    folder: Folder,
    pki: Pki,
    keeper: Process,
}

impl<'a> Launch<'a> {
    /// Makes the node's folder, certificates and namespaces.
    pub(crate) fn begin(cluster: &'a Cluster, mut state: State, node: Node, authority: &Pki) -> Result<Self> {
        state.nodes.push(node.clone());
        state.write(&cluster.layout.state())?;
        let folder = cluster.layout.node(&node);
        for path in [folder.etc(), folder.logs()] {
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let pki = authority.of_node(&folder.pki(), &node)?;
        for client in ["kubelet-client", "kube-proxy"] {
            kubeconfig::write(&folder.kubeconfig_of(client), &server(), &pki, client)?;
        }
        network::create(&node)?;
        cgroups::create(&node)?;
        let keeper = namespaces::keeper(&node, &folder)?;
        let mut launch = Self {
            cluster,
            state,
            node,
            folder,
            pki,
            keeper: keeper.clone(),
        };
        launch.record(keeper)?;
        namespaces::cover(&launch.folder, &launch.keeper)?;
        Ok(launch)
    }

    /// Starts the container runtime; it does not need the API server.
    pub(crate) fn start_runtime(&mut self) -> Result<()> {
        let flags = programs::containerd(&self.node, &self.folder, &self.cluster.toolchain)?;
        self.start("containerd", &flags)
    }

    /// Starts the kubelet, which ends if it finds no runtime, and the service proxy.
    pub(crate) fn start_kubelet(&mut self, taints: &[Taint]) -> Result<()> {
        self.await_runtime()?;
        let flags = programs::kubelet(&self.node, &self.folder, &self.pki, taints)?;
        self.start("kubelet", &flags)?;
        self.start("kube-proxy", &programs::proxy(&self.node, &self.folder))
    }

    fn await_runtime(&self) -> Result<()> {
        let socket = self.folder.containerd_socket();
        self.await_that("containerd is not ready", Duration::from_secs(30), || {
            socket.exists()
        })
    }

    /// Loads images as soon as the runtime takes them.
    pub(crate) fn load(&self, images: &[images::Image]) -> Result<()> {
        self.await_runtime()?;
        for &image in images {
            let archive = images::build(image, Progress::Silent)?;
            self.cluster.load_image_into(&self.node, &archive)?;
        }
        Ok(())
    }

    /// Waits until pods can be run and can reach Services.
    pub(crate) fn await_ready(&self, within: Duration) -> Result<()> {
        self.await_that("the node is not Ready", within, || {
            self.cluster.node_ready(&self.node)
        })?;
        let net = format!("--net={}", network::namespace(&self.node).display());
        let list = ["nft", "list", "map", "ip", "kube-proxy", "service-ips"];
        self.await_that("the node knows no Service", within, || {
            output(command("nsenter", &[&net, "--"]).args(list)).is_ok_and(|rules| rules.contains(DNS_IP))
        })
    }

    /// Starts a program in the node's namespaces.
    pub(crate) fn start(&mut self, name: &str, flags: &[String]) -> Result<()> {
        let program = self.cluster.toolchain.program(name)?;
        let mut command = namespaces::inside(&self.keeper, &program, flags);
        // containerd finds its shim on PATH.
        if let Some(folder) = program.parent() {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = [folder.to_owned()]
                .into_iter()
                .chain(std::env::split_paths(&path));
            let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
            command.env("PATH", std::env::join_paths(folders.chain(system))?);
        }
        self.record(Process::spawn(
            &self.node,
            name,
            &mut command,
            &self.folder.logs(),
        )?)
    }

    fn record(&mut self, process: Process) -> Result<()> {
        self.state.processes.push(process);
        self.state.write(&self.cluster.layout.state())
    }

    /// Asks until it is so; ends early when a component has ended.
    pub(crate) fn await_that(&self, otherwise: &str, within: Duration, so: impl Fn() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !so() {
            if let Some(ended) = self.state.of(&self.node).find(|process| !process.alive()) {
                bail!(
                    "{} ended; the last it said:\n{}",
                    ended.name,
                    self.log_tail(&ended.name)
                );
            }
            if begun.elapsed() > within {
                bail!(
                    "{otherwise} after {} s; the logs are in {}",
                    within.as_secs(),
                    self.folder.logs().display()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn log_tail(&self, name: &str) -> String {
        let path = self.folder.logs().join(format!("{name}.log"));
        let text = fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(15)..)
            .unwrap_or_default()
            .join("\n")
    }
}

/// The API server.
pub(crate) fn server() -> String {
    format!("https://{NODE_IP}:6443")
}
