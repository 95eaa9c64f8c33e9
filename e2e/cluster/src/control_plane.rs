//! The flags of etcd and of the control plane's programs.

use std::path::Path;

use crate::layout::SERVICE_CIDR;
use crate::pki::Pki;

/// Kubernetes' own gang scheduling: needed on API server, controller-manager and scheduler.
const GANG: &str = "--feature-gates=GenericWorkload=true";

/// Where one etcd listens on the loopback address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EtcdPorts {
    pub(crate) client: u16,
    pub(crate) peer: u16,
}

impl EtcdPorts {
    fn client_url(self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }
}

/// etcd that does not wait for the disk: its data need not survive a crash of the machine.
pub(crate) fn etcd(data: &Path, ports: EtcdPorts) -> Vec<String> {
    let (client, peer) = (ports.client_url(), format!("http://127.0.0.1:{}", ports.peer));
    vec![
        format!("--data-dir={}", data.display()),
        "--unsafe-no-fsync".into(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--log-level=warn".into(),
    ]
}

/// Where an API server listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listen<'a> {
    pub(crate) address: &'a str,
    pub(crate) port: u16,
}

/// What every API server of ours has in common.
pub(crate) fn api_server(listen: Listen<'_>, etcd: EtcdPorts, pki: &Pki) -> Vec<String> {
    vec![
        format!("--bind-address={}", listen.address),
        format!("--advertise-address={}", listen.address),
        format!("--secure-port={}", listen.port),
        format!("--etcd-servers={}", etcd.client_url()),
        format!("--client-ca-file={}", pki.ca().display()),
        format!("--tls-cert-file={}", pki.certificate("apiserver").display()),
        format!("--tls-private-key-file={}", pki.key("apiserver").display()),
        format!(
            "--service-account-key-file={}",
            pki.service_account_public_key().display()
        ),
        format!(
            "--service-account-signing-key-file={}",
            pki.service_account_key().display()
        ),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-cluster-ip-range={SERVICE_CIDR}"),
        "--authorization-mode=Node,RBAC".into(),
        "--allow-privileged=true".into(),
        "--profiling=false".into(),
        GANG.into(),
        "--runtime-config=scheduling.k8s.io/v1beta1=true".into(),
    ]
}

/// What an API server needs beside when it has nodes.
pub(crate) fn api_server_with_nodes(pki: &Pki) -> Vec<String> {
    vec![
        "--enable-admission-plugins=NodeRestriction".into(),
        // Nobody has this name; controllers complain without end when the authority is not set at all.
        format!("--requestheader-client-ca-file={}", pki.ca().display()),
        "--requestheader-allowed-names=front-proxy-client".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        // Else `kubectl logs` and `kubectl exec` try to resolve the node's name.
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!(
            "--kubelet-client-certificate={}",
            pki.certificate("apiserver-kubelet").display()
        ),
        format!("--kubelet-client-key={}", pki.key("apiserver-kubelet").display()),
        format!("--kubelet-certificate-authority={}", pki.ca().display()),
    ]
}

/// The controllers, all of them.
pub(crate) fn controller_manager(kubeconfig: &Path, pki: &Pki) -> Vec<String> {
    let mut flags = client("127.0.0.1", kubeconfig);
    flags.extend([
        "--use-service-account-credentials=true".into(),
        format!(
            "--service-account-private-key-file={}",
            pki.service_account_key().display()
        ),
        format!("--root-ca-file={}", pki.ca().display()),
        format!("--cluster-signing-cert-file={}", pki.ca().display()),
        format!("--cluster-signing-key-file={}", pki.key("ca").display()),
    ]);
    flags
}

/// Only the garbage collector and namespace deletion, without a port: what an API server without nodes needs.
pub(crate) fn garbage_collector(kubeconfig: &Path) -> Vec<String> {
    let mut flags = client("127.0.0.1", kubeconfig);
    flags.extend([
        "--controllers=garbage-collector-controller,namespace-controller".into(),
        "--secure-port=0".into(),
    ]);
    flags
}

/// The scheduler.
pub(crate) fn scheduler(kubeconfig: &Path) -> Vec<String> {
    client("127.0.0.1", kubeconfig)
}

/// A lone client of the API server that no rate limit slows down.
fn client(bind: &str, kubeconfig: &Path) -> Vec<String> {
    let kubeconfig = kubeconfig.display();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--bind-address={bind}"),
        "--leader-elect=false".into(),
        "--kube-api-qps=500".into(),
        "--kube-api-burst=1000".into(),
        "--profiling=false".into(),
        GANG.into(),
    ]
}

/// The Corefile. Nothing is cached, so that a changed endpoint is seen at once; and a name outside of the
/// cluster does not exist, which spares clients the retries that a failure would cost them.
pub(crate) fn corefile(address: &str, kubeconfig: &Path) -> String {
    format!(
        "cluster.local in-addr.arpa ip6.arpa {{
    bind {address}
    errors
    kubernetes {{
        kubeconfig {}
        ttl 0
    }}
}}
. {{
    bind {address}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
",
        kubeconfig.display()
    )
}
