//! A cluster on its way up: the first node, and the control plane on it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::output;
use crate::control_plane::{self, EtcdPorts, Listen};
use crate::handle::{Cluster, Options};
use crate::images::Image;
use crate::launch::{self, Launch};
use crate::layout::{API_SERVICE_IP, Folder, NODE_IP};
use crate::node::{Node, namespaces};
use crate::pki::{API_SERVER_NAMES, Pki};
use crate::state::State;
use crate::{addons, audit, kubeconfig};

const ETCD: EtcdPorts = EtcdPorts {
    client: 2379,
    peer: 2380,
};

/// The programs of the control plane.
pub(crate) const PROGRAMS: [&str; 5] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "coredns",
];

/// Starts the cluster and waits until it can be used.
pub(crate) fn run(cluster: &Cluster, fingerprint: String, options: &Options) -> Result<()> {
    let layout = &cluster.layout;
    let node = Node::first();
    let folder = layout.node(&node);
    for path in [folder.etc(), layout.etcd()] {
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let mut state = State::begin(fingerprint);
    state.made_folders = namespaces::missing_folders();
    state.write(&layout.state())?;
    let names = [&API_SERVER_NAMES[..], &[NODE_IP, "127.0.0.1", API_SERVICE_IP]].concat();
    let pki = Pki::create(&folder.pki(), &names)?;
    let server = launch::server();
    kubeconfig::write(&layout.kubeconfig(), &server, &pki, "admin")?;
    for client in ["controller-manager", "scheduler", "coredns"] {
        kubeconfig::write(&folder.kubeconfig_of(client), &server, &pki, client)?;
    }
    let mut launch = Launch::begin(cluster, state, node, &pki)?;
    start_control_plane(cluster, &mut launch, &folder, &pki)?;
    launch.start_kubelet(&[])?;
    start_dns(cluster, &mut launch, &folder)?;
    launch.load(&[Image::Pause])?;
    launch.await_ready(options.ready_within)?;
    // Pods are refused in a namespace that has no service account yet.
    launch.await_that(
        "the default service account is missing",
        options.ready_within,
        || cluster.get(&["serviceaccount", "default"]).is_ok(),
    )
}

fn start_control_plane(cluster: &Cluster, launch: &mut Launch<'_>, folder: &Folder, pki: &Pki) -> Result<()> {
    launch.start("etcd", &control_plane::etcd(&cluster.layout.etcd(), ETCD))?;
    let listen = Listen {
        address: NODE_IP,
        port: 6443,
    };
    let mut flags = control_plane::api_server(listen, ETCD, pki);
    flags.extend(control_plane::api_server_with_nodes(pki));
    flags.extend(audit::flags(folder)?);
    launch.start("kube-apiserver", &flags)?;
    // Both start side by side.
    launch.start_runtime()?;
    launch.await_that("the API server is not ready", Duration::from_secs(90), || {
        cluster.get(&["--raw", "/readyz"]).is_ok()
    })?;
    let flags = control_plane::controller_manager(&folder.kubeconfig_of("controller-manager"), pki);
    launch.start("kube-controller-manager", &flags)?;
    let flags = control_plane::scheduler(&folder.kubeconfig_of("scheduler"));
    launch.start("kube-scheduler", &flags)
}

fn start_dns(cluster: &Cluster, launch: &mut Launch<'_>, folder: &Folder) -> Result<()> {
    let objects = folder.etc().join("addons.json");
    addons::write(&objects)?;
    output(cluster.kubectl_command(&["apply", "-f"])?.arg(&objects))?;
    let corefile = folder.etc().join("Corefile");
    let text = control_plane::corefile(NODE_IP, &folder.kubeconfig_of("coredns"));
    fs::write(&corefile, text)?;
    launch.start("coredns", &["-conf".into(), corefile.display().to_string()])
}
