//! Kubeconfig files (written as JSON, which is YAML).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::pki::Pki;

/// Writes the kubeconfig of a client certificate.
pub(crate) fn write(path: &Path, server: &str, pki: &Pki, client: &str) -> Result<()> {
    let name = "trainyard";
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority": pki.ca()}}],
        "users": [{"name": client, "user": {
            "client-certificate": pki.certificate(client),
            "client-key": pki.key(client),
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": client}}],
    });
    fs::write(path, serde_json::to_vec_pretty(&config)?)
        .with_context(|| format!("cannot write {}", path.display()))
}
