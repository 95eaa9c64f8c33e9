//! What is told, and to whom: keys to nobody, a change once, and all of it in few words.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{InvariantChecker, stored};
use crate::request::{Request, Verb};
use crate::store::Change;
use crate::types::SECRETS;
use crate::value::{name, text, uid};

/// The API server refuses longer messages of events.
const EVENT: usize = 1024;
/// No status of so small a job is longer.
const STATUS: usize = 16 * 1024;
/// A text this short may be found anywhere.
const KEY: usize = 32;

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Contents of Secrets, as they stand in JSON.
    keys: BTreeSet<String>,
    /// How often a condition of a job came to hold for a reason: by UID and reason.
    changes: BTreeMap<(String, String), usize>,
    /// Events, likewise.
    events: BTreeMap<(String, String), usize>,
}

impl Told {
    /// Counts what a status says anew.
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

    /// Keys are in no request but that of their Secret.
    pub(super) fn secrets(&mut self, request: &Request, wrong: &mut Vec<String>) {
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
                wrong.push(format!("{}: tells a key", request.line()));
            }
        }
        if request.verb == Verb::Patch && request.subresource == "status" {
            let length = request.body.to_string().len();
            if length > STATUS {
                wrong.push(format!("{}: of {length} bytes", request.line()));
            }
        }
    }
}

impl InvariantChecker {
    /// An event is there: no longer than it may be, and no second one of the same change.
    pub(super) fn event(&mut self, change: &Change) {
        let Some(event) = change.after.as_ref().filter(|_| change.before.is_none()) else {
            return;
        };
        if text(event, "/message").len() > 4 * EVENT {
            self.wrong(format!("{}: a long event", name(event)));
        }
        let of = (
            text(event, "/involvedObject/uid").to_owned(),
            text(event, "/reason").to_owned(),
        );
        let told = self.told.events.entry(of.clone()).or_default();
        *told += 1;
        let told = *told;
        if let Some(changes) = self.told.changes.get(&of).copied()
            && told > changes
        {
            self.wrong(format!(
                "{} is told {told} times, and came {changes} times: {}",
                of.1,
                text(event, "/message")
            ));
        }
    }
}
