//! All pods that ever existed in a namespace, from a watch: a look at the end cannot show those that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// UIDs of the pods that were made, by name and attempt.
pub type Incarnations = BTreeMap<(String, String), BTreeSet<String>>;

/// A watch of the pods of a namespace, beside the test.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Events so far.
    events: Vec<Value>,
    /// The request that is open.
    request: Option<Child>,
    stopped: bool,
}

impl Watch {
    /// Starts it at the present state of the namespace; `kubectl` makes a command.
    #[must_use]
    pub fn start(namespace: &str, kubectl: impl Fn(&[&str]) -> Command + Send + 'static) -> Self {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let list = kubectl(&["get", "--raw", &format!("{path}?limit=1")]).output();
        let list: Value = serde_json::from_slice(&list.expect("kubectl starts").stdout).expect("a list");
        let mut version = version_of(&list);
        let shared = Arc::new(Mutex::new(Shared::default()));
        let sink = Arc::clone(&shared);
        // The API server cuts the watch of a reader that is slow. Nothing is lost: the next one begins where it was cut.
        let thread = std::thread::spawn(move || {
            loop {
                let from = format!("{path}?watch=true&resourceVersion={version}");
                let Some(lines) = open(&sink, kubectl(&["get", "--raw", &from])) else {
                    return;
                };
                for line in lines.lines().map_while(Result::ok) {
                    // The last line of a watch that was cut may be half an event.
                    let Ok(event) = serde_json::from_str::<Value>(&line) else {
                        break;
                    };
                    assert_ne!(event["type"], "ERROR", "the watch cannot go on: {event}");
                    version = version_of(&event["object"]);
                    lock(&sink).events.push(event);
                }
                if let Some(mut request) = lock(&sink).request.take() {
                    let _ = request.kill();
                    let _ = request.wait();
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Every state of every pod that was seen, in the order in which they were.
    #[must_use]
    pub fn states(&self) -> Vec<Value> {
        let events = self.events();
        events.iter().map(|event| event["object"].clone()).collect()
    }

    /// What was made so far.
    #[must_use]
    pub fn read(&self) -> Incarnations {
        incarnations(&self.events())
    }

    fn events(&self) -> Vec<Value> {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        assert!(!ended, "the watch has ended");
        lock(&self.shared).events.clone()
    }
}

/// Sends the request; none once the watch is stopped.
fn open(shared: &Mutex<Shared>, mut request: Command) -> Option<impl BufRead + use<>> {
    let mut shared = lock(shared);
    if shared.stopped {
        return None;
    }
    let request = request.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut request = request.expect("kubectl starts");
    let lines = request.stdout.take().expect("its output");
    shared.request = Some(request);
    Some(BufReader::new(lines))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn version_of(object: &Value) -> String {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.expect("a resource version").to_owned()
}

fn incarnations(events: &[Value]) -> Incarnations {
    let mut made = Incarnations::new();
    for event in events {
        let metadata = &event["object"]["metadata"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let replica = (
            word(&metadata["name"]),
            word(&metadata["labels"]["trainyard.dev/attempt"]),
        );
        made.entry(replica).or_default().insert(word(&metadata["uid"]));
    }
    made
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.stopped = true;
        if let Some(request) = &mut shared.request {
            let _ = request.kill();
        }
        drop(shared);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, uid: &str) -> Value {
        let labels = serde_json::json!({"trainyard.dev/attempt": "0"});
        let metadata = serde_json::json!({"name": name, "uid": uid, "labels": labels});
        serde_json::json!({"type": "ADDED", "object": {"metadata": metadata}})
    }

    #[test]
    fn a_replica_that_was_made_twice_shows() {
        let events = [event("a", "1"), event("b", "2"), event("a", "3"), event("a", "3")];
        let made = incarnations(&events);
        let counts: Vec<(&str, usize)> = made
            .iter()
            .map(|((name, _), uids)| (name.as_str(), uids.len()))
            .collect();
        assert_eq!(counts, [("a", 2), ("b", 1)]);
    }
}
