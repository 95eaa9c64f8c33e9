//! Readiness of nodes: which nodes are NotReady, and since when.
//!
//! Invariants:
//! * A heartbeat changes nothing.
//! * No node counts as unreachable before the first list of nodes, nor while the watch of nodes is silent: an operator that
//!   is cut off from the API server must not take nodes for lost.
//! * If no node is Ready, only nodes that are gone, or have the out-of-service taint, count as unreachable: all nodes at once
//!   are cut off from the API server, and their pods go on.
//! * A node that is not in the view counts as gone from the first reconcile that finds a pod on it: the watch of pods may be
//!   ahead of the watch of nodes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use common::PodView;
use common::observe::UnreachableNode;
use jiff::Timestamp;
use tokio::time::Instant;

/// Longest silence of the watch of nodes. The watch is restarted after 90 s without a bookmark.
const SILENT: Duration = Duration::from_mins(2);

/// A node, pruned to what decisions read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeView {
    /// Time since which the node is NotReady; `None` while it is Ready.
    pub(crate) not_ready_since: Option<Timestamp>,
    /// `true` with the taint `node.kubernetes.io/out-of-service`: nothing runs there any more.
    pub(crate) out_of_service: bool,
}

/// A node with its name and version.
#[derive(Debug, Clone)]
pub(crate) struct NodeObject {
    /// Name.
    pub(crate) name: Box<str>,
    /// resourceVersion.
    pub(crate) rv: u64,
    /// Time at which it was read, by the clock of this process.
    pub(crate) seen: Timestamp,
    /// Fields that decisions read.
    pub(crate) value: NodeView,
}

/// Nodes that are gone, by name, with the time at which a reconcile first found a pod on them.
pub(crate) type GoneNodes = HashMap<Box<str>, Timestamp>;

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    by_name: HashMap<Box<str>, (u64, NodeView)>,
    /// Time of the last event, bookmark or list of nodes.
    last_event: Option<Instant>,
    /// `true` if no node was Ready at the last event.
    none_was_ready: bool,
}

impl Nodes {
    /// Stores a node. Returns `true` if it changed.
    pub(crate) fn put(&mut self, mut node: NodeObject) -> bool {
        if let Some(since) = &mut node.value.not_ready_since {
            // A node that goes NotReady while we watch is timed by our clock: that of another machine may be slow.
            let seen = node.seen.max(*since);
            // A change from NotReady to Unknown does not start a new period.
            let held = self.by_name.get(&node.name);
            let then = held.and_then(|(_, held)| held.not_ready_since);
            *since = then.map_or(seen, |then| then.min(seen));
        }
        self.store(node)
    }

    fn store(&mut self, node: NodeObject) -> bool {
        let NodeObject { name, rv, value, .. } = node;
        let held = self.by_name.get(&name).copied();
        if held.is_some_and(|(held, _)| held >= rv) {
            return false;
        }
        let before = held.map(|(_, value)| value);
        self.by_name.insert(name, (rv, value));
        before != Some(value)
    }

    /// Removes a deleted node. Returns `true` if it was known.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// Replaces all nodes by a full list as of `rv`. A node that is not in the list is gone, unless its version is younger than
    /// the list. Returns the names of nodes that changed.
    pub(crate) fn replace(&mut self, list: Vec<NodeObject>, rv: u64) -> HashSet<Box<str>> {
        let listed: HashSet<&str> = list.iter().map(|node| &*node.name).collect();
        let held = self.by_name.iter();
        let gone = held.filter(|(name, (held, _))| *held <= rv && !listed.contains(&***name));
        let gone: Vec<Box<str>> = gone.map(|(name, _)| name.clone()).collect();
        let mut changed: HashSet<Box<str>> = HashSet::new();
        for name in gone {
            self.by_name.remove(&name);
            changed.insert(name);
        }
        for mut node in list {
            let name = node.name.clone();
            // It may have been Ready meanwhile, or be another node of that name: the known time must not make it unreachable
            // early.
            if let (Some(since), Some((_, held))) = (&mut node.value.not_ready_since, self.by_name.get(&name))
            {
                *since = held.not_ready_since.unwrap_or(node.seen).max(*since);
            }
            if self.store(node) {
                changed.insert(name);
            }
        }
        changed
    }

    /// Resets all versions, so that any version that comes next counts as younger.
    pub(crate) fn forget_versions(&mut self) {
        self.by_name.values_mut().for_each(|(rv, _)| *rv = 0);
    }

    /// Notes an event, bookmark or list of nodes. Returns `true` if readiness was unknown before: the watch had been silent
    /// for too long, or no node was Ready.
    pub(crate) fn watch_progressed(&mut self, now: Timestamp) -> bool {
        let was_known = self.is_known();
        self.last_event = Some(Instant::now());
        let none_is_ready = self.none_is_ready();
        let first_is_ready = std::mem::replace(&mut self.none_was_ready, none_is_ready) && !none_is_ready;
        if first_is_ready {
            // The first node is Ready again; the others get as much time as if they had gone NotReady now.
            let not_ready = self
                .by_name
                .values_mut()
                .map(|(_, node)| &mut node.not_ready_since);
            not_ready.flatten().for_each(|since| *since = now.max(*since));
        }
        first_is_ready || !was_known
    }

    /// Returns `true` if no node is Ready.
    fn none_is_ready(&self) -> bool {
        !self.by_name.keys().any(|name| self.is_ready(name))
    }

    fn is_known(&self) -> bool {
        self.last_event.is_some_and(|at| at.elapsed() < SILENT)
    }

    /// Returns `true` if the node exists and is Ready.
    pub(crate) fn is_ready(&self, name: &str) -> bool {
        self.by_name
            .get(name)
            .is_some_and(|(_, node)| node.not_ready_since.is_none())
    }

    /// Unreachable nodes, of the nodes that `pods` are on. If no node is Ready: only those that are gone, or that an
    /// administrator has tainted as out of service. `gone` remembers when nodes were first found to be gone.
    pub(crate) fn unreachable<'a>(
        &self,
        pods: impl Iterator<Item = &'a PodView>,
        gone: &mut GoneNodes,
        now: Timestamp,
    ) -> BTreeMap<Box<str>, UnreachableNode> {
        if !self.is_known() {
            return BTreeMap::new();
        }
        let names = pods
            .filter(|pod| !pod.has_ended())
            .filter_map(|pod| pod.node.as_deref());
        let not_ready: HashSet<&str> = names.filter(|name| !self.is_ready(name)).collect();
        gone.retain(|name, _| not_ready.contains(&**name) && !self.by_name.contains_key(name));
        let unreachable = not_ready.into_iter().map(|name| {
            let node = self.by_name.get(name).map(|(_, node)| node);
            let since = match node {
                Some(node) => node.not_ready_since.unwrap_or(now),
                None => *gone.entry(name.into()).or_insert(now),
            };
            let node = UnreachableNode {
                since,
                out_of_service: node.is_some_and(|node| node.out_of_service),
                gone: node.is_none(),
            };
            (name.into(), node)
        });
        let none_is_ready = self.none_is_ready();
        unreachable
            .filter(|(_, node)| !none_is_ready || node.gone || node.out_of_service)
            .collect()
    }
}

#[cfg(test)]
mod tests;
