//! Stores of the watched resources behind one trait.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use common::PodView;
use common::observe::{BatchJobView, ChildView};

use crate::children::{Change, ChildRecord, Children};
use crate::decode::PriorityClass;
use crate::node_readiness::Nodes;
use crate::object::Object;
use crate::resource::ObjectName;

use super::jobs::{JobChange, Jobs};

/// A change of a store that may affect jobs.
#[derive(Debug)]
pub(super) enum Changed {
    /// A job changed.
    Job(JobChange),
    /// A pod changed.
    Pod(Change<PodView>),
    /// A Service, or another object beside pods, changed.
    Child(Change<ChildView>),
    /// A batch Job changed.
    BatchJob(Change<BatchJobView>),
    /// Nodes with these names changed.
    Nodes(HashSet<Box<str>>),
}

/// Store of the objects of one watched resource. The view looks it up by resource, for lists, look-ups and restored backups;
/// single objects of a watch have a type, and go to the store of that type.
pub(super) trait WatchedStore {
    /// Replaces all objects by a full list as of `rv`. Objects of other resources in the list are ignored.
    fn replace(&mut self, list: Vec<Object>, rv: u64) -> Vec<Changed>;

    /// Notes that no object has the name as of `rv`.
    fn absent(&mut self, name: &ObjectName, rv: u64) -> Option<Changed>;

    /// Resets all versions, so that any version that comes next counts as younger.
    fn forget_versions(&mut self);
}

impl WatchedStore for Jobs {
    fn replace(&mut self, list: Vec<Object>, rv: u64) -> Vec<Changed> {
        let jobs = list.into_iter().filter_map(|object| match object {
            Object::Job(job) => Some(*job),
            _ => None,
        });
        let changes = self.replace(jobs.collect(), rv);
        changes.into_iter().map(Changed::Job).collect()
    }

    fn absent(&mut self, name: &ObjectName, rv: u64) -> Option<Changed> {
        self.absent(name, rv).map(Changed::Job)
    }

    fn forget_versions(&mut self) {
        self.forget_versions();
    }
}

/// View of an object that belongs to a job.
pub(super) trait OwnedView: PartialEq + Sized {
    /// The record of an object, if it is one of this view.
    fn of(object: Object) -> Option<ChildRecord<Self>>;

    /// The change as one of any store.
    fn changed(change: Change<Self>) -> Changed;
}

impl OwnedView for PodView {
    fn of(object: Object) -> Option<ChildRecord<Self>> {
        match object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    fn changed(change: Change<Self>) -> Changed {
        Changed::Pod(change)
    }
}

impl OwnedView for ChildView {
    fn of(object: Object) -> Option<ChildRecord<Self>> {
        match object {
            Object::Child(child) => Some(child),
            _ => None,
        }
    }

    fn changed(change: Change<Self>) -> Changed {
        Changed::Child(change)
    }
}

impl OwnedView for BatchJobView {
    fn of(object: Object) -> Option<ChildRecord<Self>> {
        match object {
            Object::BatchJob(job) => Some(job),
            _ => None,
        }
    }

    fn changed(change: Change<Self>) -> Changed {
        Changed::BatchJob(change)
    }
}

impl<T: OwnedView> WatchedStore for Children<T> {
    fn replace(&mut self, list: Vec<Object>, rv: u64) -> Vec<Changed> {
        let list = list.into_iter().filter_map(T::of).collect();
        self.replace(list, rv).into_iter().map(T::changed).collect()
    }

    fn absent(&mut self, name: &ObjectName, rv: u64) -> Option<Changed> {
        self.absent(name, rv).map(T::changed)
    }

    fn forget_versions(&mut self) {
        self.forget_versions();
    }
}

impl WatchedStore for Nodes {
    fn replace(&mut self, list: Vec<Object>, rv: u64) -> Vec<Changed> {
        let nodes = list.into_iter().filter_map(|object| match object {
            Object::Node(node) => Some(node),
            _ => None,
        });
        vec![Changed::Nodes(self.replace(nodes.collect(), rv))]
    }

    /// Nodes are never written, hence never looked up.
    fn absent(&mut self, _: &ObjectName, _: u64) -> Option<Changed> {
        None
    }

    fn forget_versions(&mut self) {
        self.forget_versions();
    }
}

/// Values of the priority classes. A change affects no job: it orders what is asked for at the next reconcile.
#[derive(Debug, Default)]
pub(super) struct PriorityClasses {
    by_name: Arc<BTreeMap<String, i32>>,
}

impl PriorityClasses {
    /// Values by name.
    pub(super) fn values(&self) -> &Arc<BTreeMap<String, i32>> {
        &self.by_name
    }

    /// Stores a priority class.
    pub(super) fn put(&mut self, class: PriorityClass) {
        Arc::make_mut(&mut self.by_name).insert(class.name, class.value);
    }

    /// Removes a deleted priority class.
    pub(super) fn remove(&mut self, name: &str) {
        Arc::make_mut(&mut self.by_name).remove(name);
    }
}

impl WatchedStore for PriorityClasses {
    fn replace(&mut self, list: Vec<Object>, _: u64) -> Vec<Changed> {
        let classes = list.into_iter().filter_map(|object| match object {
            Object::PriorityClass(class) => Some((class.name, class.value)),
            _ => None,
        });
        self.by_name = Arc::new(classes.collect());
        Vec::new()
    }

    /// Priority classes are never written, hence never looked up.
    fn absent(&mut self, _: &ObjectName, _: u64) -> Option<Changed> {
        None
    }

    /// Versions of priority classes are not kept.
    fn forget_versions(&mut self) {}
}
