//! Certificates: one authority, a server certificate per server, a client certificate per component.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::node::Node;

/// Client identities: file name, user (CN) and group (O).
pub(crate) const CLIENTS: &[(&str, &str, Option<&str>)] = &[
    ("admin", "kubernetes-admin", Some("system:masters")),
    (
        "apiserver-kubelet",
        "kube-apiserver-kubelet",
        Some("system:masters"),
    ),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("coredns", "coredns", None),
];
/// The authority's name.
const AUTHORITY: &str = "trainyard-cluster-ca";

/// The certificates of one cluster or node, as files in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Pki {
    /// Where the authority's own are.
    authority: PathBuf,
    folder: PathBuf,
}

impl Pki {
    /// Makes the authority, the service-account key, the API server's certificate for `names`, and all clients.
    pub(crate) fn create(folder: &Path, names: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let pki = Self::open(folder);
        let issuer = pki.make_authority()?;
        pki.issue(&issuer, "apiserver", &server(names)?)?;
        for (file, user, group) in CLIENTS {
            pki.issue(&issuer, file, &client(user, *group))?;
        }
        let tokens = KeyPair::generate()?;
        write_private(&pki.service_account_key(), &tokens.serialize_pem())?;
        fs::write(pki.service_account_public_key(), tokens.public_key_pem())?;
        Ok(pki)
    }

    /// The certificates that [`Pki::create`] made.
    pub(crate) fn open(folder: &Path) -> Self {
        Self {
            authority: folder.to_owned(),
            folder: folder.to_owned(),
        }
    }

    /// Makes a node's certificates, signed by this authority: those of its kubelet and of its service proxy.
    pub(crate) fn of_node(&self, folder: &Path, node: &Node) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let pki = Self {
            authority: self.authority.clone(),
            folder: folder.to_owned(),
        };
        let key =
            fs::read_to_string(self.authority.join("ca.key")).context("cannot read the authority's key")?;
        let issuer = Issuer::new(authority(), KeyPair::from_pem(&key)?);
        let kubelet = server(&[&node.address(), "127.0.0.1", node.name()])?;
        pki.issue(&issuer, "kubelet", &kubelet)?;
        pki.issue(&issuer, "kubelet-client", &kubelet_client(node))?;
        pki.issue(&issuer, "kube-proxy", &client("system:kube-proxy", None))?;
        Ok(pki)
    }

    /// Issues a server certificate for `names` beside those of the cluster.
    pub(crate) fn add_server(&self, name: &str, names: &[&str]) -> Result<()> {
        self.issue(&self.issuer()?, name, &server(names)?)
    }

    /// Issues a client certificate for `user` beside those of the cluster.
    pub(crate) fn add_client(&self, name: &str, user: &str) -> Result<()> {
        self.issue(&self.issuer()?, name, &client(user, None))
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.authority.join("ca.crt")
    }

    /// A certificate by name.
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    /// The key of a certificate.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// The key that signs service-account tokens.
    pub(crate) fn service_account_key(&self) -> PathBuf {
        self.folder.join("service-account.key")
    }

    /// Its public half: the API server cannot derive it from a PKCS #8 file.
    pub(crate) fn service_account_public_key(&self) -> PathBuf {
        self.folder.join("service-account.pub")
    }

    fn make_authority(&self) -> Result<Issuer<'static, KeyPair>> {
        let key = KeyPair::generate()?;
        fs::write(self.ca(), authority().self_signed(&key)?.pem())?;
        write_private(&self.key("ca"), &key.serialize_pem())?;
        Ok(Issuer::new(authority(), key))
    }

    /// The authority of a cluster that runs.
    fn issuer(&self) -> Result<Issuer<'static, KeyPair>> {
        let path = self.key("ca");
        let key = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Issuer::new(authority(), KeyPair::from_pem(&key)?))
    }

    fn issue(&self, issuer: &Issuer<'static, KeyPair>, name: &str, params: &CertificateParams) -> Result<()> {
        let key = KeyPair::generate()?;
        fs::write(self.certificate(name), params.signed_by(&key, issuer)?.pem())?;
        write_private(&self.key(name), &key.serialize_pem())
    }
}

/// The names of a cluster's API server, beside its addresses.
pub(crate) const API_SERVER_NAMES: [&str; 4] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params
}

fn server(names: &[&str]) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(|name| san(name)).collect::<Result<_>>()?;
    params
        .distinguished_name
        .push(DnType::CommonName, names.first().copied().unwrap_or_default());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn client(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A node as the node authorizer knows it.
fn kubelet_client(node: &Node) -> CertificateParams {
    client(&format!("system:node:{}", node.name()), Some("system:nodes"))
}

fn san(name: &str) -> Result<SanType> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    Ok(SanType::DnsName(
        name.try_into()
            .with_context(|| format!("{name} is no DNS name"))?,
    ))
}

fn write_private(path: &Path, content: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_certificate_tells_addresses_from_names() {
        let params = server(&["10.200.0.2", "kubernetes.default.svc"]).unwrap();
        assert!(
            matches!(params.subject_alt_names[0], SanType::IpAddress(ip) if ip.to_string() == "10.200.0.2")
        );
        assert!(
            matches!(&params.subject_alt_names[1], SanType::DnsName(name) if name.as_ref() == "kubernetes.default.svc")
        );
    }

    #[test]
    fn node_client_is_named_as_the_node_authorizer_expects() {
        let params = kubelet_client(&Node::further("spare", &[]).unwrap());
        let name = |kind| params.distinguished_name.get(kind).cloned();
        assert_eq!(name(&DnType::CommonName), Some("system:node:spare".into()));
        assert_eq!(name(&DnType::OrganizationName), Some("system:nodes".into()));
    }

    #[test]
    fn a_node_that_joins_later_has_the_same_authority_and_files_of_its_own() {
        let folder = std::env::temp_dir().join(format!("pki-{}", std::process::id()));
        let cluster = Pki::create(&folder.join("cluster"), &["127.0.0.1"]).unwrap();
        let node = Node::further("spare", &[]).unwrap();
        let pki = Pki::open(&folder.join("cluster"))
            .of_node(&folder.join("spare"), &node)
            .unwrap();
        assert_eq!(pki.ca(), cluster.ca());
        for name in ["kubelet", "kubelet-client", "kube-proxy"] {
            assert!(pki.certificate(name).starts_with(folder.join("spare")));
            assert!(pki.certificate(name).exists() && pki.key(name).exists());
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
