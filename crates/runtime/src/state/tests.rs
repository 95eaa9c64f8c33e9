//! From events of a watch to queued jobs, and to the start of a reconcile.

mod memory;
mod requeues;

use common::KindInfo;
use futures::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::decode;
use crate::queue::Requeue;
use crate::resource::{PODS, SERVICES};

static KIND: KindInfo = KindInfo {
    kind: "TestJob",
    plural: "testjobs",
    controller: "testjob-controller",
    framework: "test",
    replicas_field: "replicaSpecs",
    ..KindInfo::COMMON
};

/// An empty state with an open queue.
fn state() -> State {
    let view = View::new([(Resource::jobs(&KIND), KIND.kind)]);
    let state = State::new(view, Metrics::default(), Clock::default());
    state.queue.open();
    state
}

/// Job `j`, of UID `J`.
fn job() -> Value {
    json!({
        "metadata": {"namespace": "ns", "name": "j", "uid": "J", "resourceVersion": "1",
            "labels": {"mine": "1"}, "annotations": {"a": "1"}},
        "spec": {"replicaSpecs": {"Worker": {"replicas": 2}}},
        "status": {"conditions": [{"type": "Running", "status": "True"}]},
    })
}

fn read_job(job: &Value) -> Object {
    Object::Job(Box::new(decode::job(&KIND, job.to_string().as_bytes()).unwrap()))
}

/// Takes the names of the queued jobs out of the queue.
fn queued(state: &State) -> Vec<String> {
    let mut keys = Vec::new();
    while let Some(key) = state.queue.next().now_or_never() {
        state.queue.finish(&key, &Requeue::After(None));
        keys.push(key.name.to_string());
    }
    keys
}

/// A watch shows neither our writes nor other events: only bookmarks show its progress (k8s#129795, KEP-5647).
#[tokio::test(start_paused = true)]
async fn a_quiet_watch_with_bookmarks_only_says_how_far_it_is() {
    let state = state();
    let Object::Job(held) = read_job(&job()) else {
        panic!()
    };
    let (key, raw) = (held.key.clone(), held.raw());
    state.put(Resource::jobs(&KIND), read_job(&job()));
    assert_eq!(queued(&state), ["j"]);
    for (name, rv) in [("j-worker-0", 10), ("j-worker-1", 12), ("j-worker-2", 11)] {
        state.wrote(&raw, PODS, ObjectName::new("ns", name), rv);
    }
    let begins = |state: &State| matches!(state.begin(&key), Start::Go(_));
    assert!(!begins(&state));
    for (resource, rv) in [(PODS, 11), (SERVICES, 99), (PODS, 9)] {
        state.bookmark(resource, rv);
        assert!(queued(&state).is_empty() && !begins(&state), "{resource:?} {rv}");
    }
    state.bookmark(PODS, 12);
    assert_eq!(queued(&state), ["j"]);
    assert!(begins(&state));
    state.bookmark(PODS, 13);
    assert!(queued(&state).is_empty(), "no job waits for it any more");
}

/// The response to a look-up is late: by then the watch has shown the object and its deletion (chaos run 6053).
#[tokio::test(start_paused = true)]
async fn an_answer_that_the_watch_has_overtaken_brings_nothing_back() {
    let pod = |rv: u64| {
        let pod = json!({
            "metadata": {"namespace": "ns", "name": "j-worker-0", "uid": "P", "resourceVersion": rv.to_string(),
                "ownerReferences": [{"uid": "J", "kind": "TestJob", "name": "j", "controller": true}]},
        });
        Object::Pod(decode::pod(pod.to_string().as_bytes()).unwrap())
    };
    for (overtaken, left) in [(false, 1), (true, 0)] {
        let state = state();
        let Object::Job(held) = read_job(&job()) else {
            panic!()
        };
        let (key, raw) = (held.key.clone(), held.raw());
        state.put(Resource::jobs(&KIND), read_job(&job()));
        state.wrote(&raw, PODS, ObjectName::new("ns", "j-worker-0"), 10);
        tokio::time::advance(INVISIBLE).await;
        let (of, watermark) = state.overdue().pop().unwrap();
        assert_eq!(of, key);
        if overtaken {
            state.put(PODS, pod(10));
            state.remove(PODS, &pod(12));
        }
        state.looked_up(&key, &watermark, Some(pod(10)));
        let Start::Go(reconcile) = state.begin(&key) else {
            panic!()
        };
        assert_eq!(reconcile.observed.pods.len(), left, "{overtaken}");
    }
}
