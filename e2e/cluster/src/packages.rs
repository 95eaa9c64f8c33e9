//! The distribution's packages that the cluster and the image builder call.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::command::{command, find};
use crate::progress::Progress;

/// A Debian package and how to see that it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    name: &'static str,
    sign: Sign,
}

#[derive(Clone, Copy, Debug)]
enum Sign {
    Program(&'static str),
    File(&'static str),
}

const fn program(name: &'static str, program: &'static str) -> Package {
    Package {
        name,
        sign: Sign::Program(program),
    }
}

const fn file(name: &'static str, file: &'static str) -> Package {
    Package {
        name,
        sign: Sign::File(file),
    }
}

/// What a node needs to run pods.
pub(crate) const NODE: &[Package] = &[
    file("containernetworking-plugins", "/usr/lib/cni/ptp"),
    program("iptables", "iptables"),
    program("nftables", "nft"),
    program("iproute2", "ip"),
    program("util-linux", "nsenter"),
    program("mount", "mount"),
    BUSYBOX,
];

/// A static busybox: the content of the pause and toolbox images.
pub(crate) const BUSYBOX: Package = program("busybox-static", "busybox");
/// Makes root filesystems of Debian packages.
pub(crate) const MMDEBSTRAP: Package = program("mmdebstrap", "mmdebstrap");
/// Installs Python packages.
pub(crate) const PIP: Package = program("python3-pip", "pip3");
/// What a C part of a Go program needs.
pub(crate) const CGO: &[Package] = &[
    program("gcc", "gcc"),
    program("pkg-config", "pkg-config"),
    file("libseccomp-dev", "/usr/include/seccomp.h"),
];

/// Installs what is missing with apt-get; an error naming the packages where that is not possible.
pub(crate) fn ensure(packages: &[Package], progress: Progress) -> Result<()> {
    // One at a time: apt-get does not wait for another apt-get.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| !present(package))
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if find("apt-get").is_none() {
        bail!("needed and not installed: {list} (names as in Debian); install them and try again");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("needed and not installed: {list}; run `apt-get install {list}` as root and try again");
    }
    let step = progress.step(&format!("installing {list}"));
    apt(&["update", "-qq"])?;
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    apt(&[install.as_slice(), missing.as_slice()].concat())
        .with_context(|| format!("cannot install {list}"))?;
    step.done();
    Ok(())
}

fn present(package: &Package) -> bool {
    match package.sign {
        Sign::Program(name) => find(name).is_some(),
        Sign::File(path) => Path::new(path).exists(),
    }
}

fn apt(args: &[&str]) -> Result<()> {
    let output = command("apt-get", args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("cannot start apt-get")?;
    if !output.status.success() {
        bail!(
            "apt-get {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
