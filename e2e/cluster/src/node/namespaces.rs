//! The namespaces of a node, and what runs in them.
//!
//! A node has a mount namespace of its own. The folders whose paths are fixed inside Kubernetes are covered
//! there by folders of the node, and every mount disappears with the last process.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Node;
use crate::command::{command, output};
use crate::layout::{COVERED, Folder};
use crate::network;
use crate::process::Process;

/// The process that holds the namespaces open.
pub(crate) const KEEPER: &str = "namespaces";

/// Starts the keeper of the namespaces. Mounts of the host come in, mounts of the node do not go out.
pub(crate) fn keeper(node: &Node, folder: &Folder) -> Result<Process> {
    let net = format!("--net={}", network::namespace(node).display());
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
    let keeper = Process::spawn(node, KEEPER, &mut enter, &folder.logs())?;
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
            folder.logs().join(format!("{KEEPER}.log")).display()
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
pub(crate) fn cover(folder: &Folder, keeper: &Process) -> Result<()> {
    let target = keeper.pid().to_string();
    let mount = |args: &[&str]| -> Result<()> {
        let mut inside = command("nsenter", &["--target", &target, "--mount", "--", "mount"]);
        output(inside.args(args)).map(drop)
    };
    // The kubelet and the runtime must see each other's mounts.
    mount(&["--make-rshared", "/"])?;
    for path in COVERED {
        let own = folder.cover(path);
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
