//! The cluster as the watches report it: jobs by key, their objects by owner, and the progress of each watch.
//!
//! Pure: events go in, [`Effects`] come out.

mod jobs;
mod owners;
mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use common::observe::{BatchJobView, ChildView, Phase, UnreachableNode, Vanished};
use common::{JobKey, PodView, Uid};
use jiff::Timestamp;

use crate::children::{Change, ChildRecord, Children};
use crate::decode::JobObject;
use crate::metrics::ObjectCounts;
use crate::node_readiness::{GoneNodes, Nodes};
use crate::object::Object;
use crate::resource::{BATCH_JOBS, NODES, ObjectName, PODS, PRIORITY_CLASSES, Resource, SERVICES};

use self::jobs::{JobChange, Jobs};
use self::owners::Owners;
use self::store::{Changed, PriorityClasses, WatchedStore};

/// Effects of an event on jobs.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Jobs that have to be reconciled.
    pub(crate) touched: BTreeSet<JobKey>,
    /// Jobs that are gone, or have become another incarnation.
    pub(crate) ended: BTreeSet<JobKey>,
    /// Names that have become free.
    pub(crate) freed: Vec<(Resource, ObjectName)>,
    /// Pods and batch Jobs that are gone, each with the job that it belonged to.
    pub(crate) removed: Vec<(JobKey, Removed)>,
}

/// A pod or batch Job that is gone.
#[derive(Debug)]
pub(crate) struct Removed {
    /// UID of the job that it belonged to.
    pub(crate) owner: Uid,
    /// Its own UID.
    pub(crate) uid: Uid,
    /// Facts about it that the job's next decision needs.
    pub(crate) vanished: Vanished,
}

/// All objects of a job.
#[derive(Debug, Default)]
pub(crate) struct OwnedObjects {
    /// Pods whose controller is the job.
    pub(crate) pods: Vec<Arc<PodView>>,
    /// Services and other objects beside pods.
    pub(crate) children: Vec<Arc<ChildView>>,
    /// Batch Jobs.
    pub(crate) batch_jobs: Vec<Arc<BatchJobView>>,
    /// Pods of the batch Jobs, each with the UID of its batch Job.
    pub(crate) batch_pods: Vec<(Uid, Arc<PodView>)>,
}

/// A list that is older than the view.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("list as of {list} is older than the view as of {view}")]
pub(crate) struct StaleList {
    list: u64,
    view: u64,
}

/// The view.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// Kinds of jobs, by resource.
    kinds: HashMap<Resource, &'static str>,
    /// Jobs, by kind.
    jobs: HashMap<&'static str, Jobs>,
    pods: Children<PodView>,
    /// Services and other objects beside pods, by resource.
    children: BTreeMap<Resource, Children<ChildView>>,
    batch_jobs: Children<BatchJobView>,
    nodes: Nodes,
    priorities: PriorityClasses,
    owners: Owners,
    /// Version that the watch of each resource has reached.
    reached: HashMap<Resource, u64>,
}

impl View {
    /// Creates an empty view of jobs of these kinds and their objects.
    pub(crate) fn new(kinds: impl IntoIterator<Item = (Resource, &'static str)>) -> Self {
        Self {
            kinds: kinds.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The job of a key.
    pub(crate) fn job(&self, key: &JobKey) -> Option<&JobObject> {
        self.jobs.get(key.kind)?.get(key)
    }

    /// All objects of the job with this UID.
    pub(crate) fn owned_objects(&self, owner: &Uid) -> OwnedObjects {
        let Some(JobKey { namespace, .. }) = self.owners.key(owner) else {
            return OwnedObjects::default();
        };
        let pods = |uid: &Uid| self.pods.of(namespace, uid);
        let batch_jobs = self.owners.batch_jobs(owner);
        let batch_pods = batch_jobs.flat_map(|uid| pods(uid).into_iter().map(|pod| (uid.clone(), pod)));
        let children = self.children.values();
        OwnedObjects {
            pods: pods(owner),
            children: children.flat_map(|of| of.of(namespace, owner)).collect(),
            batch_jobs: self.batch_jobs.of(namespace, owner),
            batch_pods: batch_pods.collect(),
        }
    }

    /// A running pod whose name has this prefix and whose controller is unknown. An operator that starts after a batch Job was
    /// deleted, and before its pods are collected, cannot know which job such pods belong to.
    pub(crate) fn orphaned_pod(&self, namespace: &str, prefix: &str) -> Option<ObjectName> {
        let mut pods = self.pods.iter();
        let pod = pods.find(|pod| {
            *pod.name.namespace == *namespace
                && pod.name.name.starts_with(prefix)
                && !pod.value.has_ended()
                && pod.owner.as_ref().is_some_and(|owner| !self.owners.knows(owner))
        });
        pod.map(|pod| pod.name.clone())
    }

    /// Unreachable nodes, of the nodes that pods of a job are on.
    pub(crate) fn unreachable_nodes(
        &self,
        owned: &OwnedObjects,
        gone: &mut GoneNodes,
        now: Timestamp,
    ) -> BTreeMap<Box<str>, UnreachableNode> {
        let batch_pods = owned.batch_pods.iter().map(|(_, pod)| &**pod);
        let pods = owned.pods.iter().map(|pod| &**pod).chain(batch_pods);
        self.nodes.unreachable(pods, gone, now)
    }

    /// Notes an event, bookmark or list of nodes. If readiness was unknown before, all jobs with pods on NotReady nodes are
    /// touched.
    pub(crate) fn node_watch_progressed(&mut self, now: Timestamp) -> Effects {
        let mut effects = Effects::default();
        if self.nodes.watch_progressed(now) {
            self.touch_pods_on(|nodes, name| !nodes.is_ready(name), &mut effects);
        }
        effects
    }

    /// Values of the priority classes, by name.
    pub(crate) fn priorities(&self) -> &Arc<BTreeMap<String, i32>> {
        self.priorities.values()
    }

    /// Version that the watch of a resource has reached.
    pub(crate) fn reached(&self, resource: Resource) -> u64 {
        self.reached.get(&resource).copied().unwrap_or(0)
    }

    /// Number of objects held.
    pub(crate) fn counts(&self) -> ObjectCounts {
        ObjectCounts {
            jobs: self.jobs.values().map(Jobs::len).sum(),
            pods: self.pods.len(),
            services: self.children.get(&SERVICES).map_or(0, Children::len),
        }
    }

    /// Notes that the watch of a resource has reached this version.
    pub(crate) fn advance(&mut self, resource: Resource, rv: u64) {
        let reached = self.reached.entry(resource).or_default();
        *reached = rv.max(*reached);
    }

    /// Stores an object that exists.
    pub(crate) fn put(&mut self, object: Object) -> Effects {
        let changed = match object {
            Object::Job(job) => self.jobs_of(job.key.kind).put(*job).map(Changed::Job),
            Object::Pod(pod) => self.pods.put(pod).map(Changed::Pod),
            Object::Child(child) => {
                let resource = Resource::of_child(child.value.kind);
                let store = self.children.entry(resource).or_default();
                store.put(child).map(Changed::Child)
            }
            Object::BatchJob(job) => self.batch_jobs.put(job).map(Changed::BatchJob),
            Object::Node(node) => {
                let name = node.name.clone();
                let changed = self.nodes.put(node);
                changed.then(|| Changed::Nodes(HashSet::from([name])))
            }
            Object::PriorityClass(class) => {
                self.priorities.put(class);
                None
            }
        };
        self.effects(changed)
    }

    /// Removes an object that was deleted.
    pub(crate) fn remove(&mut self, object: &Object) -> Effects {
        let changed = match object {
            Object::Job(job) => {
                let jobs = self.jobs_of(job.key.kind);
                jobs.remove(&job.key, &job.uid).map(Changed::Job)
            }
            Object::Pod(pod) => self.pods.remove(&pod.name, &pod.uid).map(Changed::Pod),
            Object::Child(child) => {
                let store = self.children.get_mut(&Resource::of_child(child.value.kind));
                let change = store.and_then(|store| store.remove(&child.name, &child.uid));
                change.map(Changed::Child)
            }
            Object::BatchJob(job) => self.batch_jobs.remove(&job.name, &job.uid).map(Changed::BatchJob),
            Object::Node(node) => {
                let changed = self.nodes.remove(&node.name);
                changed.then(|| Changed::Nodes(HashSet::from([node.name.clone()])))
            }
            Object::PriorityClass(class) => {
                self.priorities.remove(&class.name);
                None
            }
        };
        self.effects(changed)
    }

    /// Notes a look-up that found no object of a name that had been written as of `rv`.
    pub(crate) fn absent(&mut self, resource: Resource, name: &ObjectName, rv: u64) -> Effects {
        let changed = self.store(resource).absent(name, rv);
        self.effects(changed)
    }

    /// Replaces all objects of a resource by a full list as of `rv`.
    ///
    /// # Errors
    /// If the list is older than the view, which must not go back.
    pub(crate) fn replace(
        &mut self,
        resource: Resource,
        list: Vec<Object>,
        rv: u64,
    ) -> Result<Effects, StaleList> {
        let view = self.reached(resource);
        if rv < view {
            return Err(StaleList { list: rv, view });
        }
        let changed = self.store(resource).replace(list, rv);
        self.advance(resource, rv);
        Ok(self.effects(changed))
    }

    /// Accepts any version of the next list, after so many stale lists that the store itself must have gone back (a restored
    /// backup). Every object that is held counts as older than that list, which says what exists.
    pub(crate) fn forget_version(&mut self, resource: Resource) {
        self.reached.remove(&resource);
        self.store(resource).forget_versions();
    }

    /// The store of a resource.
    fn store(&mut self, resource: Resource) -> &mut dyn WatchedStore {
        if let Some(kind) = self.kinds.get(&resource) {
            return self.jobs_of(kind);
        }
        match resource {
            PODS => &mut self.pods,
            BATCH_JOBS => &mut self.batch_jobs,
            NODES => &mut self.nodes,
            PRIORITY_CLASSES => &mut self.priorities,
            resource => self.children.entry(resource).or_default(),
        }
    }

    fn jobs_of(&mut self, kind: &'static str) -> &mut Jobs {
        self.jobs.entry(kind).or_insert_with(|| Jobs::new(kind))
    }

    fn effects(&mut self, changes: impl IntoIterator<Item = Changed>) -> Effects {
        let mut effects = Effects::default();
        for changed in changes {
            match changed {
                Changed::Job(change) => self.job_changed(change, &mut effects),
                Changed::Pod(change) => self.pod_changed(change, &mut effects),
                Changed::Child(change) => self.child_changed(change, &mut effects),
                Changed::BatchJob(change) => self.batch_job_changed(change, &mut effects),
                Changed::Nodes(names) => {
                    self.touch_pods_on(|_, name| names.contains(name), &mut effects);
                }
            }
        }
        effects
    }

    fn job_changed(&mut self, change: JobChange, effects: &mut Effects) {
        match change {
            JobChange::Put {
                key,
                uid,
                replaced,
                differs,
            } => {
                if let Some(before) = replaced {
                    effects.ended.insert(key.clone());
                    self.owners.remove_job(&before);
                }
                if differs {
                    effects.touched.insert(key.clone());
                }
                self.owners.add_job(uid, key);
            }
            JobChange::Gone { key, uid } => {
                self.owners.remove_job(&uid);
                effects.ended.insert(key);
            }
        }
    }

    fn pod_changed(&mut self, change: Change<PodView>, effects: &mut Effects) {
        let gone = match change {
            Change::Gone(pod) => Some(pod),
            Change::Put { now, replaced } => {
                self.touch(&now.name, now.owner.as_ref(), effects);
                replaced
            }
        };
        let Some(pod) = gone else { return };
        self.touch(&pod.name, pod.owner.as_ref(), effects);
        effects.freed.push((PODS, pod.name.clone()));
        let Some(owner) = pod.owner else { return };
        if let Some(key) = self.owners.direct(&pod.name, &owner) {
            let vanished = Vanished {
                name: pod.value.name.clone(),
                attempt: pod.value.attempt,
                restarts: pod.value.restarts,
                // A pod that is being deleted may succeed without having done its work.
                succeeded: pod.value.phase == Phase::Succeeded && !pod.value.deleting,
            };
            let uid = pod.uid;
            effects
                .removed
                .push((key.clone(), Removed { owner, uid, vanished }));
        } else {
            // The Job controller replaces a pod of a batch Job.
            self.forget_batch_job(&owner);
        }
    }

    fn batch_job_changed(&mut self, change: Change<BatchJobView>, effects: &mut Effects) {
        let gone = match change {
            Change::Gone(job) => Some(job),
            Change::Put { now, replaced } => {
                if let Some(owner) = now.owner {
                    self.owners.add_batch_job(&now.uid, owner);
                }
                self.touch(&now.name, Some(&now.uid), effects);
                replaced
            }
        };
        let Some(job) = gone else { return };
        // The owner directly: by now the batch Job may belong to another job.
        self.touch(&job.name, job.owner.as_ref(), effects);
        effects.freed.push((BATCH_JOBS, job.name.clone()));
        self.forget_batch_job(&job.uid);
        let Some(owner) = job.owner else { return };
        if let Some(key) = self.owners.direct(&job.name, &owner) {
            let vanished = Vanished {
                name: job.value.name.clone(),
                attempt: job.value.attempt,
                restarts: job.value.failed,
                succeeded: job.value.end.as_ref().is_some_and(|end| end.succeeded),
            };
            let uid = job.uid;
            effects
                .removed
                .push((key.clone(), Removed { owner, uid, vanished }));
        }
    }

    /// Removes the owner of a batch Job, unless the batch Job or one of its pods still exists.
    fn forget_batch_job(&mut self, uid: &Uid) {
        let Some(owner) = self.owners.owner_of_batch_job(uid) else {
            return;
        };
        let exists = self.batch_jobs.all_of(owner).any(|job| job.uid == *uid);
        if !exists && self.pods.all_of(uid).next().is_none() {
            self.owners.remove_batch_job(uid);
        }
    }

    fn child_changed(&self, change: Change<ChildView>, effects: &mut Effects) {
        let gone: Option<ChildRecord<ChildView>> = match change {
            Change::Gone(child) => Some(child),
            Change::Put { now, replaced } => {
                self.touch(&now.name, now.owner.as_ref(), effects);
                replaced
            }
        };
        let Some(child) = gone else { return };
        self.touch(&child.name, child.owner.as_ref(), effects);
        let resource = Resource::of_child(child.value.kind);
        effects.freed.push((resource, child.name));
    }

    /// Touches the jobs with pods on the nodes that `matches` selects. Nodes seldom change, so all pods are looked at.
    fn touch_pods_on(&self, matches: impl Fn(&Nodes, &str) -> bool, effects: &mut Effects) {
        for pod in self.pods.iter() {
            let node = pod.value.node.as_deref();
            if node.is_some_and(|name| matches(&self.nodes, name)) {
                self.touch(&pod.name, pod.owner.as_ref(), effects);
            }
        }
    }

    /// Touches the job that an object with this controller belongs to.
    fn touch(&self, object: &ObjectName, controller: Option<&Uid>, effects: &mut Effects) {
        let key = controller.and_then(|uid| self.owners.job_of(object, uid));
        effects.touched.extend(key.cloned());
    }
}

#[cfg(test)]
mod tests;
