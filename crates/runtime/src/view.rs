//! The cluster as the watches have told it: jobs by key, their pods and services by owner, and how far each watch is.
//!
//! Pure: events go in, [`Effects`] come out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use common::observe::{BatchJobView, ChildView, LostNode, Phase, Vanished};
use common::{JobKey, PodView, Uid};
use jiff::Timestamp;

use crate::children::{Change, ChildRecord, Children};
use crate::decode::{JobObject, PriorityClass};
use crate::node_readiness::{GoneNodes, NodeObject, Nodes};
use crate::resource::{BATCH_JOBS, NODES, ObjectName, PODS, PRIORITY_CLASSES, Resource, SERVICES};

/// A decoded object of a watched resource.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// A job.
    Job(Box<JobObject>),
    /// A pod.
    Pod(ChildRecord<PodView>),
    /// A Service, or another object beside pods.
    Child(ChildRecord<ChildView>),
    /// A batch Job.
    BatchJob(ChildRecord<BatchJobView>),
    /// A node.
    Node(NodeObject),
    /// A priority class.
    PriorityClass(PriorityClass),
}

impl Object {
    /// Its resourceVersion.
    pub(crate) fn rv(&self) -> u64 {
        match self {
            Self::Job(job) => job.rv,
            Self::Pod(pod) => pod.rv,
            Self::Child(child) => child.rv,
            Self::BatchJob(job) => job.rv,
            Self::Node(node) => node.rv,
            Self::PriorityClass(class) => class.rv,
        }
    }
}

/// What follows from an event.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Jobs about which there is news.
    pub(crate) touched: BTreeSet<JobKey>,
    /// Jobs that are gone, or have become another incarnation.
    pub(crate) ended: BTreeSet<JobKey>,
    /// Names that have become free.
    pub(crate) freed: Vec<(Resource, ObjectName)>,
    /// Pods and batch Jobs that are gone, each with the job that it belonged to.
    pub(crate) removed: Vec<(JobKey, Removed)>,
}

/// Something that is gone.
#[derive(Debug)]
pub(crate) struct Removed {
    /// UID of the job that it belonged to.
    pub(crate) owner: Uid,
    /// Its own UID.
    pub(crate) uid: Uid,
    /// What the job should know of it.
    pub(crate) vanished: Vanished,
}

/// All objects of a job.
#[derive(Debug, Default)]
pub(crate) struct OwnedObjects {
    /// Its own pods.
    pub(crate) pods: Vec<Arc<PodView>>,
    /// Its Services and other objects beside pods.
    pub(crate) children: Vec<Arc<ChildView>>,
    /// Its batch Jobs.
    pub(crate) batch_jobs: Vec<Arc<BatchJobView>>,
    /// Pods of its batch Jobs, each with the UID of its batch Job.
    pub(crate) batch_pods: Vec<(Uid, Arc<PodView>)>,
}

/// A list that is older than what is known already.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("list as of {list} is older than the view as of {view}")]
pub(crate) struct StaleList {
    list: u64,
    view: u64,
}

/// The view.
#[derive(Debug, Default)]
pub(crate) struct View {
    jobs: HashMap<JobKey, JobObject>,
    keys: HashMap<Uid, JobKey>,
    pods: Children<PodView>,
    /// By what they are.
    children: BTreeMap<Resource, Children<ChildView>>,
    batch_jobs: Children<BatchJobView>,
    nodes: Nodes,
    /// Job of each batch Job, for as long as that or a pod of it is there.
    carriers: HashMap<Uid, Uid>,
    carriers_of: HashMap<Uid, BTreeSet<Uid>>,
    reached: HashMap<Resource, u64>,
    kinds: HashMap<Resource, &'static str>,
    /// Values of the priority classes, by name.
    priorities: Arc<BTreeMap<String, i32>>,
}

impl View {
    /// An empty view of jobs of these kinds and their children.
    pub(crate) fn new(kinds: impl IntoIterator<Item = (Resource, &'static str)>) -> Self {
        Self {
            kinds: kinds.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The job of a key.
    pub(crate) fn job(&self, key: &JobKey) -> Option<&JobObject> {
        self.jobs.get(key)
    }

    /// All objects of the job of this UID.
    pub(crate) fn owned_objects(&self, owner: &Uid) -> OwnedObjects {
        let Some(JobKey { namespace, .. }) = self.keys.get(owner) else {
            return OwnedObjects::default();
        };
        let carriers = self.carriers_of.get(owner).into_iter().flatten();
        let pods = |uid: &Uid| self.pods.of(namespace, uid);
        let carried = carriers.flat_map(|uid| pods(uid).into_iter().map(|pod| (uid.clone(), pod)));
        let children = self.children.values();
        OwnedObjects {
            pods: pods(owner),
            children: children.flat_map(|of| of.of(namespace, owner)).collect(),
            batch_jobs: self.batch_jobs.of(namespace, owner),
            batch_pods: carried.collect(),
        }
    }

    /// A pod that runs under a name that begins like this, and whose controller is not known: who starts after a batch Job was
    /// deleted, and before its pods are collected, cannot tell whose they are.
    pub(crate) fn stranded(&self, namespace: &str, prefix: &str) -> Option<ObjectName> {
        let known = |uid: &Uid| self.keys.contains_key(uid) || self.carriers.contains_key(uid);
        let mut pods = self.pods.iter();
        let pod = pods.find(|pod| {
            *pod.name.namespace == *namespace
                && pod.name.name.starts_with(prefix)
                && !pod.value.has_ended()
                && pod.owner.as_ref().is_some_and(|owner| !known(owner))
        });
        pod.map(|pod| pod.name.clone())
    }

    /// Nodes that do not answer, of those that pods of the owned_objects are on.
    pub(crate) fn unreachable_nodes(
        &self,
        owned_objects: &OwnedObjects,
        gone: &mut GoneNodes,
        now: Timestamp,
    ) -> BTreeMap<Box<str>, LostNode> {
        let carried = owned_objects.batch_pods.iter().map(|(_, pod)| &**pod);
        let pods = owned_objects.pods.iter().map(|pod| &**pod).chain(carried);
        self.nodes.unreachable(pods, gone, now)
    }

    /// The watch of nodes has told something. If nobody knew of them before, there is news of all that do not answer.
    pub(crate) fn node_watch_progressed(&mut self, now: Timestamp) -> Effects {
        let mut effects = Effects::default();
        if self.nodes.watch_progressed(now) {
            self.nodes_changed(|nodes, name| !nodes.is_ready(name), &mut effects);
        }
        effects
    }

    /// Values of the priority classes, by name.
    pub(crate) fn priorities(&self) -> &Arc<BTreeMap<String, i32>> {
        &self.priorities
    }

    /// How far the watch of a resource is.
    pub(crate) fn reached(&self, resource: Resource) -> u64 {
        self.reached.get(&resource).copied().unwrap_or(0)
    }

    /// Number of jobs, pods and services.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (
            self.jobs.len(),
            self.pods.len(),
            self.children.get(&SERVICES).map_or(0, Children::len),
        )
    }

    /// The watch of a resource has come as far as this.
    pub(crate) fn advance(&mut self, resource: Resource, rv: u64) {
        let reached = self.reached.entry(resource).or_default();
        *reached = rv.max(*reached);
    }

    /// Takes in an object that is there.
    pub(crate) fn put(&mut self, object: Object) -> Effects {
        let mut effects = Effects::default();
        match object {
            Object::Job(job) => self.put_job(*job, &mut effects),
            Object::Pod(pod) => {
                let change = self.pods.put(pod);
                self.pod_changed(change, &mut effects);
            }
            Object::Child(child) => {
                let resource = Resource::of_child(child.value.kind);
                let change = self.children.entry(resource).or_default().put(child);
                self.child_changed(resource, change, &mut effects);
            }
            Object::BatchJob(job) => {
                let change = self.batch_jobs.put(job);
                self.batch_job_changed(change, &mut effects);
            }
            Object::Node(node) => {
                let name = node.name.clone();
                if self.nodes.put(node) {
                    self.nodes_changed(|_, on| *on == *name, &mut effects);
                }
            }
            // Jobs learn of it when something else wakes them: it orders what is asked for next.
            Object::PriorityClass(class) => {
                Arc::make_mut(&mut self.priorities).insert(class.name, class.value);
            }
        }
        effects
    }

    /// Takes in an object that was deleted.
    pub(crate) fn remove(&mut self, object: &Object) -> Effects {
        let mut effects = Effects::default();
        match object {
            Object::Job(job) => self.remove_job(&job.key, &job.uid, &mut effects),
            Object::Pod(pod) => {
                let change = self.pods.remove(&pod.name, &pod.uid);
                self.pod_changed(change, &mut effects);
            }
            Object::Child(child) => {
                let resource = Resource::of_child(child.value.kind);
                let held = self.children.get_mut(&resource);
                let change = held.and_then(|held| held.remove(&child.name, &child.uid));
                self.child_changed(resource, change, &mut effects);
            }
            Object::BatchJob(job) => {
                let change = self.batch_jobs.remove(&job.name, &job.uid);
                self.batch_job_changed(change, &mut effects);
            }
            Object::Node(node) => {
                if self.nodes.remove(&node.name) {
                    self.nodes_changed(|_, on| *on == *node.name, &mut effects);
                }
            }
            Object::PriorityClass(class) => {
                Arc::make_mut(&mut self.priorities).remove(&class.name);
            }
        }
        effects
    }

    /// Takes note of a look-up that found nothing, of a name that had been written as of `rv`.
    pub(crate) fn absent(&mut self, resource: Resource, key: &JobKey, name: &ObjectName, rv: u64) -> Effects {
        let mut effects = Effects::default();
        if resource == PODS {
            let change = self.pods.absent(name, rv);
            self.pod_changed(change, &mut effects);
        } else if resource == BATCH_JOBS {
            let change = self.batch_jobs.absent(name, rv);
            self.batch_job_changed(change, &mut effects);
        } else if !self.kinds.contains_key(&resource) {
            let held = self.children.get_mut(&resource);
            let change = held.and_then(|held| held.absent(name, rv));
            self.child_changed(resource, change, &mut effects);
        } else if let Some(uid) = self
            .job(key)
            .filter(|job| job.rv <= rv)
            .map(|job| job.uid.clone())
        {
            self.remove_job(key, &uid, &mut effects);
        }
        effects
    }

    /// Takes in a full list of a resource as of `rv`.
    ///
    /// # Errors
    /// If the view knows better already: time must not go back.
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
        let mut effects = Effects::default();
        let (mut jobs, mut pods, mut children, mut batch_jobs, mut nodes) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut priorities = BTreeMap::new();
        for object in list {
            match object {
                Object::Job(job) => jobs.push(*job),
                Object::Pod(pod) => pods.push(pod),
                Object::Child(child) => children.push(child),
                Object::BatchJob(job) => batch_jobs.push(job),
                Object::Node(node) => nodes.push(node),
                Object::PriorityClass(class) => {
                    priorities.insert(class.name, class.value);
                }
            }
        }
        if resource == PODS {
            for change in self.pods.replace(pods, rv) {
                self.pod_changed(Some(change), &mut effects);
            }
        } else if resource == BATCH_JOBS {
            for change in self.batch_jobs.replace(batch_jobs, rv) {
                self.batch_job_changed(Some(change), &mut effects);
            }
        } else if resource == NODES {
            let news = self.nodes.replace(nodes, rv);
            self.nodes_changed(|_, name| news.contains(name), &mut effects);
        } else if resource == PRIORITY_CLASSES {
            self.priorities = Arc::new(priorities);
        } else if self.kinds.contains_key(&resource) {
            self.replace_jobs(resource, jobs, rv, &mut effects);
        } else {
            for change in self.children.entry(resource).or_default().replace(children, rv) {
                self.child_changed(resource, Some(change), &mut effects);
            }
        }
        self.advance(resource, rv);
        Ok(effects)
    }

    /// After so many stale lists that the store itself must have gone back (a restored backup): begin anew.
    pub(crate) fn forget_version(&mut self, resource: Resource) {
        self.reached.remove(&resource);
        // What is held is older than whatever comes now; the next list says what of it there still is.
        if resource == PODS {
            self.pods.forget_versions();
        } else if let Some(held) = self.children.get_mut(&resource) {
            held.forget_versions();
        } else if resource == BATCH_JOBS {
            self.batch_jobs.forget_versions();
        } else if resource == NODES {
            self.nodes.forget_versions();
        } else if let Some(kind) = self.kinds.get(&resource) {
            self.jobs
                .values_mut()
                .filter(|job| job.key.kind == *kind)
                .for_each(|job| job.rv = 0);
        }
    }

    fn put_job(&mut self, new: JobObject, effects: &mut Effects) {
        let key = new.key.clone();
        if let Some(held) = self.jobs.get(&key) {
            if held.rv >= new.rv {
                return;
            }
            if held.uid != new.uid {
                effects.ended.insert(key.clone());
                self.keys.remove(&held.uid);
            }
            if !held.says_the_same(&new) {
                effects.touched.insert(key.clone());
            }
        } else {
            effects.touched.insert(key.clone());
        }
        self.keys.insert(new.uid.clone(), key.clone());
        self.jobs.insert(key, new);
    }

    fn remove_job(&mut self, key: &JobKey, uid: &Uid, effects: &mut Effects) {
        if self.jobs.get(key).is_some_and(|held| held.uid == *uid) {
            self.jobs.remove(key);
            self.keys.remove(uid);
            effects.ended.insert(key.clone());
        }
    }

    fn replace_jobs(&mut self, resource: Resource, list: Vec<JobObject>, rv: u64, effects: &mut Effects) {
        let listed: BTreeSet<&JobKey> = list.iter().map(|job| &job.key).collect();
        let kind = self.kinds.get(&resource).copied();
        let missing: Vec<(JobKey, Uid)> = self
            .jobs
            .values()
            .filter(|job| job.rv <= rv && Some(job.key.kind) == kind && !listed.contains(&job.key))
            .map(|job| (job.key.clone(), job.uid.clone()))
            .collect();
        for (key, uid) in missing {
            self.remove_job(&key, &uid, effects);
        }
        for job in list {
            self.put_job(job, effects);
        }
    }

    fn pod_changed(&mut self, change: Option<Change<PodView>>, effects: &mut Effects) {
        let gone = match change {
            None => return,
            Some(Change::Gone(pod)) => Some(pod),
            Some(Change::Put { now, replaced }) => {
                self.touch(&now.name, now.owner.as_ref(), effects);
                replaced
            }
        };
        let Some(pod) = gone else { return };
        self.touch(&pod.name, pod.owner.as_ref(), effects);
        effects.freed.push((PODS, pod.name.clone()));
        let Some(owner) = pod.owner else { return };
        // A pod of a batch Job is that one's to miss.
        if let Some(key) = self.key_of(&pod.name, &owner) {
            let vanished = Vanished {
                name: pod.value.name.clone(),
                attempt: pod.value.attempt,
                restarts: pod.value.restarts,
                // A pod that is told to go may end well without having done its work.
                succeeded: pod.value.phase == Phase::Succeeded && !pod.value.deleting,
            };
            let uid = pod.uid;
            effects.removed.push((key.clone(), Removed { owner, uid, vanished }));
        } else {
            self.forget_carrier(&owner);
        }
    }

    fn batch_job_changed(&mut self, change: Option<Change<BatchJobView>>, effects: &mut Effects) {
        let gone = match change {
            None => return,
            Some(Change::Gone(job)) => Some(job),
            Some(Change::Put { now, replaced }) => {
                if let Some(owner) = now.owner {
                    let before = self.carriers.insert(now.uid.clone(), owner.clone());
                    if let Some(before) = before.filter(|before| *before != owner) {
                        self.disown(&before, &now.uid);
                    }
                    self.carriers_of.entry(owner).or_default().insert(now.uid.clone());
                }
                self.touch(&now.name, Some(&now.uid), effects);
                replaced
            }
        };
        let Some(job) = gone else { return };
        // Its job itself: by now the batch Job may be another one's.
        self.touch(&job.name, job.owner.as_ref(), effects);
        effects.freed.push((BATCH_JOBS, job.name.clone()));
        self.forget_carrier(&job.uid);
        let Some(owner) = job.owner else { return };
        if let Some(key) = self.key_of(&job.name, &owner) {
            let vanished = Vanished {
                name: job.value.name.clone(),
                attempt: job.value.attempt,
                restarts: job.value.failed,
                succeeded: job.value.end.as_ref().is_some_and(|end| end.succeeded),
            };
            let uid = job.uid;
            effects.removed.push((key.clone(), Removed { owner, uid, vanished }));
        }
    }

    /// A batch Job is known for as long as it or one of its pods is there.
    fn forget_carrier(&mut self, uid: &Uid) {
        let Some(owner) = self.carriers.get(uid) else {
            return;
        };
        let there = self.batch_jobs.all_of(owner).any(|job| job.uid == *uid);
        if there || self.pods.all_of(uid).next().is_some() {
            return;
        }
        let owner = owner.clone();
        self.disown(&owner, uid);
        self.carriers.remove(uid);
    }

    /// A batch Job is none of this job's any more.
    fn disown(&mut self, owner: &Uid, uid: &Uid) {
        if let Some(carriers) = self.carriers_of.get_mut(owner) {
            carriers.remove(uid);
            if carriers.is_empty() {
                self.carriers_of.remove(owner);
            }
        }
    }

    fn child_changed(&self, resource: Resource, change: Option<Change<ChildView>>, effects: &mut Effects) {
        let gone = match change {
            None => return,
            Some(Change::Gone(child)) => Some(child),
            Some(Change::Put { now, replaced }) => {
                self.touch(&now.name, now.owner.as_ref(), effects);
                replaced
            }
        };
        let Some(child) = gone else { return };
        self.touch(&child.name, child.owner.as_ref(), effects);
        effects.freed.push((resource, child.name));
    }

    /// There is news of these nodes for the jobs with pods on them. Nodes seldom change, so that all pods are looked at.
    fn nodes_changed(&self, is: impl Fn(&Nodes, &str) -> bool, effects: &mut Effects) {
        for pod in self.pods.iter() {
            if pod
                .value
                .node
                .as_deref()
                .is_some_and(|name| is(&self.nodes, name))
            {
                self.touch(&pod.name, pod.owner.as_ref(), effects);
            }
        }
    }

    /// The job of this UID that an object belongs to: one of the object's namespace.
    fn key_of(&self, object: &ObjectName, owner: &Uid) -> Option<&JobKey> {
        self.keys
            .get(owner)
            .filter(|key| key.namespace == object.namespace)
    }

    /// There is news of an object for the job of this UID, or of the batch Job of this UID.
    fn touch(&self, object: &ObjectName, owner: Option<&Uid>, effects: &mut Effects) {
        let key = owner.and_then(|uid| {
            let of_carrier = || self.key_of(object, self.carriers.get(uid)?);
            self.key_of(object, uid).or_else(of_carrier)
        });
        effects.touched.extend(key.cloned());
    }
}

#[cfg(test)]
mod tests;
