//! What a node runs: container runtime, kubelet and service proxy, with their settings.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use super::{NAME, Node, Taint};
use crate::layout::{DNS_IP, Folder, NODE_IP, POD_CIDR};
use crate::pki::Pki;
use crate::toolchain::Toolchain;

/// Writes containerd's configuration and returns its flags.
pub(crate) fn containerd(node: &Node, folder: &Folder, toolchain: &Toolchain) -> Result<Vec<String>> {
    let cni = folder.etc().join("cni");
    fs::create_dir_all(&cni)?;
    fs::write(
        cni.join("10-trainyard.conflist"),
        serde_json::to_vec_pretty(&cni_config(node))?,
    )?;
    let file = folder.etc().join("containerd.toml");
    fs::write(
        &file,
        containerd_config(folder, &toolchain.program("runc")?, &cni),
    )?;
    Ok(vec!["--config".into(), file.display().to_string()])
}

/// `ptp` rather than `bridge`: replies of Services then always pass the proxy's rules, without `br_netfilter`.
fn cni_config(node: &Node) -> serde_json::Value {
    let (first, last) = node.pod_range();
    // All nodes' pods are one network: between them no address is hidden behind the node's.
    let range = json!({"subnet": POD_CIDR, "gateway": node.gateway(), "rangeStart": first, "rangeEnd": last});
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
                    "ranges": [[range]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn containerd_config(folder: &Folder, runc: &Path, cni: &Path) -> String {
    let root = folder.containerd();
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
        socket = folder.containerd_socket().display(),
        pause = crate::images::PAUSE,
        cni = cni.display(),
        runc = runc.display(),
    )
}

/// Writes the kubelet's configuration and returns its flags.
pub(crate) fn kubelet(node: &Node, folder: &Folder, pki: &Pki, taints: &[Taint]) -> Result<Vec<String>> {
    // Pods must not inherit the host's resolver: it is out of reach from the cluster's network.
    let resolver = folder.etc().join("resolv.conf");
    fs::write(&resolver, format!("nameserver {NODE_IP}\n"))?;
    let file = folder.etc().join("kubelet.json");
    fs::write(
        &file,
        serde_json::to_vec_pretty(&kubelet_config(node, folder, pki, &resolver, taints))?,
    )?;
    Ok(vec![
        format!("--config={}", file.display()),
        format!(
            "--kubeconfig={}",
            folder.kubeconfig_of("kubelet-client").display()
        ),
        format!("--hostname-override={}", node.name()),
        format!("--node-ip={}", node.address()),
    ])
}

fn kubelet_config(
    node: &Node,
    folder: &Folder,
    pki: &Pki,
    resolver: &Path,
    taints: &[Taint],
) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address(),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.ca()},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.certificate("kubelet"),
        "tlsPrivateKeyFile": pki.key("kubelet"),
        "containerRuntimeEndpoint": format!("unix://{}", folder.containerd_socket().display()),
        "clusterDNS": [DNS_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": resolver,
        "podLogsDir": folder.pod_logs(),
        "registerWithTaints": taints,
        // Both cgroup versions; on v1 the kubelet refuses to start unless told otherwise.
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.id()),
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
pub(crate) fn proxy(node: &Node, folder: &Folder) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", folder.kubeconfig_of("kube-proxy").display()),
        format!("--hostname-override={}", node.name()),
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
pub(crate) fn ctr(folder: &Folder, toolchain: &Toolchain, args: &[&str]) -> Result<Command> {
    let mut ctr = Command::new(toolchain.program("ctr")?);
    ctr.arg("--address")
        .arg(folder.containerd_socket())
        .args(["--namespace", "k8s.io"])
        .args(args);
    Ok(ctr)
}
