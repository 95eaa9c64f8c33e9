//! A cluster's life: up, asked about, used, down.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{output, require_root};
use crate::control_plane::{self, EtcdPorts, Listen};
use crate::layout::{API_SERVICE_IP, Layout, NAME, NODE_IP};
use crate::pki::{API_SERVER_NAMES, Pki};
use crate::process::Process;
use crate::progress::Progress;
use crate::state::State;
use crate::toolchain::Toolchain;
use crate::{addons, cache, cgroups, down, images, kubeconfig, network, node, packages, toolchain};

/// Raised when a change here must not meet a cluster made before it.
const REVISION: u32 = 1;
const ETCD: EtcdPorts = EtcdPorts {
    client: 2379,
    peer: 2380,
};
const COMPONENTS: [&str; 9] = [
    node::KEEPER,
    "etcd",
    "kube-apiserver",
    "containerd",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
];

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
    layout: Layout,
    toolchain: Toolchain,
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
        Start::begin(&cluster)?.run(options)?;
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
        if state.fingerprint != fingerprint() || !folders_there || !state.process("kube-apiserver")?.alive() {
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
        let alive = |name: &str| state.process(name).is_some_and(Process::alive);
        let components = COMPONENTS.iter().map(|name| (*name, alive(name))).collect();
        let fault = match Self::open() {
            Some(cluster) => cluster.fault(),
            None if layout.root().exists() => Some("it does not run, or another version made it".into()),
            None => Some("there is none".into()),
        };
        Status {
            components,
            kubeconfig: layout.kubeconfig(),
            fault,
        }
    }

    /// The administrator's kubeconfig; it works from the host.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
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

    /// Loads an OCI archive into the node, unless the node has that very image.
    ///
    /// # Errors
    /// When the archive cannot be read or the runtime refuses it.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let described = images::describe(archive)?;
        let known = output(&mut node::ctr(&self.layout, &self.toolchain, &["images", "ls"])?)?;
        let same = known.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(described.reference.as_str()) && words.any(|word| word == described.digest)
        });
        if same {
            return Ok(());
        }
        let mut import = node::ctr(
            &self.layout,
            &self.toolchain,
            &["images", "import", "--local=true"],
        )?;
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
        let ended = COMPONENTS
            .iter()
            .find(|name| !state.process(name).is_some_and(Process::alive));
        if let Some(name) = ended {
            return Some(format!("{name} does not run"));
        }
        if self.get(&["--raw", "/readyz"]).is_err() {
            return Some("its API server is not ready".into());
        }
        (!self.node_ready()).then(|| "its node is not Ready".into())
    }

    fn get(&self, args: &[&str]) -> Result<String> {
        let mut command = self.kubectl_command(&["get", "--request-timeout=5s"])?;
        output(command.args(args))
    }

    fn node_ready(&self) -> bool {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        self.get(&["node", NAME, "-o", path])
            .is_ok_and(|status| status == "True")
    }
}

/// What `status` says.
#[derive(Clone, Debug)]
pub struct Status {
    components: Vec<(&'static str, bool)>,
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
        for (name, alive) in &self.components {
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

pub(crate) fn lock(progress: Progress) -> Result<File> {
    cache::lock(&cache::folder()?, "cluster", progress)
}

/// A cluster on its way up.
struct Start<'a> {
    cluster: &'a Cluster,
    layout: &'a Layout,
    pki: Pki,
    state: State,
}

impl<'a> Start<'a> {
    fn begin(cluster: &'a Cluster) -> Result<Self> {
        let layout = &cluster.layout;
        for folder in [
            layout.root().to_owned(),
            layout.etc(),
            layout.logs(),
            layout.etcd(),
        ] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let names = [&API_SERVER_NAMES[..], &[NODE_IP, "127.0.0.1", API_SERVICE_IP]].concat();
        let pki = Pki::create(&layout.pki(), &names)?;
        let mut state = State::begin(fingerprint());
        state.made_folders = node::missing_folders();
        state.write(&layout.state())?;
        Ok(Self {
            cluster,
            layout,
            pki,
            state,
        })
    }

    fn run(mut self, options: &Options) -> Result<()> {
        let server = format!("https://{NODE_IP}:6443");
        kubeconfig::write(&self.layout.kubeconfig(), &server, &self.pki, "admin")?;
        for client in [
            "controller-manager",
            "scheduler",
            "kube-proxy",
            "coredns",
            "kubelet-client",
        ] {
            kubeconfig::write(&self.kubeconfig_of(client), &server, &self.pki, client)?;
        }
        network::create()?;
        cgroups::create()?;
        let keeper = node::keeper(self.layout)?;
        self.record(keeper.clone())?;
        node::cover(self.layout, &keeper)?;
        self.start_control_plane(&keeper)?;
        self.start_node(&keeper)?;
        self.load_pause()?;
        let cluster = self.cluster;
        self.await_that("the node is not Ready", options.ready_within, || {
            cluster.node_ready()
        })?;
        // Pods are refused in a namespace that has no service account yet.
        self.await_that(
            "the default service account is missing",
            options.ready_within,
            || cluster.get(&["serviceaccount", "default"]).is_ok(),
        )
    }

    fn start_control_plane(&mut self, keeper: &Process) -> Result<()> {
        self.start(keeper, "etcd", &control_plane::etcd(&self.layout.etcd(), ETCD))?;
        let listen = Listen {
            address: NODE_IP,
            port: 6443,
        };
        let mut flags = control_plane::api_server(listen, ETCD, &self.pki);
        flags.extend(control_plane::api_server_with_nodes(&self.pki));
        self.start(keeper, "kube-apiserver", &flags)?;
        // The runtime does not need the API server: let both start side by side.
        let flags = node::containerd(self.layout, &self.cluster.toolchain)?;
        self.start(keeper, "containerd", &flags)?;
        let cluster = self.cluster;
        self.await_that("the API server is not ready", Duration::from_secs(90), || {
            cluster.get(&["--raw", "/readyz"]).is_ok()
        })?;
        let flags = control_plane::controller_manager(&self.kubeconfig_of("controller-manager"), &self.pki);
        self.start(keeper, "kube-controller-manager", &flags)?;
        let flags = control_plane::scheduler(&self.kubeconfig_of("scheduler"));
        self.start(keeper, "kube-scheduler", &flags)
    }

    fn start_node(&mut self, keeper: &Process) -> Result<()> {
        let flags = node::kubelet(self.layout, &self.pki, &self.kubeconfig_of("kubelet-client"))?;
        self.start(keeper, "kubelet", &flags)?;
        self.start(
            keeper,
            "kube-proxy",
            &node::proxy(&self.kubeconfig_of("kube-proxy")),
        )?;
        let objects = self.layout.etc().join("addons.json");
        addons::write(&objects)?;
        output(self.cluster.kubectl_command(&["apply", "-f"])?.arg(&objects))?;
        let corefile = self.layout.etc().join("Corefile");
        fs::write(
            &corefile,
            control_plane::corefile(NODE_IP, &self.kubeconfig_of("coredns")),
        )?;
        self.start(
            keeper,
            "coredns",
            &["-conf".into(), corefile.display().to_string()],
        )
    }

    fn load_pause(&self) -> Result<()> {
        let archive = images::build(images::Image::Pause, Progress::Silent)?;
        let socket = self.layout.containerd_socket();
        self.await_that("containerd is not ready", Duration::from_secs(30), || {
            socket.exists()
        })?;
        self.cluster.load_image(&archive)
    }

    fn kubeconfig_of(&self, client: &str) -> PathBuf {
        self.layout.etc().join(format!("{client}.kubeconfig"))
    }

    fn start(&mut self, keeper: &Process, name: &str, flags: &[String]) -> Result<()> {
        let program = self.cluster.toolchain.program(name)?;
        let mut command = node::inside(keeper, &program, flags);
        // containerd finds its shim on PATH.
        if let Some(folder) = program.parent() {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = [folder.to_owned()]
                .into_iter()
                .chain(std::env::split_paths(&path));
            let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
            command.env("PATH", std::env::join_paths(folders.chain(system))?);
        }
        self.record(Process::spawn(name, &mut command, &self.layout.logs())?)
    }

    fn record(&mut self, process: Process) -> Result<()> {
        self.state.processes.push(process);
        self.state.write(&self.layout.state())
    }

    /// Asks until it is so; ends early when a component has ended.
    fn await_that(&self, otherwise: &str, within: Duration, so: impl Fn() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !so() {
            if let Some(ended) = self.state.processes.iter().find(|process| !process.alive()) {
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
                    self.layout.logs().display()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn log_tail(&self, name: &str) -> String {
        let path = self.layout.logs().join(format!("{name}.log"));
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
