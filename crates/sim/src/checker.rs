//! The judge: what must hold after every single change, whatever happens to the operator. It looks at the store and at
//! the requests, never into the operator.
//!
//! What is judged of the safety of jobs, and where:
//!
//! * a slot has one live pod at most, and none of a younger attempt is made beside one of an older that lives; an
//!   incarnation is made once; all pods of `restartScope: Job` go before the first new one comes: `pods`
//! * pods are made of the attempt that is stored: `requests`
//! * attempts and counts never fall, counted restarts stay within the limit: `status`
//! * an end is final and of one sort; nothing is made for a job that has ended, is suspended or is somebody else's:
//!   `status`, `requests`. A job whose deletion has not been heard of yet cannot be spared, only cleaned up after
//! * the start time moves with a resumption only, the time of the end is written once and is no earlier; times of
//!   conditions move with what they tell of, and never back (unless a clock was set back): `status`
//! * deletes carry the UID; nothing is changed that is not a job's: `requests`, and here
//! * what is made says whose it is, which slot and which attempt, and has no finalizers: `requests`
//! * nobody acts on a view that lacks his own acknowledged writes: he does not make what he knows to have made, and
//!   decides on no status older than his own: `acks`
//! * deletes come after their intent is stored; a job is deleted after its end only: `pods`
//! * only who holds the lease writes, and no longer than the lease lasts from when he renewed it: `acks`
//! * keys go nowhere but into their Secret; events and statuses stay small; a change of a condition is told once: `words`
//!
//! Whether gangs are placed whole is Kubernetes' own business; what is asked of it is a law of planning. What must hold
//! when all is quiet is `quiet`'s.

mod acks;
mod pods;
mod requests;
mod status;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use common::api::JobStatus;
use common::testing::meanings;
use common::{Framework, KindInfo};
use serde_json::Value;

use crate::request::Request;
use crate::store::{Change, Object, Store, Who};
use crate::types::{BATCH_JOBS, EVENTS, LEASES, PODS, Resource};
use crate::value::{self, controller_uid, deleting, text, uid};

/// The judge.
pub struct InvariantChecker {
    meanings: Vec<&'static KindInfo>,
    /// What was wrong.
    pub violations: Vec<String>,
    /// Whether a clock of operators is or was wrong: then times may go back.
    pub clocks_differ: bool,
    /// Whether operators are elected.
    pub elected: bool,
    /// UIDs of jobs, and of batch Jobs of jobs, that there are or were.
    ours: BTreeSet<String>,
    /// Jobs of batch Jobs, by UID.
    carriers: BTreeMap<String, String>,
    /// UIDs of what was out of the operators' sight for a while: nobody knows when they saw it again.
    hidden: BTreeSet<String>,
    /// Pods that were made: UID of the job, name, attempt.
    incarnations: BTreeSet<(String, String, String)>,
    /// Objects created and deleted by operators, by what they are.
    pub counts: BTreeMap<(&'static str, String), usize>,
    known: acks::Known,
    told: words::Told,
}

impl std::fmt::Debug for InvariantChecker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvariantChecker")
            .field("violations", &self.violations)
            .finish_non_exhaustive()
    }
}

impl InvariantChecker {
    /// For these kinds.
    #[must_use]
    pub fn new(frameworks: &[&'static dyn Framework]) -> Self {
        Self {
            meanings: meanings(frameworks).iter().map(|f| f.kind()).collect(),
            violations: Vec::new(),
            clocks_differ: false,
            elected: false,
            ours: BTreeSet::new(),
            carriers: BTreeMap::new(),
            hidden: BTreeSet::new(),
            incarnations: BTreeSet::new(),
            counts: BTreeMap::new(),
            known: acks::Known::default(),
            told: words::Told::default(),
        }
    }

    fn wrong(&mut self, what: String) {
        self.violations.push(what);
    }

    fn is_job(&self, resource: Resource) -> bool {
        self.meanings
            .iter()
            .any(|k| k.group == resource.group && k.plural == resource.plural)
    }

    /// Whether a request is about a job, rather than about what belongs to one.
    fn is_of_job(&self, request: &Request) -> bool {
        self.meanings
            .iter()
            .any(|k| request.group == k.group && request.plural == k.plural)
    }

    /// Something has changed.
    pub fn change(&mut self, store: &Store, change: &Change) {
        let resource = change.key.resource;
        self.note(change);
        if self.is_job(resource) {
            self.ours
                .extend(change.after.iter().map(|job| uid(job).to_owned()));
            if let (Some(before), Some(after)) = (&change.before, &change.after)
                && matches!(change.by, Who::Operator(_))
            {
                self.status(before, after);
                self.told.status(before, after);
            }
        }
        if resource == BATCH_JOBS
            && let Some(job) = change
                .after
                .as_ref()
                .filter(|job| self.ours.contains(controller_uid(job)))
        {
            let owner = controller_uid(job).to_owned();
            self.ours.insert(uid(job).to_owned());
            self.carriers.insert(uid(job).to_owned(), owner);
        }
        if resource == PODS {
            self.pod(store, change);
        }
        let Who::Operator(_) = change.by else { return };
        let what = format!("{} {}", resource.plural, change.key.name);
        if resource == EVENTS {
            self.event(change);
        }
        if resource == EVENTS || resource == LEASES {
            return;
        }
        if let Some(before) = &change.before
            && !self.is_job(resource)
            && !self.ours.contains(controller_uid(before))
        {
            self.wrong(format!("{what}: is not ours, and was changed"));
        }
        match &change.before {
            None => *self.counts.entry(("create", what)).or_default() += 1,
            Some(before) if gone(change.after.as_ref()) && !deleting(before) => {
                *self.counts.entry(("delete", what)).or_default() += 1;
                if resource == PODS || resource == BATCH_JOBS {
                    self.intended(store, before);
                }
                if self.is_job(resource) && end_of(before).is_empty() {
                    self.wrong(format!("{} was deleted before its end", change.key.name));
                }
            }
            Some(_) => {}
        }
    }
}

/// Whether an object is gone, or on its way out.
fn gone(object: Option<&Object>) -> bool {
    object.is_none_or(|object| deleting(object))
}

/// The status of a job.
#[must_use]
pub fn stored(job: &Value) -> JobStatus {
    job.get("status")
        .map(common::resolve::readable_status)
        .unwrap_or_default()
}

/// The end of a job, in a word; empty if it goes on.
#[must_use]
pub fn end_of(job: &Value) -> &'static str {
    let ends = ["Succeeded", "Failed"];
    ends.into_iter()
        .find(|end| value::is_true(job, end))
        .unwrap_or_default()
}

/// Whether a condition of a job holds.
#[must_use]
pub fn holds(job: &Value, type_: &str) -> bool {
    value::condition(job, type_).is_some_and(|c| text(c, "/status") == "True")
}
