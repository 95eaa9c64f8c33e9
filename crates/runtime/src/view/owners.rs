//! Ownership: the job that an object belongs to, directly or through a batch Job.

use std::collections::{BTreeSet, HashMap};

use common::{JobKey, Uid};

use crate::resource::ObjectName;

/// Index of jobs and batch Jobs by UID.
#[derive(Debug, Default)]
pub(super) struct Owners {
    jobs: HashMap<Uid, JobKey>,
    /// UID of the job of each batch Job, for as long as the batch Job or a pod of it exists.
    job_of_batch_job: HashMap<Uid, Uid>,
    batch_jobs_of: HashMap<Uid, BTreeSet<Uid>>,
}

impl Owners {
    /// Adds a job.
    pub(super) fn add_job(&mut self, uid: Uid, key: JobKey) {
        self.jobs.insert(uid, key);
    }

    /// Removes a job.
    pub(super) fn remove_job(&mut self, uid: &Uid) {
        self.jobs.remove(uid);
    }

    /// Adds a batch Job of the job with the UID `owner`, which may have belonged to another job before.
    pub(super) fn add_batch_job(&mut self, uid: &Uid, owner: Uid) {
        let before = self.job_of_batch_job.insert(uid.clone(), owner.clone());
        if let Some(before) = before.filter(|before| *before != owner) {
            self.disown(&before, uid);
        }
        self.batch_jobs_of.entry(owner).or_default().insert(uid.clone());
    }

    /// Removes a batch Job.
    pub(super) fn remove_batch_job(&mut self, uid: &Uid) {
        if let Some(owner) = self.job_of_batch_job.remove(uid) {
            self.disown(&owner, uid);
        }
    }

    fn disown(&mut self, owner: &Uid, uid: &Uid) {
        if let Some(batch_jobs) = self.batch_jobs_of.get_mut(owner) {
            batch_jobs.remove(uid);
            if batch_jobs.is_empty() {
                self.batch_jobs_of.remove(owner);
            }
        }
    }

    /// Key of the job with this UID.
    pub(super) fn key(&self, job: &Uid) -> Option<&JobKey> {
        self.jobs.get(job)
    }

    /// UID of the job of a batch Job.
    pub(super) fn owner_of_batch_job(&self, uid: &Uid) -> Option<&Uid> {
        self.job_of_batch_job.get(uid)
    }

    /// UIDs of the batch Jobs of a job.
    pub(super) fn batch_jobs(&self, job: &Uid) -> impl Iterator<Item = &Uid> {
        self.batch_jobs_of.get(job).into_iter().flatten()
    }

    /// Returns `true` if the UID is that of a job or batch Job.
    pub(super) fn knows(&self, uid: &Uid) -> bool {
        self.jobs.contains_key(uid) || self.job_of_batch_job.contains_key(uid)
    }

    /// Key of the job with the UID `owner`, if the object is in the job's namespace.
    pub(super) fn direct(&self, object: &ObjectName, owner: &Uid) -> Option<&JobKey> {
        let key = self.jobs.get(owner);
        key.filter(|key| key.namespace == object.namespace)
    }

    /// Key of the job that an object with this controller belongs to, directly or through a batch Job.
    pub(super) fn job_of(&self, object: &ObjectName, controller: &Uid) -> Option<&JobKey> {
        let through_batch_job = || self.direct(object, self.job_of_batch_job.get(controller)?);
        self.direct(object, controller).or_else(through_batch_job)
    }

    /// Returns `true` if no batch Job is known. For tests.
    #[cfg(test)]
    pub(super) fn has_no_batch_jobs(&self) -> bool {
        self.job_of_batch_job.is_empty() && self.batch_jobs_of.is_empty()
    }
}
