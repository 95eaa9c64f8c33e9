//! Nodes of the world.

use super::World;
use crate::observe::UnreachableNode;

impl World {
    /// A node becomes unreachable.
    pub fn lose_node(&mut self, name: &str) {
        let lost = UnreachableNode {
            since: self.now,
            out_of_service: false,
            gone: false,
        };
        self.unreachable_nodes.insert(name.into(), lost);
    }

    /// An administrator taints an unreachable node as out of service.
    pub fn vouch_for(&mut self, name: &str) {
        if let Some(node) = self.unreachable_nodes.get_mut(name) {
            node.out_of_service = true;
        }
    }

    /// A node becomes reachable again.
    pub fn recover_node(&mut self, name: &str) {
        self.unreachable_nodes.remove(name);
    }

    /// A pod is disrupted: it terminates, with a reason.
    pub fn disrupt(&mut self, name: &str, reason: &str) {
        let pod = self.pod(name);
        pod.deleting = true;
        pod.detail.get_or_insert_default().disruption = Some(reason.into());
    }

    /// Node of the next pod; `None` if no node is reachable.
    pub(super) fn place(&mut self) -> Option<Box<str>> {
        let names = (1..=self.nodes).map(|n| format!("node-{n}").into_boxed_str());
        let answering: Vec<Box<str>> = names
            .filter(|name| !self.unreachable_nodes.contains_key(name))
            .collect();
        let turn = self.placed.checked_rem(answering.len())?;
        self.placed += 1;
        answering.get(turn).cloned()
    }
}
