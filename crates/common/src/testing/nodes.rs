//! Nodes of the small world, and what becomes of pods on those that are lost.

use super::World;
use crate::names::Uid;
use crate::observe::{LostNode, PodView};

impl World {
    /// A node does not answer any more.
    pub fn lose_node(&mut self, name: &str) {
        let lost = LostNode {
            since: self.now,
            out_of_service: false,
            gone: false,
        };
        self.lost_nodes.insert(name.into(), lost);
    }

    /// An administrator says that nothing runs any more on a node that does not answer.
    pub fn vouch_for(&mut self, name: &str) {
        if let Some(node) = self.lost_nodes.get_mut(name) {
            node.out_of_service = true;
        }
    }

    /// A node answers again.
    pub fn recover_node(&mut self, name: &str) {
        self.lost_nodes.remove(name);
    }

    /// Somebody or something drains a pod: it terminates, and says why.
    pub fn disrupt(&mut self, name: &str, reason: &str) {
        let pod = self.pod(name);
        pod.deleting = true;
        pod.detail.get_or_insert_default().disruption = Some(reason.into());
    }

    /// Where the next pod goes; nowhere if no node answers.
    pub(super) fn place(&mut self) -> Option<Box<str>> {
        let names = (1..=self.nodes).map(|n| format!("node-{n}").into_boxed_str());
        let answering: Vec<Box<str>> = names.filter(|name| !self.lost_nodes.contains_key(name)).collect();
        let turn = self.placed.checked_rem(answering.len())?;
        self.placed += 1;
        answering.get(turn).cloned()
    }

    /// A pod goes at once, whatever its node says.
    pub(super) fn force_away(&mut self, uid: &Uid) {
        let is = |pod: &PodView| pod.uid == *uid;
        self.pods.retain(|pod| !is(pod));
        self.batch_pods.retain(|(_, pod)| !is(pod));
        self.reap_batch_jobs();
    }

    /// Batch Jobs that are told to go do so once their pods are gone.
    pub(super) fn reap_batch_jobs(&mut self) {
        let pods = &self.batch_pods;
        self.batch_jobs
            .retain(|job| !job.deleting || pods.iter().any(|(owner, _)| *owner == job.uid));
    }
}
