//! Which pods may be beside which, and which may go.

use common::{conditions, names};
use serde_json::Value;

use super::{Judge, gone, stored};
use crate::store::{Change, Object, Store, Who};
use crate::types::PODS;
use crate::value::{controller_uid, deleting, has_ended, label, name, uid};

/// UID of its owner, name and attempt of a pod.
fn incarnation(pod: &Value) -> (String, String, String) {
    let attempt = label(pod, names::ATTEMPT).unwrap_or_default().to_owned();
    (controller_uid(pod).to_owned(), name(pod).to_owned(), attempt)
}

/// Attempt of a pod or batch Job.
pub(super) fn attempt(object: &Value) -> u32 {
    label(object, names::ATTEMPT)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

impl Judge {
    /// UID of the job that a pod is of, whoever made it.
    fn root<'a>(&'a self, pod: &'a Value) -> &'a str {
        let owner = controller_uid(pod);
        self.carriers.get(owner).map_or(owner, String::as_str)
    }

    /// A slot: whether a batch Job carries it, whose it is, and its name or its labels.
    fn slot(&self, pod: &Value) -> (bool, String, String, String) {
        let root = self.root(pod).to_owned();
        let carried = root != controller_uid(pod);
        let of = |key| label(pod, key).unwrap_or_default().to_owned();
        // Labels of a pod may be anybody's doing by now; its name is not.
        if carried {
            (carried, root, of(names::REPLICA_TYPE), of(names::JOB_ROLE))
        } else {
            (carried, root, name(pod).to_owned(), String::new())
        }
    }

    /// A pod has changed.
    pub(super) fn pod(&mut self, store: &Store, change: &Change) {
        if let (None, Some(pod)) = (&change.before, &change.after)
            && self.ours.contains(controller_uid(pod))
        {
            self.one_at_a_time(store, change, pod);
        }
        // What others take away unseen may be made again: nothing tells of it (but it must not be made beside it).
        if let (Some(before), false) = (&change.before, matches!(change.by, Who::Operator(_)))
            && gone(change.after.as_ref())
            && !deleting(before)
        {
            self.incarnations.remove(&incarnation(before));
        }
    }

    /// Never two live pods of a slot, and no incarnation of one twice. (A pod whose label somebody took away is in nobody's
    /// sight. Its name is in the way of its successor, but for a launcher's, whose batch Job gives each another.)
    fn one_at_a_time(&mut self, store: &Store, change: &Change, pod: &Value) {
        let wanted = self.slot(pod);
        let twins = store.list(PODS, &change.key.namespace).map(|(_, p)| p);
        let twins: Vec<&Object> = twins
            .filter(|p| uid(p) != uid(pod) && !has_ended(p) && self.slot(p) == wanted)
            .filter(|p| !self.hidden.contains(uid(p)))
            .collect();
        if let Some(twin) = twins.iter().find(|p| !deleting(p)) {
            let (one, other) = (name(pod), name(twin));
            self.wrong(format!("{one} and {other} are of one slot, and both live"));
        }
        let older = |p: &&&Object| attempt(p) < attempt(pod);
        if let Some(twin) = twins.iter().find(older) {
            let (new, old) = (name(pod), name(twin));
            self.wrong(format!("{new} is made beside {old}, which is of the slot's past"));
        }
        if let Who::Operator(_) = change.by {
            self.none_of_the_past(store, &change.key.namespace, pod);
            let incarnation = incarnation(pod);
            if !self.incarnations.insert(incarnation.clone()) {
                self.wrong(format!(
                    "attempt {} of {} is made twice",
                    incarnation.2, incarnation.1
                ));
            }
        }
    }

    /// A job all of whose pods begin anew together makes none before the last of the old is gone.
    fn none_of_the_past(&mut self, store: &Store, namespace: &str, pod: &Value) {
        let Some((_, job)) = store.by_uid(self.root(pod)) else {
            return;
        };
        if job.pointer("/spec/runPolicy/restartScope") != Some(&Value::from("Job")) {
            return;
        }
        let (of, first) = (uid(job), stored(job).attempt);
        let seen = |p: &&Object| !self.hidden.contains(uid(p));
        let mut others = store.list(PODS, namespace).map(|(_, p)| p).filter(seen);
        if let Some(old) = others.find(|p| uid(p) != uid(pod) && attempt(p) < first && self.root(p) == of) {
            let (new, old) = (name(pod), name(old));
            self.wrong(format!("{new} is made while {old} is left of the time before"));
        }
    }

    /// Nothing destructive before its intent is stored.
    pub(super) fn intended(&mut self, store: &Store, object: &Value) {
        let Some((key, job)) = store
            .by_uid(controller_uid(object))
            .filter(|(key, _)| self.is_job(key.resource))
        else {
            return;
        };
        let stored = stored(job);
        let wanted = self.stored_attempt(key.resource.plural, &key.name, &stored, name(object));
        let over = conditions::is_finished(&stored)
            || conditions::is_true(&stored, common::api::ConditionType::Suspended);
        if wanted <= attempt(object) && !over {
            self.wrong(format!("{} was deleted without a stored intent", name(object)));
        }
    }

    /// The attempt that a status states for the slot of a name.
    pub(super) fn stored_attempt(
        &self,
        plural: &str,
        job: &str,
        stored: &common::api::JobStatus,
        of: &str,
    ) -> u32 {
        let mut kinds = self.meanings.iter().filter(|k| k.plural == plural);
        let slot = kinds.find_map(|k| k.slot_of(job, of));
        let of_slot = slot.and_then(|id| stored.slots.get(&names::slot_key(id.role, id.index)));
        of_slot.map_or(0, |slot| slot.attempt).max(stored.attempt)
    }
}
