//! Index of objects that belong to jobs, by name and by the UID of their controller.
//!
//! Invariant: the index never goes back. An object that is older than the stored one of that name is dropped, whichever
//! incarnation it is of. An object whose view is unchanged is no change.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use common::Uid;

use crate::resource::ObjectName;

/// Record of one object.
#[derive(Debug)]
pub(crate) struct ChildRecord<T> {
    /// Namespace and name.
    pub(crate) name: ObjectName,
    /// UID.
    pub(crate) uid: Uid,
    /// UID of its controller.
    pub(crate) owner: Option<Uid>,
    /// resourceVersion.
    pub(crate) rv: u64,
    /// Fields that decisions read.
    pub(crate) value: Arc<T>,
}

impl<T> Clone for ChildRecord<T> {
    fn clone(&self) -> Self {
        let Self {
            name,
            uid,
            owner,
            rv,
            value,
        } = self;
        Self {
            name: name.clone(),
            uid: uid.clone(),
            owner: owner.clone(),
            rv: *rv,
            value: Arc::clone(value),
        }
    }
}

/// Change of an object.
#[derive(Debug)]
pub(crate) enum Change<T> {
    /// The object is new or different.
    Put {
        /// The object now.
        now: ChildRecord<T>,
        /// The object before, if it was another incarnation or had another owner.
        replaced: Option<ChildRecord<T>>,
    },
    /// The object is gone.
    Gone(ChildRecord<T>),
}

/// All objects of one resource.
#[derive(Debug)]
pub(crate) struct Children<T> {
    by_name: HashMap<ObjectName, ChildRecord<T>>,
    by_owner: HashMap<Uid, BTreeSet<ObjectName>>,
}

impl<T> Default for Children<T> {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            by_owner: HashMap::new(),
        }
    }
}

impl<T: PartialEq> Children<T> {
    /// Objects of this namespace whose controller has this UID, by name. Objects of other namespaces are left out: Kubernetes
    /// takes such a reference for an error, and a user of another namespace must have no influence on this one.
    pub(crate) fn of(&self, namespace: &str, owner: &Uid) -> Vec<Arc<T>> {
        self.all_of(owner)
            .filter(|child| *child.name.namespace == *namespace)
            .map(|child| Arc::clone(&child.value))
            .collect()
    }

    /// Objects whose controller has this UID, in all namespaces.
    pub(crate) fn all_of(&self, owner: &Uid) -> impl Iterator<Item = &ChildRecord<T>> {
        let names = self.by_owner.get(owner).into_iter().flatten();
        names.filter_map(|name| self.by_name.get(name))
    }

    /// Resets all versions, so that any version that comes next counts as younger.
    pub(crate) fn forget_versions(&mut self) {
        self.by_name.values_mut().for_each(|child| child.rv = 0);
    }

    /// All objects.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ChildRecord<T>> {
        self.by_name.values()
    }

    /// Number of objects.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Stores an object. Returns `None` if nothing changed.
    pub(crate) fn put(&mut self, child: ChildRecord<T>) -> Option<Change<T>> {
        if let Some(held) = self.by_name.get_mut(&child.name) {
            if held.rv >= child.rv {
                return None;
            }
            if held.uid == child.uid && held.owner == child.owner && held.value == child.value {
                held.rv = child.rv;
                return None;
            }
        }
        let before = self.take(&child.name);
        self.insert(child.clone());
        Some(Change::Put {
            replaced: before.filter(|b| b.uid != child.uid || b.owner != child.owner),
            now: child,
        })
    }

    /// Removes a deleted object. Returns `None` if another incarnation has the name by now.
    pub(crate) fn remove(&mut self, name: &ObjectName, uid: &Uid) -> Option<Change<T>> {
        (self.by_name.get(name)?.uid == *uid)
            .then(|| self.take(name))?
            .map(Change::Gone)
    }

    /// Notes that no object has the name as of `rv`.
    pub(crate) fn absent(&mut self, name: &ObjectName, rv: u64) -> Option<Change<T>> {
        (self.by_name.get(name)?.rv <= rv)
            .then(|| self.take(name))?
            .map(Change::Gone)
    }

    /// Replaces all objects by a full list as of `rv`. An object that is not in the list is gone, unless its version is younger
    /// than the list.
    pub(crate) fn replace(&mut self, list: Vec<ChildRecord<T>>, rv: u64) -> Vec<Change<T>> {
        let listed: BTreeSet<ObjectName> = list.iter().map(|c| c.name.clone()).collect();
        let missing: Vec<ObjectName> = self
            .by_name
            .values()
            .filter(|c| c.rv <= rv && !listed.contains(&c.name))
            .map(|c| c.name.clone())
            .collect();
        let gone = missing
            .iter()
            .filter_map(|name| self.take(name))
            .map(Change::Gone)
            .collect::<Vec<_>>();
        let put = list
            .into_iter()
            .filter_map(|child| self.put(child))
            .collect::<Vec<_>>();
        gone.into_iter().chain(put).collect()
    }

    fn insert(&mut self, child: ChildRecord<T>) {
        if let Some(owner) = &child.owner {
            self.by_owner
                .entry(owner.clone())
                .or_default()
                .insert(child.name.clone());
        }
        self.by_name.insert(child.name.clone(), child);
    }

    fn take(&mut self, name: &ObjectName) -> Option<ChildRecord<T>> {
        let child = self.by_name.remove(name)?;
        if let Some(owner) = &child.owner
            && let Some(names) = self.by_owner.get_mut(owner)
        {
            names.remove(name);
            if names.is_empty() {
                self.by_owner.remove(owner);
            }
        }
        Some(child)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(name: &str, uid: &str, rv: u64, value: u8) -> ChildRecord<u8> {
        let owner = Some(Uid::new("job"));
        ChildRecord {
            name: ObjectName::new("ns", name),
            uid: Uid::new(uid),
            owner,
            rv,
            value: Arc::new(value),
        }
    }

    fn values(children: &Children<u8>) -> Vec<u8> {
        children.of("ns", &Uid::new("job")).iter().map(|v| **v).collect()
    }

    #[test]
    fn an_event_of_the_old_incarnation_is_dropped() {
        let mut children = Children::default();
        children.put(child("w", "a", 1, 1));
        assert!(matches!(
            children.put(child("w", "b", 5, 2)),
            Some(Change::Put {
                replaced: Some(_),
                ..
            })
        ));
        assert!(children.put(child("w", "a", 3, 9)).is_none());
        assert!(
            children
                .remove(&ObjectName::new("ns", "w"), &Uid::new("a"))
                .is_none()
        );
        assert_eq!(values(&children), [2]);
    }

    #[test]
    fn an_equal_view_is_no_change_but_its_version_is_kept() {
        let mut children = Children::default();
        children.put(child("w", "a", 1, 1));
        assert!(children.put(child("w", "a", 2, 1)).is_none());
        assert!(
            children.put(child("w", "a", 2, 7)).is_none(),
            "the same version again"
        );
        assert!(children.put(child("w", "a", 3, 7)).is_some());
    }

    #[test]
    fn a_relist_names_what_vanished_what_is_new_and_what_changed_its_uid() {
        let mut children = Children::default();
        for (name, uid) in [("gone", "a"), ("same", "b"), ("other", "c")] {
            children.put(child(name, uid, 1, 1));
        }
        children.put(child("younger", "y", 30, 4));
        let list = vec![
            child("same", "b", 9, 1),
            child("other", "c2", 9, 1),
            child("new", "d", 9, 3),
        ];
        let mut changes: Vec<String> = children
            .replace(list, 20)
            .into_iter()
            .map(|change| match change {
                Change::Gone(c) => format!("gone {}", c.name.name),
                Change::Put {
                    now,
                    replaced: Some(_),
                } => format!("replaced {}", now.name.name),
                Change::Put { now, replaced: None } => format!("put {}", now.name.name),
            })
            .collect();
        changes.sort();
        assert_eq!(changes, ["gone gone", "put new", "replaced other"]);
        assert_eq!(children.len(), 4);
    }

    #[test]
    fn a_child_that_changes_its_owner_leaves_the_old_one() {
        let mut children = Children::default();
        children.put(child("w", "a", 1, 1));
        let orphan = ChildRecord {
            owner: None,
            ..child("w", "a", 2, 1)
        };
        assert!(children.put(orphan).is_some());
        assert!(values(&children).is_empty());
    }
}
