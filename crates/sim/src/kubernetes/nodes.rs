//! Nodes, and look-ups that all controllers need.

use serde_json::{Value, json};

use crate::store::{Key, Store, Who};
use crate::types::{NODES, Resource};
use crate::value::{self, text};

/// Adds a ready node.
pub fn add_node(store: &mut Store, name: &str) {
    let time = store.time();
    let uid = store.uid();
    let mut node = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": uid, "creationTimestamp": time}, "status": {}});
    value::set_condition(&mut node, "Ready", "True", "KubeletReady", "", &time);
    store.put(Who::Kubernetes, &Key::new(NODES, "", name), node);
}

/// Makes a node ready or unreachable.
pub fn set_node(store: &mut Store, name: &str, ready: bool) {
    let key = Key::new(NODES, "", name);
    let Some(node) = store.get(&key) else { return };
    let (mut node, time) = ((**node).clone(), store.time());
    let (status, reason) = if ready {
        ("True", "KubeletReady")
    } else {
        ("Unknown", "NodeStatusUnknown")
    };
    value::set_condition(&mut node, "Ready", status, reason, "", &time);
    store.put(Who::Kubernetes, &key, node);
}

/// Makes all nodes ready.
pub fn mend_nodes(store: &mut Store) {
    let nodes: Vec<String> = store.list(NODES, "").map(|(key, _)| key.name.clone()).collect();
    for node in nodes {
        set_node(store, &node, true);
    }
}

/// True if a node is ready.
pub(super) fn answers(store: &Store, name: &str) -> bool {
    let node = store.get(&Key::new(NODES, "", name));
    node.is_some_and(|node| value::is_true(node, "Ready"))
}

/// Keys of the objects of a resource.
pub(super) fn keys(store: &Store, resource: Resource) -> Vec<Key> {
    store.list(resource, "").map(|(key, _)| key.clone()).collect()
}

/// Node of a pod; empty if it has none.
pub(super) fn node_of(pod: &Value) -> &str {
    text(pod, "/spec/nodeName")
}
