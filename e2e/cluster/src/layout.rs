//! Where things are: the cluster's folder and its addresses.

use std::path::{Path, PathBuf};

use crate::node::Node;

/// The cluster's folder. One cluster per machine, at a short path (socket paths are limited to 107 bytes).
pub(crate) const ROOT: &str = "/var/lib/trainyard-cluster";
/// The host's address in the cluster's network.
pub(crate) const HOST_IP: &str = "10.200.0.1";
/// The first node's address; the API server and CoreDNS listen here.
pub(crate) const NODE_IP: &str = "10.200.0.2";
/// Addresses of Services.
pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The first address of [`SERVICE_CIDR`]: the API server's Service.
pub(crate) const API_SERVICE_IP: &str = "10.96.0.1";
/// The Service of CoreDNS.
pub(crate) const DNS_IP: &str = "10.96.0.10";
/// Addresses of pods; each node has a part of it.
pub(crate) const POD_CIDR: &str = "10.244.0.0/16";
/// Folders with fixed paths inside Kubernetes and CNI: a node sees its own in their place.
pub(crate) const COVERED: [&str; 4] = ["/run", "/var/lib/kubelet", "/var/lib/cni", "/var/log/containers"];

/// Paths below [`ROOT`].
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            root: PathBuf::from(ROOT),
        }
    }
}

impl Layout {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state.json")
    }

    pub(crate) fn etcd(&self) -> PathBuf {
        self.root.join("etcd")
    }

    /// The folder of a node. The first node's is the cluster's own: the control plane runs there.
    pub(crate) fn node(&self, node: &Node) -> Folder {
        let root = if node.is_first() {
            self.root.clone()
        } else {
            self.root.join("nodes").join(node.name())
        };
        Folder { root }
    }
}

/// Paths below the folder of a node.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    pub(crate) fn etc(&self) -> PathBuf {
        self.root.join("etc")
    }

    /// The kubeconfig of a client that runs on the node.
    pub(crate) fn kubeconfig_of(&self, client: &str) -> PathBuf {
        self.etc().join(format!("{client}.kubeconfig"))
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What the API server writes down of the operator's requests.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    pub(crate) fn pod_logs(&self) -> PathBuf {
        self.root.join("pod-logs")
    }

    pub(crate) fn containerd(&self) -> PathBuf {
        self.root.join("containerd")
    }

    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.root.join("containerd.sock")
    }

    /// What the node sees at one of the [`COVERED`] paths.
    pub(crate) fn cover(&self, path: &str) -> PathBuf {
        self.root
            .join("cover")
            .join(path.trim_start_matches('/').replace('/', "-"))
    }
}
