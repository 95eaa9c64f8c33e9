//! Where things are: the cluster's folder and its addresses.

use std::path::{Path, PathBuf};

/// The cluster's folder. One cluster per machine, at a short path (socket paths are limited to 107 bytes).
pub(crate) const ROOT: &str = "/var/lib/trainyard-cluster";
/// The network namespace, the cgroup folder and the node are all named after the project.
pub(crate) const NAME: &str = "trainyard";
/// The host's end of the veth pair.
pub(crate) const HOST_LINK: &str = "trainyard0";
/// The host's address in the cluster's network.
pub(crate) const HOST_IP: &str = "10.200.0.1";
/// The node's address; the API server and CoreDNS listen here.
pub(crate) const NODE_IP: &str = "10.200.0.2";
/// Addresses of Services.
pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The first address of [`SERVICE_CIDR`]: the API server's Service.
pub(crate) const API_SERVICE_IP: &str = "10.96.0.1";
/// The Service of CoreDNS.
pub(crate) const DNS_IP: &str = "10.96.0.10";
/// Addresses of pods; /22 leaves room for 200 pods and those on their way out.
pub(crate) const POD_CIDR: &str = "10.244.0.0/22";
/// Prefix length of a node's part of [`POD_CIDR`].
pub(crate) const POD_MASK: &str = "22";
/// Folders with fixed paths inside Kubernetes and CNI: the node sees its own in their place.
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

    pub(crate) fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    pub(crate) fn etc(&self) -> PathBuf {
        self.root.join("etc")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn etcd(&self) -> PathBuf {
        self.root.join("etcd")
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
