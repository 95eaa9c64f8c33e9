//! The judge: what must hold after every single change, whatever happens to the operator. It looks at the store and at
//! the requests, never into the operator.

use std::collections::{BTreeMap, BTreeSet};

use common::api::{ConditionType, JobStatus};
use common::testing::meanings;
use common::{Framework, KindInfo, names, status};
use serde_json::Value;

use crate::request::{Request, Verb};
use crate::store::{Change, Object, Store, Who};
use crate::types::{BATCH_JOBS, EVENTS, LEASES, PODS, Resource};
use crate::value::{self, controller_uid, deleting, has_ended, label, name, text, uid};

/// The judge.
pub struct Judge {
    meanings: Vec<&'static KindInfo>,
    /// What was wrong.
    pub violations: Vec<String>,
    /// UIDs of jobs, and of batch Jobs of jobs, that there are or were.
    ours: BTreeSet<String>,
    /// Pods that were made: UID of the job, name, attempt.
    incarnations: BTreeSet<(String, String, String)>,
    /// Objects created and deleted by operators, by what they are.
    pub counts: BTreeMap<(&'static str, String), usize>,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge")
            .field("violations", &self.violations)
            .finish_non_exhaustive()
    }
}

impl Judge {
    /// For these kinds.
    #[must_use]
    pub fn new(frameworks: &[&'static dyn Framework]) -> Self {
        Self {
            meanings: meanings(frameworks).iter().map(|f| f.kind()).collect(),
            violations: Vec::new(),
            ours: BTreeSet::new(),
            incarnations: BTreeSet::new(),
            counts: BTreeMap::new(),
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

    /// An operator asks for something.
    pub fn request(&mut self, store: &Store, request: &Request) {
        let aside = request.is_of(EVENTS) || request.is_of(LEASES);
        match request.verb {
            Verb::Delete if request.body.pointer("/preconditions/uid").is_none() => {
                self.wrong(format!("{}: without the UID", request.line()));
            }
            Verb::Create if !aside => {
                let owner = controller_uid(&request.body);
                if !self.ours.contains(owner) {
                    self.wrong(format!(
                        "{}: its owner is {owner:?}, which is no job",
                        request.line()
                    ));
                }
                if let Some((_, job)) = store.by_uid(owner) {
                    self.may_make(&request.line(), job);
                }
            }
            Verb::Patch if request.subresource == "status" => {
                if request.body.pointer("/metadata/resourceVersion").is_none() {
                    self.wrong(format!("{}: without the version", request.line()));
                }
            }
            Verb::Create
            | Verb::Delete
            | Verb::Patch
            | Verb::Replace
            | Verb::Get
            | Verb::List
            | Verb::Watch
            | Verb::Discover => {}
        }
    }

    /// Nothing is made for a job that has ended, or is suspended.
    fn may_make(&mut self, what: &str, job: &Value) {
        let stored = stored(job);
        if status::is_finished(&stored) {
            self.wrong(format!("{what}: of a job that has ended"));
        }
        if status::is_true(&stored, ConditionType::Suspended) {
            self.wrong(format!("{what}: of a job that is suspended"));
        }
    }

    /// Something has changed.
    pub fn change(&mut self, store: &Store, change: &Change) {
        let resource = change.key.resource;
        if self.is_job(resource) {
            self.ours
                .extend(change.after.iter().map(|job| uid(job).to_owned()));
            if let (Some(before), Some(after)) = (&change.before, &change.after)
                && matches!(change.by, Who::Operator(_))
            {
                self.status(before, after);
            }
        }
        if resource == BATCH_JOBS
            && let Some(job) = change
                .after
                .as_ref()
                .filter(|job| self.ours.contains(controller_uid(job)))
        {
            self.ours.insert(uid(job).to_owned());
        }
        if resource == PODS {
            self.one_at_a_time(store, change);
            // What others take away unseen may be made again: nothing tells of it (but it must not be made beside it).
            if let (Some(before), false) = (&change.before, matches!(change.by, Who::Operator(_)))
                && gone(change.after.as_ref())
                && !deleting(before)
            {
                self.incarnations.remove(&incarnation(before));
            }
        }
        let Who::Operator(_) = change.by else { return };
        let what = format!("{} {}", resource.plural, change.key.name);
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
                if resource == PODS {
                    self.intended(store, before);
                }
            }
            Some(_) => {}
        }
    }

    /// Never two live pods of a slot, and no incarnation of one twice.
    fn one_at_a_time(&mut self, store: &Store, change: &Change) {
        let (None, Some(pod)) = (&change.before, &change.after) else {
            return;
        };
        let owner = controller_uid(pod).to_owned();
        if !self.ours.contains(&owner) {
            return;
        }
        let live = |p: &Value| !has_ended(p) && !deleting(p);
        let root = |p: &Value| {
            let owner = controller_uid(p);
            let carrier = store.by_uid(owner).filter(|(key, _)| key.resource == BATCH_JOBS);
            carrier.map_or(owner, |(_, job)| controller_uid(job)).to_owned()
        };
        let slot = |p: &Value| {
            let carried = root(p) != controller_uid(p);
            let of = |key| label(p, key).unwrap_or_default().to_owned();
            let role = (of(names::REPLICA_TYPE), of(names::JOB_ROLE));
            // Labels of a pod may be anybody's doing by now; its name is not.
            (
                carried,
                root(p),
                if carried {
                    role
                } else {
                    (name(p).to_owned(), String::new())
                },
            )
        };
        let wanted = slot(pod);
        let mut twins = store.list(PODS, &change.key.namespace).map(|(_, p)| p);
        if let Some(twin) = twins.find(|p| uid(p) != uid(pod) && live(p) && slot(p) == wanted) {
            self.wrong(format!(
                "{} and {} are of one slot, and both live",
                name(pod),
                name(twin)
            ));
        }
        if let Who::Operator(_) = change.by {
            let incarnation = incarnation(pod);
            if !self.incarnations.insert(incarnation.clone()) {
                self.wrong(format!(
                    "attempt {} of {} is made twice",
                    incarnation.2, incarnation.1
                ));
            }
        }
    }

    /// Nothing destructive before its intent is stored.
    fn intended(&mut self, store: &Store, pod: &Value) {
        let Some((key, job)) = store
            .by_uid(controller_uid(pod))
            .filter(|(key, _)| self.is_job(key.resource))
        else {
            return;
        };
        let stored = stored(job);
        let attempt: u32 = label(pod, names::ATTEMPT)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let mut kinds = self.meanings.iter().filter(|k| k.plural == key.resource.plural);
        let slot = kinds.find_map(|k| k.slot_of(&key.name, name(pod)));
        let of_slot = slot.and_then(|id| stored.slots.get(&names::slot_key(id.role, id.index)));
        let wanted = of_slot.map_or(0, |slot| slot.attempt).max(stored.attempt);
        let over = status::is_finished(&stored) || status::is_true(&stored, ConditionType::Suspended);
        if wanted <= attempt && !over {
            self.wrong(format!("{} was deleted without a stored intent", name(pod)));
        }
    }

    /// What no status may do.
    fn status(&mut self, before: &Value, after: &Value) {
        if uid(before) != uid(after) {
            return;
        }
        let (old, new) = (stored(before), stored(after));
        let job = name(after).to_owned();
        let is = |s: &JobStatus, type_| status::is_true(s, type_);
        let (succeeded, failed) = (ConditionType::Succeeded, ConditionType::Failed);
        if is(&new, succeeded) && is(&new, failed) {
            self.wrong(format!("{job} has both succeeded and failed"));
        }
        if status::is_finished(&old)
            && (new.conditions != old.conditions || new.completion_time != old.completion_time)
        {
            self.wrong(format!("the end of {job} is undone"));
        }
        if is(&new, ConditionType::Running)
            && (is(&new, ConditionType::Restarting) || status::is_finished(&new))
        {
            self.wrong(format!("{job} runs, and restarts or has ended"));
        }
        if let (Some(start), Some(end)) = (&new.start_time, &new.completion_time)
            && end.0 < start.0
        {
            self.wrong(format!("{job} ends before it starts"));
        }
        let attempts = |s: &JobStatus, slot: &str| s.slots.get(slot).map_or(0, |s| s.attempt).max(s.attempt);
        for slot in old
            .slots
            .keys()
            .filter(|slot| attempts(&new, slot) < attempts(&old, slot))
        {
            self.wrong(format!("the attempt of {slot} of {job} falls"));
        }
        let started = old.start_time.is_some() && old.start_time != new.start_time;
        if started && !is(&old, ConditionType::Suspended) {
            self.wrong(format!("{job} starts anew without having been suspended"));
        }
        let used = |s: &JobStatus| s.restart_counts.as_ref().map_or(0, |c| c.failures);
        if used(&new) < used(&old) {
            self.wrong(format!("restarts of {job} are forgotten"));
        }
        let limit = after
            .pointer("/spec/runPolicy/backoffLimit")
            .and_then(Value::as_i64);
        let goes_on = !status::is_finished(&new) && !is(&new, ConditionType::Suspended);
        if limit.is_some_and(|limit| used(&new) > used(&old) && goes_on && i64::from(used(&new)) > limit) {
            self.wrong(format!(
                "{job} was restarted {} times, which is above its limit",
                used(&new)
            ));
        }
        let types: BTreeSet<_> = new.conditions.iter().map(|c| c.type_.as_str()).collect();
        if types.len() != new.conditions.len() {
            self.wrong(format!("{job} has two conditions of one type"));
        }
    }
}

/// Whether an object is gone, or on its way out.
fn gone(object: Option<&Object>) -> bool {
    object.is_none_or(|object| deleting(object))
}

/// UID of its owner, name and attempt of a pod.
fn incarnation(pod: &Value) -> (String, String, String) {
    let attempt = label(pod, names::ATTEMPT).unwrap_or_default().to_owned();
    (controller_uid(pod).to_owned(), name(pod).to_owned(), attempt)
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
