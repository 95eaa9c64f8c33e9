//! Nodes that do not answer: which pods on them are given up, and when the others will be.
//!
//! A pod on such a node neither ends nor goes: nobody is there who would say so. Only after a limit, or when an
//! administrator vouches for it, is it taken to be dead; until then it may well be alive, and its replica stays taken.

use crate::conditions;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::observe::{Observed, PodView, UnreachableNode};
use crate::settings::Settings;

/// What is to be thought of pods, by the nodes that they are on.
#[derive(Debug, Clone, Copy)]
pub struct UnreachableNodes<'a> {
    nodes: &'a BTreeMap<Box<str>, UnreachableNode>,
    now: Timestamp,
    limit: Option<i64>,
}

impl<'a> UnreachableNodes<'a> {
    /// As of now.
    #[must_use]
    pub fn of(observed: &'a Observed, settings: &Settings) -> Self {
        Self {
            nodes: &observed.unreachable_nodes,
            now: observed.now,
            limit: settings.node_lost_after,
        }
    }

    /// Whether the pod counts as dead although nobody can say so.
    #[must_use]
    pub fn presumed_dead(&self, pod: &PodView) -> bool {
        self.due(pod).is_some_and(|due| due <= self.now)
    }

    /// When that will be, of a pod whose node does not answer.
    #[must_use]
    pub fn due(&self, pod: &PodView) -> Option<Timestamp> {
        let (_, node) = self.node(pod)?;
        let limit = SignedDuration::from_secs(self.limit?);
        if node.out_of_service {
            return Some(self.now);
        }
        Some(node.since.checked_add(limit).unwrap_or(Timestamp::MAX))
    }

    /// Since when the pod's node has not answered.
    #[must_use]
    pub fn not_ready_since(&self, pod: &PodView) -> Option<Timestamp> {
        self.limit?;
        Some(self.node(pod)?.1.since)
    }

    /// The next time at which a pod of the job is given up.
    #[must_use]
    pub fn next(&self, observed: &Observed) -> Option<Timestamp> {
        let pods = observed.pods.iter();
        let all = pods.chain(observed.batch_pods.iter().map(|(_, pod)| pod));
        all.filter_map(|pod| self.due(pod))
            .filter(|due| *due > self.now)
            .min()
    }

    /// Where a pod is that may be lost, in words: `node n (NotReady since ...)`.
    #[must_use]
    pub fn place(&self, pod: &PodView) -> Option<String> {
        let (name, node) = self.node(pod)?;
        self.limit?;
        let what = if node.gone { "gone" } else { "NotReady" };
        let since = conditions::whole_seconds(node.since).0;
        let vouched = if node.out_of_service {
            ", out of service"
        } else {
            ""
        };
        Some(format!("node {name} ({what} since {since}{vouched})"))
    }

    /// What the job waits for, if a pod of it is on such a node.
    #[must_use]
    pub fn wait(&self, observed: &Observed) -> Option<String> {
        let pods = observed.pods.iter();
        let all = pods.chain(observed.batch_pods.iter().map(|(_, pod)| pod));
        let mut waiting: Vec<_> = all
            .filter_map(|pod| Some((self.due(pod).filter(|due| *due > self.now)?, pod)))
            .collect();
        // The order in which pods are observed must not matter.
        waiting.sort_by_key(|(due, pod)| (*due, pod.name.clone()));
        let (due, pod) = waiting.first()?;
        let others = match waiting.len().saturating_sub(1) {
            0 => String::new(),
            1 => "; so is 1 other pod".to_owned(),
            n => format!("; so are {n} other pods"),
        };
        Some(format!(
            "pod {} is on {}; it is given up at {}{others}",
            pod.name,
            self.place(pod)?,
            conditions::whole_seconds(*due).0
        ))
    }

    /// The node of a pod that has not ended, if it does not answer.
    fn node<'p>(&self, pod: &'p PodView) -> Option<(&'p str, &'a UnreachableNode)> {
        let name = pod.node.as_deref().filter(|_| !pod.has_ended())?;
        Some((name, self.nodes.get(name)?))
    }
}
