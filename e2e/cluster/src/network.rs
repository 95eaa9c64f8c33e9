//! The cluster's network namespace and the veth pair that joins it to the host.
//!
//! Nothing else of the host's network changes: no route, no firewall rule, no setting.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::run;
use crate::layout::{HOST_IP, HOST_LINK, NAME, NODE_IP};

/// Where `ip netns` keeps namespaces; it makes the folder and mounts it on itself.
pub(crate) const NAMESPACES: &str = "/run/netns";

/// The file that stands for the namespace.
pub(crate) fn namespace() -> PathBuf {
    Path::new(NAMESPACES).join(NAME)
}

/// Makes the namespace and the pair.
pub(crate) fn create() -> Result<()> {
    create_links().context("cannot make the cluster's network")
}

fn create_links() -> Result<()> {
    run("ip", &["netns", "add", NAME])?;
    run(
        "ip",
        &[
            "link", "add", HOST_LINK, "type", "veth", "peer", "name", "eth0", "netns", NAME,
        ],
    )?;
    run("ip", &["addr", "add", &format!("{HOST_IP}/24"), "dev", HOST_LINK])?;
    run("ip", &["link", "set", HOST_LINK, "up"])?;
    run("ip", &["-n", NAME, "link", "set", "lo", "up"])?;
    run(
        "ip",
        &["-n", NAME, "addr", "add", &format!("{NODE_IP}/24"), "dev", "eth0"],
    )?;
    run("ip", &["-n", NAME, "link", "set", "eth0", "up"])?;
    run("ip", &["-n", NAME, "route", "add", "default", "via", HOST_IP])
}

/// Whether something of it is there.
pub(crate) fn present() -> bool {
    namespace().exists() || Path::new("/sys/class/net").join(HOST_LINK).exists()
}

/// Removes both.
pub(crate) fn remove() -> Result<()> {
    // The pair goes with the namespace, but only some time later.
    if Path::new("/sys/class/net").join(HOST_LINK).exists() {
        run("ip", &["link", "del", HOST_LINK])?;
    }
    if namespace().exists() {
        run("ip", &["netns", "del", NAME])?;
    }
    Ok(())
}
