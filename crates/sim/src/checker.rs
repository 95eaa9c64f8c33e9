//! The invariant checker: it looks at every request of an operator and at every change in the store, and never into the
//! operator. What must hold after the last change of a scenario is checked by `quiet`.
//!
//! Invariants, and the file that checks each:
//!
//! * A replica has at most one live pod. No pod is created beside a live one of an older attempt. Each incarnation is
//!   created once. With `restartScope: Job` all pods go before the first new one comes: `pods`.
//! * Pods are created with the stored attempt: `requests`.
//! * Attempts and counts never fall. Counted restarts stay within the limit: `status`.
//! * An end is final and of one type. Nothing is created for a job that has ended, is suspended or has another manager:
//!   `status`, `requests`. (A job whose deletion the operator has not seen yet cannot be spared, only cleaned up after.)
//! * The start time changes only when the job is resumed. The completion time is written once and is not earlier. Times of
//!   conditions change with the condition, and never go back (unless a clock was set back): `status`.
//! * Deletes carry the UID. Only objects of jobs are changed: `requests`, and here.
//! * Created objects have labels for their job, replica and attempt, and no finalizers: `requests`.
//! * An operator does not act on a view without its own acknowledged writes: it does not create what it knows to have
//!   created, and decides on no status older than its own: `acknowledged`.
//! * A delete comes after its intent is stored: `pods`. A job is deleted after its end only: here.
//! * Only the holder of the lease writes, and no longer than the lease lasts since it renewed it: `acknowledged`.
//! * Keys stand in their Secret only. Events and statuses stay small. A change of a condition has one event: `messages`.
//!
//! Placing a gang as a whole is the job of a scheduler of Kubernetes; what the operator asks of it is a law of planning.

mod acknowledged;
mod jobs;
mod messages;
mod pods;
mod requests;
mod status;

use std::collections::BTreeMap;

use common::Framework;
use jiff::Timestamp;
use serde_json::Value;

use crate::request::Request;
use crate::store::{Change, Store, Who};
use crate::types::{BATCH_JOBS, EVENTS, LEASES, PODS};
use crate::value::{controller_uid, deleting};

pub use jobs::{end_of, stored};

/// The invariant checker.
pub struct InvariantChecker {
    /// Violations so far.
    pub violations: Vec<String>,
    /// True if a clock of an operator is or was wrong: then times may go back.
    pub clocks_differ: bool,
    /// True if operators are elected.
    pub elected: bool,
    /// Number of objects that operators created and deleted, by verb and object.
    pub counts: BTreeMap<(&'static str, String), usize>,
    jobs: jobs::Jobs,
    pods: pods::Pods,
    acknowledged: acknowledged::Acknowledged,
    messages: messages::Messages,
}

impl std::fmt::Debug for InvariantChecker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvariantChecker")
            .field("violations", &self.violations)
            .finish_non_exhaustive()
    }
}

impl InvariantChecker {
    /// A checker for jobs of these kinds.
    #[must_use]
    pub fn new(frameworks: &[&'static dyn Framework]) -> Self {
        Self {
            violations: Vec::new(),
            clocks_differ: false,
            elected: false,
            counts: BTreeMap::new(),
            jobs: jobs::Jobs::new(frameworks),
            pods: pods::Pods::default(),
            acknowledged: acknowledged::Acknowledged::default(),
            messages: messages::Messages::default(),
        }
    }

    /// Checks a request that an operator sends: without the lease it must not write.
    pub fn sent(&mut self, now: Timestamp, who: Who, request: &Request) {
        if self.elected {
            let found = self.acknowledged.without_lease(now, who, request);
            self.violations.extend(found);
        }
    }

    /// Checks a request of an operator that reaches the API server.
    pub fn request(&mut self, store: &Store, who: Who, request: &Request) {
        if !request.verb.writes() {
            return;
        }
        let stale = self.acknowledged.stale(&self.jobs, store, who, request);
        self.violations.extend(stale);
        self.violations.extend(self.messages.request(request));
        self.violations
            .extend(requests::check(&self.jobs, store, request));
    }

    /// Records an answer that an operator receives.
    pub fn answered(&mut self, now: Timestamp, who: Who, request: &Request, answer: &Value) {
        self.acknowledged.answered(&self.jobs, now, who, request, answer);
    }

    /// Checks a change in the store.
    pub fn change(&mut self, store: &Store, change: &Change) {
        let resource = change.key.resource;
        self.acknowledged.record(change);
        self.jobs.record(change);
        let by_operator = matches!(change.by, Who::Operator(_));
        if self.jobs.is_job(resource)
            && by_operator
            && let (Some(before), Some(after)) = (&change.before, &change.after)
        {
            self.violations
                .extend(status::check(before, after, self.clocks_differ));
            self.messages.status(before, after);
        }
        if resource == PODS {
            self.violations
                .extend(self.pods.change(&self.jobs, store, change));
        }
        if by_operator && resource == EVENTS {
            self.violations.extend(self.messages.event(change));
        }
        if by_operator && resource != EVENTS && resource != LEASES {
            self.by_operator(store, change);
        }
    }

    /// Checks a change by an operator: the object belongs to a job, and a delete was decided before.
    fn by_operator(&mut self, store: &Store, change: &Change) {
        let resource = change.key.resource;
        let what = format!("{} {}", resource.plural, change.key.name);
        let Some(before) = &change.before else {
            *self.counts.entry(("create", what)).or_default() += 1;
            return;
        };
        let is_job = self.jobs.is_job(resource);
        if !is_job && !self.jobs.has_owner(controller_uid(before)) {
            self.violations
                .push(format!("{what}: is not ours, and was changed"));
        }
        if !jobs::gone(change.after.as_ref()) || deleting(before) {
            return;
        }
        *self.counts.entry(("delete", what)).or_default() += 1;
        if resource == PODS || resource == BATCH_JOBS {
            let found = pods::without_intent(&self.jobs, store, before);
            self.violations.extend(found);
        }
        if is_job && end_of(before).is_empty() {
            self.violations
                .push(format!("{} was deleted before its end", change.key.name));
        }
    }
}
