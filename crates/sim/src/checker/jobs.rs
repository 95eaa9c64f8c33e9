//! Facts about jobs: which objects are jobs, and which objects belong to one.

use std::collections::{BTreeMap, BTreeSet};

use common::api::{ConditionType, JobStatus};
use common::testing::meanings;
use common::{Framework, KindInfo, conditions, names};
use serde_json::Value;

use crate::request::Request;
use crate::store::{Change, Object};
use crate::types::{BATCH_JOBS, Resource};
use crate::value::{self, controller_uid, deleting, label, name, uid};

/// Jobs and objects of jobs, as the store has shown them so far.
pub(super) struct Jobs {
    meanings: Vec<&'static KindInfo>,
    /// UIDs of jobs, and of batch Jobs of jobs, that exist or existed.
    ours: BTreeSet<String>,
    /// Jobs of batch Jobs, by UID of the batch Job.
    carriers: BTreeMap<String, String>,
    /// UIDs of objects whose operator label was changed. It is not known when operators see them again.
    hidden: BTreeSet<String>,
}

impl Jobs {
    /// No job of these kinds yet.
    pub(super) fn new(frameworks: &[&'static dyn Framework]) -> Self {
        Self {
            meanings: meanings(frameworks).iter().map(|f| f.kind()).collect(),
            ours: BTreeSet::new(),
            carriers: BTreeMap::new(),
            hidden: BTreeSet::new(),
        }
    }

    /// True for the resource of a kind of job.
    pub(super) fn is_job(&self, resource: Resource) -> bool {
        self.meanings
            .iter()
            .any(|k| k.group == resource.group && k.plural == resource.plural)
    }

    /// True if a request names a job, not an object that belongs to one.
    pub(super) fn is_of_job(&self, request: &Request) -> bool {
        self.meanings
            .iter()
            .any(|k| request.group == k.group && request.plural == k.plural)
    }

    /// True if this controller manages jobs of this resource.
    pub(super) fn manages(&self, plural: &str, manager: &str) -> bool {
        self.meanings
            .iter()
            .any(|k| k.plural == plural && k.managers.contains(&manager))
    }

    /// True for the UID of a job, or of a batch Job of a job.
    pub(super) fn has_owner(&self, owner: &str) -> bool {
        self.ours.contains(owner)
    }

    /// True if the operator label of this object was changed.
    pub(super) fn is_hidden(&self, object: &Value) -> bool {
        self.hidden.contains(uid(object))
    }

    /// Records jobs, their batch Jobs, and objects that a change hides from operators.
    pub(super) fn record(&mut self, change: &Change) {
        if let Some(before) = &change.before
            && hides(before, change.after.as_deref())
        {
            self.hidden.insert(uid(before).to_owned());
        }
        let Some(after) = &change.after else { return };
        if self.is_job(change.key.resource) {
            self.ours.insert(uid(after).to_owned());
        }
        let owner = controller_uid(after);
        if change.key.resource == BATCH_JOBS && self.ours.contains(owner) {
            self.ours.insert(uid(after).to_owned());
            self.carriers.insert(uid(after).to_owned(), owner.to_owned());
        }
    }

    /// UID of the job that a pod belongs to, directly or by its batch Job.
    pub(super) fn root<'a>(&'a self, pod: &'a Value) -> &'a str {
        let owner = controller_uid(pod);
        self.carriers.get(owner).map_or(owner, String::as_str)
    }

    /// The attempt that a status states for the replica of this name.
    pub(super) fn stored_attempt(&self, plural: &str, job: &str, stored: &JobStatus, of: &str) -> u32 {
        let mut kinds = self.meanings.iter().filter(|k| k.plural == plural);
        let replica = kinds.find_map(|k| k.replica_of(job, of));
        let of_replica = replica.and_then(|id| stored.slots.get(&names::replica_key(id.role, id.index)));
        of_replica
            .map_or(0, |replica| replica.attempt)
            .max(stored.attempt)
    }
}

/// True if a change takes an object out of the operators' sight: its operator label is another one.
pub(super) fn hides(before: &Value, after: Option<&Value>) -> bool {
    let operator = |object| label(object, names::OPERATOR_NAME);
    operator(before).is_some() && after.is_some_and(|after| operator(after) != operator(before))
}

/// True if an object is deleted, or has a deletion timestamp.
pub(super) fn gone(object: Option<&Object>) -> bool {
    object.is_none_or(|object| deleting(object))
}

/// Attempt of a pod or batch Job.
pub(super) fn attempt(object: &Value) -> u32 {
    label(object, names::ATTEMPT)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// True if a status ends the job or suspends it.
pub(super) fn is_stopped(stored: &JobStatus) -> bool {
    conditions::is_finished(stored) || conditions::is_true(stored, ConditionType::Suspended)
}

/// Status of a job.
#[must_use]
pub fn stored(job: &Value) -> JobStatus {
    job.get("status")
        .map(common::resolve::readable_status)
        .unwrap_or_default()
}

/// Condition by which a job has ended; empty if it has not.
#[must_use]
pub fn end_of(job: &Value) -> &'static str {
    let ends = ["Succeeded", "Failed"];
    ends.into_iter()
        .find(|end| value::is_true(job, end))
        .unwrap_or_default()
}

/// Owner UID, name and attempt of a pod: no two pods have the same.
pub(super) fn incarnation(pod: &Value) -> (String, String, String) {
    let attempt = label(pod, names::ATTEMPT).unwrap_or_default().to_owned();
    (controller_uid(pod).to_owned(), name(pod).to_owned(), attempt)
}
