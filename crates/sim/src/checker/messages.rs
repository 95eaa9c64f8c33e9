//! Checks of what operators say in events and statuses: no keys, one event per change, limited length.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::jobs::stored;
use crate::request::{Request, Verb};
use crate::store::Change;
use crate::types::SECRETS;
use crate::value::{name, text, uid};

/// Longest message of an event that the API server takes.
const EVENT: usize = 1024;
/// Longest status of a job as small as those of the scenarios.
const STATUS: usize = 16 * 1024;
/// Length up to which a value of a Secret is not looked for: a short text may stand anywhere.
const KEY: usize = 32;

/// Secrets, changes and events seen so far.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Values of Secrets, as JSON.
    keys: BTreeSet<String>,
    /// Number of times a condition of a job came to hold for a reason, by UID and reason.
    changes: BTreeMap<(String, String), usize>,
    /// Number of events, by UID and reason.
    events: BTreeMap<(String, String), usize>,
}

impl Messages {
    /// Counts the changes that a new status states.
    pub(super) fn status(&mut self, before: &Value, after: &Value) {
        let all = |job: &Value| {
            let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
            conditions.cloned().unwrap_or_default()
        };
        // A restart may come while the last one goes on.
        let (was, is) = (stored(before), stored(after));
        if was.attempt != is.attempt || was.slots != is.slots {
            let reason = format!("{}Restarting", text(after, "/kind"));
            *self.changes.entry((uid(after).to_owned(), reason)).or_default() += 1;
        }
        let old = all(before);
        for condition in all(after).iter().filter(|condition| !old.contains(condition)) {
            let reason = text(condition, "/reason").to_owned();
            *self.changes.entry((uid(after).to_owned(), reason)).or_default() += 1;
        }
    }

    /// Requests that carry the key of a Secret, and statuses that are too long.
    pub(super) fn request(&mut self, request: &Request) -> Vec<String> {
        let mut found = Vec::new();
        if request.is_of(SECRETS) {
            for field in ["data", "stringData"] {
                let texts = request.body.get(field).and_then(Value::as_object);
                let texts = texts
                    .into_iter()
                    .flat_map(|texts| texts.values().map(Value::to_string));
                self.keys.extend(texts.filter(|text| text.len() > KEY));
            }
        } else if !self.keys.is_empty() {
            let body = request.body.to_string();
            // Between the quotes.
            if self.keys.iter().any(|key| body.contains(&key[1..key.len() - 1])) {
                found.push(format!("{}: contains a key", request.line()));
            }
        }
        if request.verb == Verb::Patch && request.subresource == "status" {
            let length = request.body.to_string().len();
            if length > STATUS {
                found.push(format!("{}: of {length} bytes", request.line()));
            }
        }
        found
    }

    /// A new event that is too long, or a second one of the same change.
    pub(super) fn event(&mut self, change: &Change) -> Vec<String> {
        let Some(event) = change.after.as_ref().filter(|_| change.before.is_none()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        if text(event, "/message").len() > 4 * EVENT {
            found.push(format!("{}: a long event", name(event)));
        }
        let of = (
            text(event, "/involvedObject/uid").to_owned(),
            text(event, "/reason").to_owned(),
        );
        let told = self.events.entry(of.clone()).or_default();
        *told += 1;
        if let Some(changes) = self.changes.get(&of).copied()
            && *told > changes
        {
            found.push(format!(
                "{told} events of {}, which happened {changes} times: {}",
                of.1,
                text(event, "/message")
            ));
        }
        found
    }
}
