//! The network namespaces of the nodes and the links between them.
//!
//! The first node is linked to the host, all others to the first, which passes on what they say to each other.
//! Nothing else of the host's network changes: no route, no firewall rule, no setting.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, output, run};
use crate::layout::{HOST_IP, NODE_IP};
use crate::node::Node;
use crate::process::{self, Process};

/// Where `ip netns` keeps namespaces; it makes the folder and mounts it on itself.
pub(crate) const NAMESPACES: &str = "/run/netns";
/// The inner end of a link.
const INNER: &str = "eth0";

/// The file that stands for a node's namespace.
pub(crate) fn namespace(node: &Node) -> PathBuf {
    Path::new(NAMESPACES).join(node.id())
}

/// Makes a node's namespace and its link.
pub(crate) fn create(node: &Node) -> Result<()> {
    create_links(node).with_context(|| format!("cannot make the network of node {}", node.name()))
}

fn create_links(node: &Node) -> Result<()> {
    let (id, link, address) = (node.id(), node.link(), node.address());
    run("ip", &["netns", "add", &id])?;
    let pair = [
        "link", "add", &link, "type", "veth", "peer", "name", INNER, "netns", &id,
    ];
    outside(node, &pair)?;
    outside(node, &["link", "set", &link, "up"])?;
    inside(node, &["link", "set", "lo", "up"])?;
    inside(node, &["link", "set", INNER, "up"])?;
    // Pods of other nodes are reached through here, even before the first pod of this one.
    let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
    let net = format!("--net={}", namespace(node).display());
    run("nsenter", &[&net, "--", "sh", "-c", forward])?;
    if node.is_first() {
        outside(node, &["addr", "add", &format!("{HOST_IP}/24"), "dev", &link])?;
        inside(node, &["addr", "add", &format!("{address}/24"), "dev", INNER])?;
        return inside(node, &["route", "add", "default", "via", HOST_IP]);
    }
    inside(node, &["addr", "add", &address, "peer", NODE_IP, "dev", INNER])?;
    inside(node, &["route", "add", "default", "via", NODE_IP])?;
    let pods = node.pods();
    outside(node, &["route", "add", &address, "dev", &link, "src", NODE_IP])?;
    outside(node, &["route", "add", &pods, "via", &address, "src", NODE_IP])
}

/// Whether something of a node's network is there.
pub(crate) fn present(node: &Node) -> bool {
    namespace(node).exists() || linked(node)
}

/// Cuts a node off without a word to the others, which go on sending to it.
pub(crate) fn cut(node: &Node) -> Result<()> {
    if namespace(node).exists() {
        inside(node, &["link", "set", INNER, "down"])?;
    }
    Ok(())
}

/// Removes a node's namespace and its link.
pub(crate) fn remove(node: &Node) -> Result<()> {
    // The link goes with the namespace, but only some time later.
    if linked(node) {
        outside(node, &["link", "del", &node.link()])?;
    }
    if namespace(node).exists() {
        run("ip", &["netns", "del", &node.id()])?;
    }
    Ok(())
}

/// All that runs in a node's namespace: its programs, and what they have started outside of pods.
pub(crate) fn processes(node: &Node) -> Vec<Process> {
    let identity = |path: &Path| {
        let file = fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    };
    let Some(own) = identity(&namespace(node)) else {
        return Vec::new();
    };
    process::ids()
        .into_iter()
        .filter(|id| identity(Path::new(&format!("/proc/{id}/ns/net"))) == Some(own))
        .filter_map(|id| Process::of("process", id))
        .collect()
}

fn linked(node: &Node) -> bool {
    outside(node, &["link", "show", "dev", &node.link()]).is_ok()
}

/// `ip` in a node's namespace.
fn inside(node: &Node, args: &[&str]) -> Result<()> {
    let id = node.id();
    output(command("ip", &["-n", &id]).args(args)).map(drop)
}

/// `ip` at the outer end of a node's link: on the host or in the first node.
fn outside(node: &Node, args: &[&str]) -> Result<()> {
    if node.is_first() {
        run("ip", args)
    } else {
        inside(&Node::first(), args)
    }
}
