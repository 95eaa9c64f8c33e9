//! The same cluster by `kind`, for machines with Docker.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{command, find, output};

/// The cluster's name in kind.
pub const NAME: &str = "trainyard";
/// The cluster's configuration: gang scheduling on, as in the local cluster.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kind.yaml");

/// Makes the cluster, unless it exists, and writes its kubeconfig.
///
/// # Errors
/// Without `kind`, without an answering Docker engine, or when kind fails.
pub fn create(kubeconfig: &Path) -> Result<()> {
    require_docker()?;
    let kubeconfig = kubeconfig.to_string_lossy();
    let known = output(&mut command("kind", &["get", "clusters"]))?;
    if known.lines().any(|name| name == NAME) {
        return kind(&[
            "export",
            "kubeconfig",
            "--name",
            NAME,
            "--kubeconfig",
            &kubeconfig,
        ]);
    }
    kind(&[
        "create",
        "cluster",
        "--name",
        NAME,
        "--config",
        CONFIG,
        "--kubeconfig",
        &kubeconfig,
        "--wait",
        "180s",
    ])
}

/// Loads an OCI archive into the cluster's nodes.
///
/// # Errors
/// As [`create`].
pub fn load_image(archive: &Path) -> Result<()> {
    require_docker()?;
    kind(&[
        "load",
        "image-archive",
        &archive.to_string_lossy(),
        "--name",
        NAME,
    ])
}

/// Deletes the cluster; nothing to do when there is none.
///
/// # Errors
/// As [`create`].
pub fn delete() -> Result<()> {
    require_docker()?;
    kind(&["delete", "cluster", "--name", NAME])
}

fn require_docker() -> Result<()> {
    if find("kind").is_none() {
        bail!("`kind` is not on PATH (go install sigs.k8s.io/kind@latest)");
    }
    if find("docker").is_none() {
        bail!(
            "kind needs Docker, and `docker` is not on PATH; as root on Linux, `cargo xtask cluster up` needs none"
        );
    }
    output(&mut command(
        "docker",
        &["version", "--format", "{{.Server.Version}}"],
    ))
    .map(drop)
    .context("kind needs a running Docker engine; as root on Linux, `cargo xtask cluster up` needs none")
}

fn kind(args: &[&str]) -> Result<()> {
    output(&mut command("kind", args)).map(drop)
}
