//! Jobs of one kind, by key.

use std::collections::{BTreeSet, HashMap};

use common::{JobKey, Uid};

use crate::decode::JobObject;
use crate::resource::ObjectName;

/// Change of a job.
#[derive(Debug)]
pub(super) enum JobChange {
    /// A job was stored.
    Put {
        key: JobKey,
        uid: Uid,
        /// UID of the incarnation that had the name before.
        replaced: Option<Uid>,
        /// `true` if the job is new, or says something else than before.
        differs: bool,
    },
    /// A job was removed.
    Gone { key: JobKey, uid: Uid },
}

/// Jobs of one kind.
#[derive(Debug)]
pub(super) struct Jobs {
    kind: &'static str,
    by_key: HashMap<JobKey, JobObject>,
}

impl Jobs {
    /// Creates an empty store for jobs of this kind.
    pub(super) fn new(kind: &'static str) -> Self {
        let by_key = HashMap::new();
        Self { kind, by_key }
    }

    /// The job of a key.
    pub(super) fn get(&self, key: &JobKey) -> Option<&JobObject> {
        self.by_key.get(key)
    }

    /// Number of jobs.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Stores a job. Returns `None` if the stored version is not older.
    pub(super) fn put(&mut self, new: JobObject) -> Option<JobChange> {
        let (key, uid) = (new.key.clone(), new.uid.clone());
        let held = self.by_key.get(&key);
        if held.is_some_and(|held| held.rv >= new.rv) {
            return None;
        }
        let change = JobChange::Put {
            replaced: held.map(|held| held.uid.clone()).filter(|before| *before != uid),
            differs: held.is_none_or(|held| !held.says_the_same(&new)),
            key: key.clone(),
            uid,
        };
        self.by_key.insert(key, new);
        Some(change)
    }

    /// Removes a deleted job. Returns `None` if another incarnation has the name by now.
    pub(super) fn remove(&mut self, key: &JobKey, uid: &Uid) -> Option<JobChange> {
        (self.by_key.get(key)?.uid == *uid).then(|| self.take(key))?
    }

    /// Notes that no job has the name as of `rv`.
    pub(super) fn absent(&mut self, name: &ObjectName, rv: u64) -> Option<JobChange> {
        let key = JobKey {
            kind: self.kind,
            namespace: name.namespace.clone(),
            name: name.name.clone(),
        };
        (self.by_key.get(&key)?.rv <= rv).then(|| self.take(&key))?
    }

    /// Replaces all jobs by a full list as of `rv`. A job that is not in the list is gone, unless its version is younger than
    /// the list.
    pub(super) fn replace(&mut self, list: Vec<JobObject>, rv: u64) -> Vec<JobChange> {
        let listed: BTreeSet<&JobKey> = list.iter().map(|job| &job.key).collect();
        let held = self.by_key.values();
        let missing: Vec<JobKey> = held
            .filter(|job| job.rv <= rv && !listed.contains(&job.key))
            .map(|job| job.key.clone())
            .collect();
        let mut changes: Vec<JobChange> = missing.iter().filter_map(|key| self.take(key)).collect();
        changes.extend(list.into_iter().filter_map(|job| self.put(job)));
        changes
    }

    /// Resets all versions, so that any version that comes next counts as younger.
    pub(super) fn forget_versions(&mut self) {
        self.by_key.values_mut().for_each(|job| job.rv = 0);
    }

    fn take(&mut self, key: &JobKey) -> Option<JobChange> {
        let (key, job) = self.by_key.remove_entry(key)?;
        Some(JobChange::Gone { key, uid: job.uid })
    }
}
