//! The node: its mount namespace, container runtime, kubelet and service proxy.
//!
//! All of it runs in one mount namespace of its own. The folders whose paths are fixed inside Kubernetes are
//! covered there by folders of the cluster, and every mount disappears with the last process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::command::{command, output};
use crate::layout::{COVERED, DNS_IP, Layout, NAME, NODE_IP, POD_CIDR};
use crate::network;
use crate::pki::Pki;
use crate::process::Process;
use crate::toolchain::Toolchain;

/// The process that holds the namespaces open.
pub(crate) const KEEPER: &str = "namespaces";

/// Starts the keeper of the namespaces. Mounts of the host come in, mounts of the node do not go out.
pub(crate) fn keeper(layout: &Layout) -> Result<Process> {
    let net = format!("--net={}", network::namespace().display());
    let mut enter = command(
        "setsid",
        &[
            "nsenter",
            &net,
            "--",
            "unshare",
            "--mount",
            "--propagation",
            "slave",
        ],
    );
    enter.args(["--", "sleep", "infinity"]);
    let keeper = Process::spawn(KEEPER, &mut enter, &layout.logs())?;
    let begun = Instant::now();
    while fs::read_to_string(format!("/proc/{}/comm", keeper.pid())).is_ok_and(|comm| comm.trim() != "sleep")
    {
        if begun.elapsed() > Duration::from_secs(5) {
            bail!("cannot make the node's mount namespace");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if !keeper.alive() {
        bail!(
            "cannot make the node's namespaces; see {}",
            layout.logs().join(format!("{KEEPER}.log")).display()
        );
    }
    Ok(keeper)
}

/// The folders outside the cluster's own that starting it will make.
pub(crate) fn missing_folders() -> Vec<String> {
    let wanted = COVERED.into_iter().chain([network::NAMESPACES]);
    wanted
        .filter(|path| !Path::new(path).is_dir())
        .map(str::to_owned)
        .collect()
}

/// Covers the fixed folders in the node's mount namespace.
pub(crate) fn cover(layout: &Layout, keeper: &Process) -> Result<()> {
    let target = keeper.pid().to_string();
    let mount = |args: &[&str]| -> Result<()> {
        let mut inside = command("nsenter", &["--target", &target, "--mount", "--", "mount"]);
        output(inside.args(args)).map(drop)
    };
    // The kubelet and the runtime must see each other's mounts.
    mount(&["--make-rshared", "/"])?;
    for path in COVERED {
        let own = layout.cover(path);
        fs::create_dir_all(&own)?;
        fs::create_dir_all(path).with_context(|| format!("cannot create {path}"))?;
        mount(&["--bind", &own.to_string_lossy(), path])?;
    }
    mount(&["--make-rshared", "/"])
}

/// A program in the node's namespaces, in a session of its own.
///
/// Not by `ip netns exec`: that also mounts a new /sys, which hides the cgroups from the kubelet.
pub(crate) fn inside(keeper: &Process, program: &Path, args: &[String]) -> Command {
    let target = keeper.pid().to_string();
    let mut inside = command(
        "setsid",
        &["nsenter", "--target", &target, "--net", "--mount", "--"],
    );
    inside.arg(program).args(args);
    inside
}

/// Writes containerd's configuration and returns its flags.
pub(crate) fn containerd(layout: &Layout, toolchain: &Toolchain) -> Result<Vec<String>> {
    let cni = layout.etc().join("cni");
    fs::create_dir_all(&cni)?;
    fs::write(
        cni.join("10-trainyard.conflist"),
        serde_json::to_vec_pretty(&cni_config())?,
    )?;
    let file = layout.etc().join("containerd.toml");
    fs::write(
        &file,
        containerd_config(layout, &toolchain.program("runc")?, &cni),
    )?;
    Ok(vec!["--config".into(), file.display().to_string()])
}

/// `ptp` rather than `bridge`: replies of Services then always pass the proxy's rules, without `br_netfilter`.
fn cni_config() -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": NAME,
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-addresses",
                    "ranges": [[{"subnet": POD_CIDR}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn containerd_config(layout: &Layout, runc: &Path, cni: &Path) -> String {
    let root = layout.containerd();
    // restrict_oom_score_adj: without CAP_SYS_RESOURCE runc fails on negative values, with a misleading message.
    format!(
        r#"version = 3
root = "{root}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{cni}"
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"#,
        root = root.display(),
        socket = layout.containerd_socket().display(),
        pause = crate::images::PAUSE,
        cni = cni.display(),
        runc = runc.display(),
    )
}

/// Writes the kubelet's configuration and returns its flags.
pub(crate) fn kubelet(layout: &Layout, pki: &Pki, kubeconfig: &Path) -> Result<Vec<String>> {
    // Pods must not inherit the host's resolver: it is out of reach from the cluster's network.
    let resolver = layout.etc().join("resolv.conf");
    fs::write(&resolver, format!("nameserver {NODE_IP}\n"))?;
    let file = layout.etc().join("kubelet.json");
    fs::write(
        &file,
        serde_json::to_vec_pretty(&kubelet_config(layout, pki, &resolver))?,
    )?;
    Ok(vec![
        format!("--config={}", file.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--hostname-override={NAME}"),
        format!("--node-ip={NODE_IP}"),
    ])
}

fn kubelet_config(layout: &Layout, pki: &Pki, resolver: &Path) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.ca()},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.certificate("kubelet"),
        "tlsPrivateKeyFile": pki.key("kubelet"),
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket().display()),
        "clusterDNS": [DNS_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": resolver,
        "podLogsDir": layout.root().join("pod-logs"),
        // Both cgroup versions; on v1 the kubelet refuses to start unless told otherwise.
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{NAME}"),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": false,
        "maxPods": 200,
        // A full disk of the machine is not the cluster's business, and loaded images cannot be pulled again.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        // No client-side limits: they only slow down the start of many pods.
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
        "eventRecordQPS": 0,
        "registryPullQPS": 0,
        "serializeImagePulls": false,
        "syncFrequency": "10s",
        "shutdownGracePeriod": "0s",
    })
}

/// The service proxy's flags.
pub(crate) fn proxy(kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--hostname-override={NAME}"),
        format!("--cluster-cidr={POD_CIDR}"),
        "--proxy-mode=nftables".into(),
        "--nodeport-addresses=primary".into(),
        // The conntrack table belongs to the machine: leave its size and timeouts alone.
        "--conntrack-max-per-core=0".into(),
        "--conntrack-tcp-timeout-established=0s".into(),
        "--conntrack-tcp-timeout-close-wait=0s".into(),
        "--oom-score-adj=0".into(),
    ]
}

/// A client of the container runtime.
pub(crate) fn ctr(layout: &Layout, toolchain: &Toolchain, args: &[&str]) -> Result<Command> {
    let socket: PathBuf = layout.containerd_socket();
    let mut ctr = Command::new(toolchain.program("ctr")?);
    ctr.arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io"])
        .args(args);
    Ok(ctr)
}
