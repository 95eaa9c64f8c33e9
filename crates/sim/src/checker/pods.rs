//! Checks of pods: at most one live pod per replica, none beside older ones, none deleted without a stored intent.

use std::collections::BTreeSet;

use common::names;
use serde_json::Value;

use super::jobs::{Jobs, attempt, gone, incarnation, is_stopped, stored};
use crate::store::{Change, Object, Store, Who};
use crate::types::PODS;
use crate::value::{controller_uid, deleting, has_ended, label, name, uid};

/// Pods that operators have created.
#[derive(Debug, Default)]
pub(super) struct Pods {
    /// Owner UID, name and attempt of each.
    incarnations: BTreeSet<(String, String, String)>,
}

impl Pods {
    /// Violations of a change of a pod.
    pub(super) fn change(&mut self, jobs: &Jobs, store: &Store, change: &Change) -> Vec<String> {
        let mut found = Vec::new();
        if let (None, Some(pod)) = (&change.before, &change.after)
            && jobs.has_owner(controller_uid(pod))
        {
            found.extend(beside(jobs, store, &change.key.namespace, pod));
            if let Who::Operator(_) = change.by {
                found.extend(beside_outdated(jobs, store, &change.key.namespace, pod));
                let incarnation = incarnation(pod);
                if !self.incarnations.insert(incarnation.clone()) {
                    let (_, pod, attempt) = incarnation;
                    found.push(format!("attempt {attempt} of {pod} is created twice"));
                }
            }
        }
        // A pod that others remove at once may be created again: no object shows that it existed. (But it must not be
        // created beside it.)
        if let (Some(before), false) = (&change.before, matches!(change.by, Who::Operator(_)))
            && gone(change.after.as_ref())
            && !deleting(before)
        {
            self.incarnations.remove(&incarnation(before));
        }
        found
    }
}

/// Identity of a replica: whether a batch Job carries it, UID of the job, and its name or its labels.
fn replica(jobs: &Jobs, pod: &Value) -> (bool, String, String, String) {
    let root = jobs.root(pod).to_owned();
    let carried = root != controller_uid(pod);
    let of = |key| label(pod, key).unwrap_or_default().to_owned();
    // Anybody may have changed the labels of a pod; its name is fixed.
    if carried {
        (carried, root, of(names::REPLICA_TYPE), of(names::JOB_ROLE))
    } else {
        (carried, root, name(pod).to_owned(), String::new())
    }
}

/// A new pod beside a live one of the same replica, or beside one of an older attempt. Pods without their operator label
/// do not count: operators cannot see them. (Such a pod blocks the name of its successor, except for a launcher, whose
/// batch Job gives each pod another name.)
fn beside(jobs: &Jobs, store: &Store, namespace: &str, pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let wanted = replica(jobs, pod);
    let twins = store.list(PODS, namespace).map(|(_, p)| p);
    let twins: Vec<&Object> = twins
        .filter(|p| uid(p) != uid(pod) && !has_ended(p) && replica(jobs, p) == wanted)
        .filter(|p| !jobs.is_hidden(p))
        .collect();
    if let Some(twin) = twins.iter().find(|p| !deleting(p)) {
        let (one, other) = (name(pod), name(twin));
        found.push(format!("{one} and {other} are of one replica, and both live"));
    }
    let older = |p: &&&Object| attempt(p) < attempt(pod);
    if let Some(twin) = twins.iter().find(older) {
        let (new, old) = (name(pod), name(twin));
        found.push(format!(
            "{new} is created beside {old}, which is of an older attempt"
        ));
    }
    found
}

/// A new pod of a job with `restartScope: Job` beside any pod of an older attempt of that job.
fn beside_outdated(jobs: &Jobs, store: &Store, namespace: &str, pod: &Value) -> Option<String> {
    let (_, job) = store.by_uid(jobs.root(pod))?;
    if job.pointer("/spec/runPolicy/restartScope") != Some(&Value::from("Job")) {
        return None;
    }
    let (of, first) = (uid(job), stored(job).attempt);
    let seen = |p: &&Object| !jobs.is_hidden(p);
    let mut others = store.list(PODS, namespace).map(|(_, p)| p).filter(seen);
    let old = others.find(|p| uid(p) != uid(pod) && attempt(p) < first && jobs.root(p) == of)?;
    let (new, old) = (name(pod), name(old));
    Some(format!(
        "{new} is created while {old} is left of the attempt before"
    ))
}

/// A pod or batch Job deleted while its job runs and its stored attempt is not a later one.
pub(super) fn without_intent(jobs: &Jobs, store: &Store, object: &Value) -> Option<String> {
    let (key, job) = store
        .by_uid(controller_uid(object))
        .filter(|(key, _)| jobs.is_job(key.resource))?;
    let stored = stored(job);
    let wanted = jobs.stored_attempt(key.resource.plural, &key.name, &stored, name(object));
    (wanted <= attempt(object) && !is_stopped(&stored))
        .then(|| format!("{} was deleted without a stored intent", name(object)))
}
