//! Nodes, as far as anybody here asks: whether they answer, and since when they do not.
//!
//! Invariants: a heartbeat is no news. Nothing is said of nodes before their first list, nor while their watch is silent:
//! who is cut off from them must not take them for lost. No more when none of them answers: it is they that are cut off
//! then, all at once, and go on. A node that is not in the view is gone only for whoever finds a
//! pod on it, and from then on: the watch of pods may be ahead of that of nodes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use common::PodView;
use common::observe::LostNode;
use jiff::Timestamp;
use tokio::time::Instant;

/// For so long the watch may be silent: it is begun anew after 90 s without a bookmark.
const SILENT: Duration = Duration::from_mins(2);

/// A node, pruned to what decisions read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeView {
    /// Since when it does not answer; `None` as long as it does.
    pub(crate) silent_since: Option<Timestamp>,
    /// Whether it bears the taint that says that nothing runs there any more.
    pub(crate) out_of_service: bool,
}

/// A node by its name.
#[derive(Debug, Clone)]
pub(crate) struct NodeObject {
    /// Name.
    pub(crate) name: Box<str>,
    /// resourceVersion.
    pub(crate) rv: u64,
    /// When it was read, by our clock.
    pub(crate) seen: Timestamp,
    /// What decisions read.
    pub(crate) value: NodeView,
}

/// When nodes were first found to be gone, by name.
pub(crate) type Missing = HashMap<Box<str>, Timestamp>;

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    by_name: HashMap<Box<str>, (u64, NodeView)>,
    heard: Option<Instant>,
    /// Whether none answered when the watch last told something.
    dark: bool,
}

impl Nodes {
    /// Takes in a node; answers whether that is news.
    pub(crate) fn put(&mut self, mut node: NodeObject) -> bool {
        if let Some(since) = &mut node.value.silent_since {
            // Who falls silent before our eyes does so by our clock: that of another machine may be slow.
            let seen = node.seen.max(*since);
            // From NotReady to Unknown it answers no more than before.
            let held = self.by_name.get(&node.name);
            let then = held.and_then(|(_, held)| held.silent_since);
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

    /// A node was deleted; answers whether that is news.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// Takes in a full list as of `rv`. What it does not name is gone, unless it is younger than the list. Answers with
    /// the names of those about which there is news.
    pub(crate) fn replace(&mut self, list: Vec<NodeObject>, rv: u64) -> HashSet<Box<str>> {
        let listed: HashSet<&str> = list.iter().map(|node| &*node.name).collect();
        let held = self.by_name.iter();
        let gone = held.filter(|(name, (held, _))| *held <= rv && !listed.contains(&***name));
        let gone: Vec<Box<str>> = gone.map(|(name, _)| name.clone()).collect();
        let mut news: HashSet<Box<str>> = HashSet::new();
        for name in gone {
            self.by_name.remove(&name);
            news.insert(name);
        }
        for mut node in list {
            let name = node.name.clone();
            // It may have answered meanwhile, or be another one of that name: what was held is no reason to be early.
            if let (Some(since), Some((_, held))) = (&mut node.value.silent_since, self.by_name.get(&name)) {
                *since = held.silent_since.unwrap_or(node.seen).max(*since);
            }
            if self.store(node) {
                news.insert(name);
            }
        }
        news
    }

    /// Versions mean nothing any more: whatever comes is younger.
    pub(crate) fn forget_versions(&mut self) {
        self.by_name.values_mut().for_each(|(rv, _)| *rv = 0);
    }

    /// The watch has told something; answers whether it had been silent for too long, or no node had answered, so that
    /// nobody knows by now.
    pub(crate) fn heard(&mut self, now: Timestamp) -> bool {
        let before = self.is_known();
        self.heard = Some(Instant::now());
        let dark = self.is_dark();
        let dawn = std::mem::replace(&mut self.dark, dark) && !dark;
        if dawn {
            // The first one is back; the others get as much time as if they had fallen silent now.
            let silent = self.by_name.values_mut().map(|(_, node)| &mut node.silent_since);
            silent.flatten().for_each(|since| *since = now.max(*since));
        }
        dawn || !before
    }

    /// Whether no node answers.
    fn is_dark(&self) -> bool {
        !self.by_name.keys().any(|name| self.answers(name))
    }

    fn is_known(&self) -> bool {
        self.heard.is_some_and(|heard| heard.elapsed() < SILENT)
    }

    /// Whether a node is there and answers.
    pub(crate) fn answers(&self, name: &str) -> bool {
        self.by_name
            .get(name)
            .is_some_and(|(_, node)| node.silent_since.is_none())
    }

    /// Those nodes that do not answer, of those that pods are on; if none at all does, those alone that are gone, or that an
    /// administrator vouches for. `missing` remembers when they were found to be gone.
    pub(crate) fn lost<'a>(
        &self,
        pods: impl Iterator<Item = &'a PodView>,
        missing: &mut Missing,
        now: Timestamp,
    ) -> BTreeMap<Box<str>, LostNode> {
        if !self.is_known() {
            return BTreeMap::new();
        }
        let names = pods
            .filter(|pod| !pod.has_ended())
            .filter_map(|pod| pod.node.as_deref());
        let silent: HashSet<&str> = names.filter(|name| !self.answers(name)).collect();
        missing.retain(|name, _| silent.contains(&**name) && !self.by_name.contains_key(name));
        let lost = silent.into_iter().map(|name| {
            let node = self.by_name.get(name).map(|(_, node)| node);
            let since = match node {
                Some(node) => node.silent_since.unwrap_or(now),
                None => *missing.entry(name.into()).or_insert(now),
            };
            let lost = LostNode {
                since,
                out_of_service: node.is_some_and(|node| node.out_of_service),
                gone: node.is_none(),
            };
            (name.into(), lost)
        });
        let dark = self.is_dark();
        lost.filter(|(_, node)| !dark || node.gone || node.out_of_service)
            .collect()
    }
}

#[cfg(test)]
mod tests;
