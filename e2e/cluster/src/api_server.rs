//! etcd and an API server only, on the loopback address, for tests and benchmarks that need no node.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::command::output;
use crate::control_plane::{self, EtcdPorts, Listen};
use crate::kubeconfig;
use crate::pki::Pki;
use crate::progress::Progress;
use crate::toolchain::{KUBERNETES, Toolchain};

const READY_WITHIN: Duration = Duration::from_mins(1);

/// How an API server is started.
#[derive(Clone, Debug, Default)]
pub struct ApiServerOptions {
    /// Where progress of a first build is shown.
    pub progress: Progress,
    /// Run the garbage collector and namespace deletion too, so that dependents of deleted objects go.
    pub garbage_collector: bool,
    /// More flags of the API server.
    pub extra_flags: Vec<String>,
}

/// Which program is to die, by its place among those that were started.
struct Kill(usize);

/// A running API server; it ends and its folder goes when this is dropped. Root is not needed.
///
/// Pods are accepted without service accounts, as no controller makes any.
pub struct ApiServer {
    folder: PathBuf,
    toolchain: Toolchain,
    orders: Option<Sender<Kill>>,
    guard: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Starts it in a folder that must not exist yet, and waits until it is ready.
    ///
    /// # Errors
    /// When the folder exists, the programs cannot be built, or the API server does not become ready.
    pub fn start(folder: &Path, options: &ApiServerOptions) -> Result<Self> {
        let toolchain = Toolchain::ensure(&[&KUBERNETES], options.progress)?;
        fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let programs = prepare(folder, &toolchain, options)?;
        let (orders, ordered) = channel();
        let (report, reported) = channel();
        // The kernel ends the children when the thread that started them ends: a crash of the caller leaves
        // nothing behind, and the thread lives as long as this value.
        let guard = std::thread::spawn(move || guard(programs, &report, &ordered));
        let server = Self {
            folder: folder.to_owned(),
            toolchain,
            orders: Some(orders),
            guard: Some(guard),
        };
        reported
            .recv()
            .map_err(|_| anyhow!("the API server's guard ended"))??;
        server.await_ready()?;
        Ok(server)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// A kubectl command as administrator.
    ///
    /// # Errors
    /// When kubectl was removed from the cache.
    pub fn kubectl_command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Result<Command> {
        let mut command = Command::new(self.toolchain.program("kubectl")?);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(args);
        Ok(command)
    }

    /// The folder of the programs' logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Kills etcd without a word. It is started again, with its data, within a second.
    pub fn kill_etcd(&self) {
        self.kill(0);
    }

    /// Kills the API server without a word. It is started again within a second, and is ready some seconds later.
    pub fn kill_api_server(&self) {
        self.kill(1);
    }

    fn kill(&self, place: usize) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(Kill(place));
        }
    }

    fn await_ready(&self) -> Result<()> {
        let begun = Instant::now();
        let ready = ["get", "--raw", "/readyz", "--request-timeout=5s"];
        while output(&mut self.kubectl_command(&ready)?).is_err() {
            if self.guard.as_ref().is_none_or(JoinHandle::is_finished) || begun.elapsed() > READY_WITHIN {
                let log = fs::read_to_string(self.logs().join("kube-apiserver.log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or("nothing").to_owned();
                bail!("the API server did not become ready; the last it said: {last}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(guard) = self.guard.take() {
            let _ = guard.join();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn prepare(folder: &Path, toolchain: &Toolchain, options: &ApiServerOptions) -> Result<Vec<Command>> {
    let logs = folder.join("logs");
    fs::create_dir(&logs)?;
    let pki = Pki::create(&folder.join("pki"), &["127.0.0.1", "localhost"])?;
    let [client, peer, port] = free_ports()?;
    let etcd = EtcdPorts { client, peer };
    let kubeconfig = folder.join("kubeconfig");
    kubeconfig::write(&kubeconfig, &format!("https://127.0.0.1:{port}"), &pki, "admin")?;
    let mut flags = control_plane::api_server(
        Listen {
            address: "127.0.0.1",
            port,
        },
        etcd,
        &pki,
    );
    // A loopback address cannot be an endpoint, and nothing makes service accounts here.
    flags.push("--endpoint-reconciler-type=none".into());
    flags.push("--disable-admission-plugins=ServiceAccount".into());
    flags.extend(options.extra_flags.iter().cloned());
    let mut programs = vec![
        program(
            toolchain,
            &logs,
            "etcd",
            &control_plane::etcd(&folder.join("etcd"), etcd),
        )?,
        program(toolchain, &logs, "kube-apiserver", &flags)?,
    ];
    if options.garbage_collector {
        let flags = control_plane::garbage_collector(&kubeconfig);
        programs.push(program(toolchain, &logs, "kube-controller-manager", &flags)?);
    }
    Ok(programs)
}

fn program(toolchain: &Toolchain, logs: &Path, name: &str, flags: &[String]) -> Result<Command> {
    let log = fs::File::create(logs.join(format!("{name}.log")))?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(toolchain.program(name)?)
        .args(flags);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

/// Ports that were free a moment ago, all different.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let held: Vec<_> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let ports = held
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<Result<Vec<_>>>()?;
    ports
        .try_into()
        .map_err(|_| anyhow!("cannot find {N} free ports"))
}

/// Starts the programs, starts again those that end early (the controllers before the API server is ready; what was
/// killed by order), and kills all at the end.
fn guard(mut programs: Vec<Command>, report: &Sender<Result<()>>, ordered: &Receiver<Kill>) {
    let started = programs
        .iter_mut()
        .map(Command::spawn)
        .collect::<std::io::Result<Vec<Child>>>();
    let mut children = match started {
        Ok(children) => children,
        Err(error) => {
            let _ = report.send(Err(
                anyhow!(error).context("cannot start the API server (setpriv is util-linux)")
            ));
            return;
        }
    };
    let _ = report.send(Ok(()));
    loop {
        match ordered.recv_timeout(Duration::from_millis(500)) {
            Ok(Kill(place)) => {
                if let Some(child) = children.get_mut(place) {
                    let _ = child.kill();
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                for (child, program) in children.iter_mut().zip(&mut programs) {
                    let ended = matches!(child.try_wait(), Ok(Some(_)));
                    if ended && let Ok(again) = program.spawn() {
                        *child = again;
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
}
