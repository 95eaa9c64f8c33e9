//! Taking nodes and the cluster away without a trace.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::run;
use crate::layout::Layout;
use crate::node::Node;
use crate::process::{Process, wait_ended};
use crate::removal;
use crate::state::State;
use crate::{cgroups, network};

const PATIENCE: Duration = Duration::from_secs(15);

/// Whether anything of a cluster is there. What is left of a further node is below the cluster's folder.
pub(crate) fn residue(layout: &Layout) -> bool {
    let first = Node::first();
    layout.root().exists() || network::present(&first) || !cgroups::processes(&first).is_empty()
}

/// Ends what runs and removes what is left. Works on a cluster in any condition.
pub(crate) fn take_down(layout: &Layout) -> Result<()> {
    let state = State::read(&layout.state()).unwrap_or_default();
    end(&state.processes)?;
    for node in state.nodes.iter().filter(|node| !node.is_first()) {
        remove_node(layout, &state, node)?;
    }
    // The last, as its folder holds the record.
    remove_node(layout, &state, &Node::first())?;
    for folder in state.made_folders.iter().rev() {
        remove_made(folder);
    }
    Ok(())
}

/// Ends a node and removes its namespaces, cgroups, mounts and folder.
pub(crate) fn remove_node(layout: &Layout, state: &State, node: &Node) -> Result<()> {
    end_node(state, node)?;
    cgroups::remove(node, PATIENCE)?;
    network::remove(node)?;
    let folder = layout.node(node);
    let root = folder.root();
    unmount_below(root)?;
    if root.exists() {
        removal::remove(root)
            .with_context(|| format!("cannot remove {}; is something mounted there?", root.display()))?;
    }
    Ok(())
}

/// Ends all that runs on a node.
pub(crate) fn end_node(state: &State, node: &Node) -> Result<()> {
    // The kubelet and the runtime first: nobody starts anything after them.
    let programs: Vec<Process> = state.of(node).cloned().collect();
    end(&programs)?;
    let begun = Instant::now();
    loop {
        let mut left = network::processes(node);
        left.extend(cgroups::processes(node));
        left.retain(Process::alive);
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            bail!("new processes appear on node {} without end", node.name());
        }
        end(&left)?;
    }
}

/// Removes a folder that was made outside the cluster's own, if it is empty: what somebody else put there since
/// is theirs.
fn remove_made(folder: &str) {
    let empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if empty && folder == network::NAMESPACES {
        let _ = run("umount", &[folder]);
    }
    let _ = fs::remove_dir(folder);
}

fn end(processes: &[Process]) -> Result<()> {
    for process in processes.iter().rev() {
        process.kill();
    }
    wait_ended(processes, PATIENCE)
}

/// The node's mounts go with its namespace; this finds those that somebody made from outside.
fn unmount_below(root: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    for target in mounts_below(&mounts, &root.to_string_lossy()).iter().rev() {
        run("umount", &["--lazy", target])?;
    }
    Ok(())
}

fn mounts_below(mounts: &str, root: &str) -> Vec<String> {
    let inside = format!("{root}/");
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|target| *target == root || target.starts_with(&inside))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::mounts_below;

    #[test]
    fn only_own_mounts_are_taken() {
        let mounts = "a /var/lib/x tmpfs rw 0 0\nb /var/lib/x/y tmpfs rw 0 0\nc /var/lib/xy tmpfs rw 0 0\n";
        assert_eq!(mounts_below(mounts, "/var/lib/x"), ["/var/lib/x", "/var/lib/x/y"]);
    }
}
