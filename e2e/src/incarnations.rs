//! Every pod that ever was, from a watch: what a look at the end cannot show.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Deserializer, Value};

use crate::{Beside, TOOLBOX, wait_for};

const MARKER: &str = "watch-begins";

/// UIDs of the pods that were made, by name and attempt.
pub type Incarnations = BTreeMap<(String, String), BTreeSet<String>>;

/// A watch of the pods of a namespace, beside the test.
#[derive(Debug)]
pub struct Watch {
    file: PathBuf,
    _process: Beside,
}

impl Watch {
    /// Starts it; `kubectl` makes a command in the namespace.
    #[must_use]
    pub fn start(kubectl: impl Fn(&[&str]) -> Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "trainyard-pods-{}-{}.json",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let file = std::env::temp_dir().join(name);
        let watch = kubectl(&["get", "pods", "--watch", "--output-watch-events", "-o", "json"]);
        let process = Beside::start(watch, &file);
        // A pod of the test's own shows that the watch has begun.
        let image = format!("--image={TOOLBOX}");
        let marker = kubectl(&[
            "run",
            MARKER,
            &image,
            "--restart=Never",
            "--command",
            "--",
            "true",
        ])
        .output();
        assert!(
            marker.expect("kubectl starts").status.success(),
            "a pod of the test's own is refused"
        );
        let watch = Self {
            file,
            _process: process,
        };
        wait_for("the watch of pods to begin", || {
            std::fs::read_to_string(&watch.file)
                .is_ok_and(|text| text.contains(MARKER))
                .then_some(())
        });
        watch
    }

    /// Every state of every pod that was seen, in the order in which they were.
    #[must_use]
    pub fn states(&self) -> Vec<Value> {
        let text = std::fs::read(&self.file).expect("the watch's file");
        events(&text).map(|event| event["object"].clone()).collect()
    }

    /// What was made so far.
    #[must_use]
    pub fn read(&self) -> Incarnations {
        parse(&std::fs::read(&self.file).expect("the watch's file"))
    }
}

fn parse(text: &[u8]) -> Incarnations {
    let mut made = Incarnations::new();
    for event in events(text) {
        let metadata = &event["object"]["metadata"];
        if metadata["name"] == MARKER {
            continue;
        }
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let replica = (
            word(&metadata["name"]),
            word(&metadata["labels"]["trainyard.dev/attempt"]),
        );
        made.entry(replica).or_default().insert(word(&metadata["uid"]));
    }
    made
}

/// The last event may be half written: it is read the next time.
fn events(text: &[u8]) -> impl Iterator<Item = Value> {
    Deserializer::from_slice(text)
        .into_iter::<Value>()
        .map_while(Result::ok)
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, uid: &str) -> String {
        let labels = serde_json::json!({"trainyard.dev/attempt": "0"});
        let metadata = serde_json::json!({"name": name, "uid": uid, "labels": labels});
        serde_json::json!({"type": "ADDED", "object": {"metadata": metadata}}).to_string()
    }

    #[test]
    fn a_replica_that_was_made_twice_shows() {
        let text = [
            event("a", "1"),
            event("b", "2"),
            event("a", "3"),
            event("a", "3"),
            "{\"type".to_owned(),
        ];
        let made = parse(text.join("\n").as_bytes());
        let counts: Vec<(&str, usize)> = made
            .iter()
            .map(|((name, _), uids)| (name.as_str(), uids.len()))
            .collect();
        assert_eq!(counts, [("a", 2), ("b", 1)]);
    }
}
