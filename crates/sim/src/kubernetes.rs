//! Kubernetes' own part: a scheduler, kubelets, the controller of batch Jobs, the garbage collector.

mod batch;
mod garbage;
mod kubelet;
mod scheduler;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::rng::Rng;
use crate::store::{Key, Store, Who};
use crate::timers::Timers;
use crate::types::NODES;
use crate::value::{self, text};

pub use kubelet::{end, fail, restart_in_place};

/// How long things take, in milliseconds: at least, and at most so much more.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Until a pod is placed.
    pub place: (u64, usize),
    /// Until it runs.
    pub start: (u64, usize),
    /// Until it has stopped once it is told to.
    pub stop: (u64, usize),
    /// Until what belongs to nobody any more is collected.
    pub collect: (u64, usize),
    /// Until the controller of batch Jobs acts.
    pub batch: (u64, usize),
}

impl Pace {
    /// The same for everything of a kind.
    pub const STEADY: Self = Self {
        place: (10, 0),
        start: (200, 0),
        stop: (3000, 0),
        collect: (50, 0),
        batch: (20, 0),
    };
    /// Anything may come before anything else.
    pub const UNEVEN: Self = Self {
        place: (1, 500),
        start: (10, 2000),
        stop: (10, 8000),
        collect: (10, 20_000),
        batch: (1, 500),
    };
}

/// All controllers of Kubernetes.
#[derive(Debug)]
pub struct Kubernetes {
    timers: Timers,
    pace: Pace,
    rng: Rng,
    batch: batch::Batch,
}

impl Kubernetes {
    /// Controllers at this pace.
    #[must_use]
    pub fn new(pace: Pace, rng: Rng) -> Self {
        Self {
            timers: Timers::default(),
            pace,
            rng,
            batch: batch::Batch::default(),
        }
    }

    /// Does all that is due, until nothing more is. Answers with the time of what comes next.
    pub fn act(&mut self, store: &mut Store) -> Option<Instant> {
        loop {
            let before = store.changes;
            self.place(store);
            self.run_pods(store);
            self.run_batch_jobs(store);
            self.collect(store);
            let next = self.timers.round();
            if store.changes == before {
                return next;
            }
        }
    }

    /// How long something takes this time.
    fn ripe(&mut self, what: String, (least, more): (u64, usize)) -> bool {
        let delay = Duration::from_millis(least)
            + if more > 0 {
                self.rng.millis(more)
            } else {
                Duration::ZERO
            };
        self.timers.ripe(what, delay)
    }
}

/// Adds a node that is ready.
pub fn add_node(store: &mut Store, name: &str) {
    let time = store.time();
    let uid = store.uid();
    let mut node = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": uid, "creationTimestamp": time}, "status": {}});
    value::set_condition(&mut node, "Ready", "True", "KubeletReady", "", &time);
    store.put(Who::Kubernetes, &Key::new(NODES, "", name), node);
}

/// Says whether a node answers.
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

/// Makes all nodes answer again.
pub fn mend_nodes(store: &mut Store) {
    let nodes: Vec<String> = store.list(NODES, "").map(|(key, _)| key.name.clone()).collect();
    for node in nodes {
        set_node(store, &node, true);
    }
}

/// Whether a node answers.
fn answers(store: &Store, name: &str) -> bool {
    let node = store.get(&Key::new(NODES, "", name));
    node.is_some_and(|node| value::is_true(node, "Ready"))
}

/// Keys of the objects of a resource.
fn keys(store: &Store, resource: crate::types::Resource) -> Vec<Key> {
    store.list(resource, "").map(|(key, _)| key.clone()).collect()
}

/// The node that a pod is on.
fn node_of(pod: &Value) -> &str {
    text(pod, "/spec/nodeName")
}
