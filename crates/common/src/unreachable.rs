//! Unreachable nodes: the pods on them that are presumed dead, and the time at which the others will be.
//!
//! Nothing reports the end or the deletion of a pod on such a node. The pod is presumed dead only after a limit, or
//! when an administrator confirms it with a taint. Until then it may still run, so its replica is not created again.

use crate::conditions;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::observe::{Observed, PodView, UnreachableNode};
use crate::settings::Settings;

/// State of pods according to the nodes that they are on.
#[derive(Debug, Clone, Copy)]
pub struct UnreachableNodes<'a> {
    nodes: &'a BTreeMap<Box<str>, UnreachableNode>,
    now: Timestamp,
    limit: Option<i64>,
}

impl<'a> UnreachableNodes<'a> {
    /// State at the time of the observation.
    #[must_use]
    pub fn of(observed: &'a Observed, settings: &Settings) -> Self {
        Self {
            nodes: &observed.unreachable_nodes,
            now: observed.now,
            limit: settings.node_lost_after,
        }
    }

    /// True if the pod is treated as dead although its node cannot report it.
    #[must_use]
    pub fn presumed_dead(&self, pod: &PodView) -> bool {
        self.due(pod).is_some_and(|due| due <= self.now)
    }

    /// Time at which a pod on an unreachable node is presumed dead.
    #[must_use]
    pub fn due(&self, pod: &PodView) -> Option<Timestamp> {
        let (_, node) = self.node(pod)?;
        let limit = SignedDuration::from_secs(self.limit?);
        if node.out_of_service {
            return Some(self.now);
        }
        Some(node.since.checked_add(limit).unwrap_or(Timestamp::MAX))
    }

    /// Time since which the pod's node has been unreachable.
    #[must_use]
    pub fn not_ready_since(&self, pod: &PodView) -> Option<Timestamp> {
        self.limit?;
        Some(self.node(pod)?.1.since)
    }

    /// Next time at which a pod of the job is presumed dead.
    #[must_use]
    pub fn next(&self, observed: &Observed) -> Option<Timestamp> {
        let pods = observed.pods.iter();
        let all = pods.chain(observed.batch_pods.iter().map(|(_, pod)| pod));
        all.filter_map(|pod| self.due(pod))
            .filter(|due| *due > self.now)
            .min()
    }

    /// Location of a pod on an unreachable node, as text: `node n (NotReady since ...)`.
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

    /// Text about the wait for an unreachable node, if a pod of the job is on one.
    #[must_use]
    pub fn wait(&self, observed: &Observed) -> Option<String> {
        let pods = observed.pods.iter();
        let all = pods.chain(observed.batch_pods.iter().map(|(_, pod)| pod));
        let mut waiting: Vec<_> = all
            .filter_map(|pod| Some((self.due(pod).filter(|due| *due > self.now)?, pod)))
            .collect();
        // The result must not depend on the order of observed pods.
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

    /// Node of a pod that has not ended, if the node is unreachable.
    fn node<'p>(&self, pod: &'p PodView) -> Option<(&'p str, &'a UnreachableNode)> {
        let name = pod.node.as_deref().filter(|_| !pod.has_ended())?;
        Some((name, self.nodes.get(name)?))
    }
}
