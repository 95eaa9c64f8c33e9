//! What operators have been told: they must not act as if they had not, nor when they may not act at all.

use std::collections::BTreeMap;
use std::time::Duration;

use common::names;
use jiff::Timestamp;
use serde_json::Value;

use super::{InvariantChecker, gone};
use crate::names::LEASE;
use crate::request::{Request, Verb};
use crate::store::{Change, Store, Who};
use crate::types::{EVENTS, LEASES};
use crate::value::{self, controller_uid, deleting, label, text, uid};

/// A lease holds for so long after it was renewed.
const LASTS: Duration = Duration::from_secs(15);

/// For so long nobody may act on a view without his own writes; then he need not wait for a watch that is silent.
const WAITS: Duration = Duration::from_secs(5);

/// What is made when a plan says that it is missing.
const CREATED_ONCE: [&str; 5] = [
    "pods",
    "jobs",
    "services",
    "podgroups",
    "horizontalpodautoscalers",
];

/// What operators have been told.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Who was told that an object was made, and when: by UID of the object, for as long as it is in sight.
    made: BTreeMap<String, (Who, Timestamp)>,
    /// The version of the last status of a job that was acknowledged, by who and UID of the job.
    statuses: BTreeMap<(Who, String), u64>,
    /// Who holds the lease, and when he renewed it last.
    lease: Option<(String, Timestamp)>,
}

impl InvariantChecker {
    /// A change may take what an operator has made out of his sight; or renew the lease.
    pub(super) fn note(&mut self, change: &Change) {
        if change.key.resource == LEASES && change.key.name == LEASE {
            let holder = |lease: &Value| (text(lease, "/spec/holderIdentity").to_owned(), change.at);
            self.known.lease = change.after.as_deref().map(holder);
        }
        if let Some(before) = &change.before {
            let operator = |object| label(object, names::OPERATOR_NAME);
            let hidden = operator(before).is_some()
                && change
                    .after
                    .as_deref()
                    .is_some_and(|after| operator(after) != operator(before));
            if hidden {
                self.hidden.insert(uid(before).to_owned());
            }
            if hidden || gone(change.after.as_ref()) {
                self.known.made.remove(uid(before));
            }
        }
    }

    /// An operator has received an answer.
    pub fn answered(&mut self, now: Timestamp, who: Who, request: &Request, answer: &Value) {
        let Who::Operator(_) = who else { return };
        match request.verb {
            // What is merely ensured is asked for over and over.
            // (Nor what somebody has hidden before the answer came.)
            Verb::Create
                if CREATED_ONCE.contains(&request.plural.as_str()) && !self.hidden.contains(uid(answer)) =>
            {
                self.known.made.insert(uid(answer).to_owned(), (who, now));
            }
            Verb::Patch if request.subresource == "status" && self.is_of_job(request) => {
                let version = value::version(answer);
                self.known.statuses.insert((who, uid(answer).to_owned()), version);
            }
            _ => {}
        }
    }

    /// Nothing is made or decided on a view that lacks what the operator knows.
    pub(super) fn acts_on_what_it_knows(&mut self, store: &Store, who: Who, request: &Request) {
        let key = request.key_in(&store.types);
        if request.verb == Verb::Create
            && let Some(there) = key.as_ref().and_then(|key| store.get(key))
            && let Some((told, since)) = self.known.made.get(uid(there))
            && *told == who
            && store.now() < *since + WAITS
            && !deleting(there)
            && controller_uid(there) == controller_uid(&request.body)
        {
            self.wrong(format!(
                "{}: is there, and {who:?} was told so when he made it",
                request.line()
            ));
        }
        if request.verb == Verb::Patch && request.subresource == "status" && self.is_of_job(request) {
            let of = text(&request.body, "/metadata/uid").to_owned();
            let version = value::version(&request.body);
            if self
                .known
                .statuses
                .get(&(who, of))
                .is_some_and(|known| version < *known)
            {
                self.wrong(format!(
                    "{}: decided on a status older than the last that {who:?} has written",
                    request.line()
                ));
            }
        }
    }

    /// An operator sends a request: only the one who leads may, and only for as long as he can know that he does.
    pub fn sent(&mut self, now: Timestamp, who: Who, request: &Request) {
        let Who::Operator(number) = who else { return };
        if !self.elected || !request.verb.writes() || request.is_of(LEASES) {
            return;
        }
        let holds =
            self.known.lease.as_ref().is_some_and(|(holder, since)| {
                *holder == format!("operator-{number}") && now <= *since + LASTS
            });
        if !holds {
            let line = if request.is_of(EVENTS) {
                "an event".to_owned()
            } else {
                request.line()
            };
            self.wrong(format!("{line}: {who:?} does not lead"));
        }
    }
}
