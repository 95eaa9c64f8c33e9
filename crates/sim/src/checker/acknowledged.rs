//! Checks against what operators know from answers: they must act on it, and must not write without the lease.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::jobs::{Jobs, gone, hides};
use crate::names::LEASE;
use crate::request::{Request, Verb};
use crate::store::{Change, Store, Who};
use crate::types::{EVENTS, LEASES};
use crate::value::{self, controller_uid, deleting, text, uid};

/// Duration of the lease after a renewal.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// Time for which an operator must not act on a view without its own writes. After that it need not wait for a silent
/// watch.
const STALENESS: Duration = Duration::from_secs(5);

/// Resources whose objects are created once, when a plan finds them missing. (Ensured objects are asked for repeatedly.)
const CREATED_ONCE: [&str; 5] = [
    "pods",
    "jobs",
    "services",
    "podgroups",
    "horizontalpodautoscalers",
];

/// Answers that operators have received.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// Operator that created an object, and time of the answer: by UID of the object, as long as operators can see it.
    made: BTreeMap<String, (Who, Timestamp)>,
    /// Version of the last acknowledged status, by operator and UID of the job.
    statuses: BTreeMap<(Who, String), u64>,
    /// Holder of the lease, and time of the last renewal.
    lease: Option<(String, Timestamp)>,
}

impl Acknowledged {
    /// Records renewals of the lease. Forgets objects that operators cannot see any more.
    pub(super) fn record(&mut self, change: &Change) {
        if change.key.resource == LEASES && change.key.name == LEASE {
            let holder = |lease: &Value| (text(lease, "/spec/holderIdentity").to_owned(), change.at);
            self.lease = change.after.as_deref().map(holder);
        }
        if let Some(before) = &change.before
            && (hides(before, change.after.as_deref()) || gone(change.after.as_ref()))
        {
            self.made.remove(uid(before));
        }
    }

    /// Records an answer to an operator.
    pub(super) fn answered(
        &mut self,
        jobs: &Jobs,
        now: Timestamp,
        who: Who,
        request: &Request,
        answer: &Value,
    ) {
        let Who::Operator(_) = who else { return };
        match request.verb {
            // Not what was hidden before the answer came.
            Verb::Create if CREATED_ONCE.contains(&request.plural.as_str()) && !jobs.is_hidden(answer) => {
                self.made.insert(uid(answer).to_owned(), (who, now));
            }
            Verb::Patch if request.subresource == "status" && jobs.is_of_job(request) => {
                let version = value::version(answer);
                self.statuses.insert((who, uid(answer).to_owned()), version);
            }
            _ => {}
        }
    }

    /// Requests decided on a view that lacks acknowledged writes of the same operator.
    pub(super) fn stale(&self, jobs: &Jobs, store: &Store, who: Who, request: &Request) -> Vec<String> {
        let mut found = Vec::new();
        let key = request.key_in(&store.types);
        if request.verb == Verb::Create
            && let Some(there) = key.as_ref().and_then(|key| store.get(key))
            && let Some((told, since)) = self.made.get(uid(there))
            && *told == who
            && store.now() < *since + STALENESS
            && !deleting(there)
            && controller_uid(there) == controller_uid(&request.body)
        {
            found.push(format!(
                "{}: exists, and {who:?} has the answer to its creation",
                request.line()
            ));
        }
        if request.verb == Verb::Patch && request.subresource == "status" && jobs.is_of_job(request) {
            let of = text(&request.body, "/metadata/uid").to_owned();
            let version = value::version(&request.body);
            if self
                .statuses
                .get(&(who, of))
                .is_some_and(|known| version < *known)
            {
                found.push(format!(
                    "{}: decided on a status older than the last that {who:?} has written",
                    request.line()
                ));
            }
        }
        found
    }

    /// A write sent by an operator that does not hold the lease, or cannot know that it still does.
    pub(super) fn without_lease(&self, now: Timestamp, who: Who, request: &Request) -> Option<String> {
        let Who::Operator(number) = who else { return None };
        if !request.verb.writes() || request.is_of(LEASES) {
            return None;
        }
        let holds = self.lease.as_ref().is_some_and(|(holder, since)| {
            *holder == format!("operator-{number}") && now <= *since + LEASE_DURATION
        });
        if holds {
            return None;
        }
        let line = if request.is_of(EVENTS) {
            "an event".to_owned()
        } else {
            request.line()
        };
        Some(format!("{line}: {who:?} does not lead"))
    }
}
