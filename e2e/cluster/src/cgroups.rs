//! A node's folder in each cgroup hierarchy; the cgroup of each of its pods is below it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::node::Node;
use crate::process::Process;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    unified: bool,
    cpuset: bool,
}

/// Makes the folders. On cgroup v1 one per hierarchy, with cpuset filled in; on v2 one with all controllers on.
pub(crate) fn create(node: &Node) -> Result<()> {
    let hierarchies = mounted()?;
    let version_1 = hierarchies.iter().any(|hierarchy| !hierarchy.unified);
    for hierarchy in &hierarchies {
        let folder = hierarchy.mount.join(node.id());
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        if hierarchy.cpuset {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let inherited = fs::read_to_string(hierarchy.mount.join(file))?;
                fs::write(folder.join(file), inherited.trim())?;
            }
        }
        if hierarchy.unified && !version_1 {
            enable_controllers(&hierarchy.mount)?;
            enable_controllers(&folder)?;
        }
    }
    Ok(())
}

/// The processes of all pods of a node.
pub(crate) fn processes(node: &Node) -> Vec<Process> {
    let mut pids = Vec::new();
    for hierarchy in mounted().unwrap_or_default() {
        walk(&hierarchy.mount.join(node.id()), &mut |folder| {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        });
    }
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter()
        .filter_map(|pid| Process::of("pod", pid))
        .collect()
}

/// Removes the folders, the deepest first; the kernel may need a moment after the last process ended.
pub(crate) fn remove(node: &Node, within: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        let mut left = None;
        for hierarchy in mounted()? {
            walk(&hierarchy.mount.join(node.id()), &mut |folder| {
                if fs::remove_dir(folder).is_err() {
                    left = Some(folder.to_owned());
                }
            });
        }
        match left {
            None => return Ok(()),
            Some(folder) if begun.elapsed() > within => {
                bail!("cannot remove the cgroup {}", folder.display())
            }
            Some(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Calls for each folder from the deepest up.
fn walk(folder: &Path, call: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), call);
        }
    }
    call(folder);
}

fn enable_controllers(folder: &Path) -> Result<()> {
    let controllers = fs::read_to_string(folder.join("cgroup.controllers"))?;
    let enable: Vec<_> = controllers
        .split_whitespace()
        .map(|name| format!("+{name}"))
        .collect();
    fs::write(folder.join("cgroup.subtree_control"), enable.join(" "))
        .with_context(|| format!("cannot enable cgroup controllers in {}", folder.display()))
}

fn mounted() -> Result<Vec<Hierarchy>> {
    Ok(parse(&fs::read_to_string("/proc/self/mounts")?))
}

fn parse(mounts: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(mount), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if kind == "cgroup" || kind == "cgroup2" {
            let cpuset = kind == "cgroup" && options.split(',').any(|option| option == "cpuset");
            found.push(Hierarchy {
                mount: PathBuf::from(mount),
                unified: kind == "cgroup2",
                cpuset,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn both_versions_are_seen_side_by_side() {
        let found = parse(
            "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
             cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0\n\
             cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
             cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
        );
        let seen: Vec<_> = found
            .iter()
            .map(|hierarchy| (hierarchy.unified, hierarchy.cpuset))
            .collect();
        assert_eq!(seen, [(false, true), (false, false), (true, false)]);
    }
}
