//! The cluster as the watches have told it: jobs by key, their pods and services by owner, and how far each watch is.
//!
//! Pure: events go in, [`Effects`] come out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use common::observe::ChildView;
use common::{JobKey, PodView, Uid};

use crate::children::{Change, Child, Children};
use crate::decode::JobObject;
use crate::resource::{ObjectName, PODS, Resource, SERVICES};

/// A decoded object of a watched resource.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// A job.
    Job(Box<JobObject>),
    /// A pod.
    Pod(Child<PodView>),
    /// A Service.
    Service(Child<ChildView>),
}

impl Object {
    /// Its resourceVersion.
    pub(crate) fn rv(&self) -> u64 {
        match self {
            Self::Job(job) => job.rv,
            Self::Pod(pod) => pod.rv,
            Self::Service(service) => service.rv,
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
    /// Pods that are gone, each with the job that it belonged to.
    pub(crate) lost_pods: Vec<(JobKey, Child<PodView>)>,
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
    services: Children<ChildView>,
    reached: HashMap<Resource, u64>,
    kinds: HashMap<Resource, &'static str>,
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

    /// Pods and services whose controller has this UID.
    pub(crate) fn children(&self, owner: &Uid) -> (Vec<Arc<PodView>>, Vec<Arc<ChildView>>) {
        (self.pods.of(owner), self.services.of(owner))
    }

    /// How far the watch of a resource is.
    pub(crate) fn reached(&self, resource: Resource) -> u64 {
        self.reached.get(&resource).copied().unwrap_or(0)
    }

    /// Number of jobs, pods and services.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.jobs.len(), self.pods.len(), self.services.len())
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
            Object::Service(service) => {
                let change = self.services.put(service);
                self.service_changed(change, &mut effects);
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
            Object::Service(service) => {
                let change = self.services.remove(&service.name, &service.uid);
                self.service_changed(change, &mut effects);
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
        } else if resource == SERVICES {
            let change = self.services.absent(name, rv);
            self.service_changed(change, &mut effects);
        } else if let Some(uid) = self.job(key).map(|job| job.uid.clone()) {
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
        let (mut jobs, mut pods, mut services) = (Vec::new(), Vec::new(), Vec::new());
        for object in list {
            match object {
                Object::Job(job) => jobs.push(*job),
                Object::Pod(pod) => pods.push(pod),
                Object::Service(service) => services.push(service),
            }
        }
        if resource == PODS {
            for change in self.pods.replace(pods, rv) {
                self.pod_changed(Some(change), &mut effects);
            }
        } else if resource == SERVICES {
            for change in self.services.replace(services, rv) {
                self.service_changed(Some(change), &mut effects);
            }
        } else {
            self.replace_jobs(resource, jobs, rv, &mut effects);
        }
        self.advance(resource, rv);
        Ok(effects)
    }

    /// After so many stale lists that the store itself must have gone back (a restored backup): begin anew.
    pub(crate) fn forget_version(&mut self, resource: Resource) {
        self.reached.remove(&resource);
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

    fn pod_changed(&self, change: Option<Change<PodView>>, effects: &mut Effects) {
        let gone = match change {
            None => return,
            Some(Change::Gone(pod)) => Some(pod),
            Some(Change::Put { now, replaced }) => {
                self.touch(now.owner.as_ref(), effects);
                replaced
            }
        };
        let Some(pod) = gone else { return };
        self.touch(pod.owner.as_ref(), effects);
        effects.freed.push((PODS, pod.name.clone()));
        if let Some(key) = pod.owner.as_ref().and_then(|uid| self.keys.get(uid)) {
            effects.lost_pods.push((key.clone(), pod));
        }
    }

    fn service_changed(&self, change: Option<Change<ChildView>>, effects: &mut Effects) {
        let gone = match change {
            None => return,
            Some(Change::Gone(service)) => Some(service),
            Some(Change::Put { now, replaced }) => {
                self.touch(now.owner.as_ref(), effects);
                replaced
            }
        };
        let Some(service) = gone else { return };
        self.touch(service.owner.as_ref(), effects);
        effects.freed.push((SERVICES, service.name));
    }

    fn touch(&self, owner: Option<&Uid>, effects: &mut Effects) {
        effects
            .touched
            .extend(owner.and_then(|uid| self.keys.get(uid)).cloned());
    }
}

#[cfg(test)]
mod tests;
