//! Batch Jobs and their controller.

use k8s_openapi::api::batch::v1::Job;

use super::world::view;
use super::{World, gang};
use crate::names::{Attempt, Uid};
use crate::observe::{BatchEnd, BatchJobView, Phase, PodView, Vanished};

impl World {
    /// One round of the controller of batch Jobs: counts failed pods, retries, sets the end. Called by each event of pods.
    pub(super) fn control_batch_jobs(&mut self) {
        let at = Some(self.now);
        for job in self
            .batch_jobs
            .iter_mut()
            .filter(|job| job.end.is_none() && !job.deleting)
        {
            let pods: Vec<&PodView> = self
                .batch_pods
                .iter()
                .filter(|(owner, _)| *owner == job.uid)
                .map(|(_, pod)| pod)
                .collect();
            let failed = pods.iter().filter(|pod| pod.phase == Phase::Failed).count();
            job.failed = job.failed.max(u32::try_from(failed).unwrap_or(u32::MAX));
            let limit = self.batch_limits.get(&job.uid).copied().unwrap_or(6);
            let end = |succeeded, reason: &str, message: &str| {
                let (reason, message) = (reason.into(), message.into());
                Some(Box::new(BatchEnd {
                    succeeded,
                    reason,
                    message,
                    at,
                }))
            };
            if pods.iter().any(|pod| pod.phase == Phase::Succeeded) {
                job.end = end(
                    true,
                    "CompletionsReached",
                    "Reached expected number of succeeded pods",
                );
            } else if job.failed > limit {
                job.end = end(
                    false,
                    "BackoffLimitExceeded",
                    "Job has reached the specified backoff limit",
                );
            } else if pods.iter().all(|pod| pod.phase == Phase::Failed) {
                self.serial += 1;
                let (name, uid) = (
                    format!("{}-x{}", job.name, self.serial),
                    format!("pod-{}", self.serial),
                );
                self.batch_pods
                    .push((job.uid.clone(), view(&name, &uid, job.attempt)));
            }
        }
    }

    /// The batch Job of this name ends.
    ///
    /// # Panics
    /// If there is no such batch Job.
    #[expect(clippy::panic, reason = "a test's own input")]
    pub fn end_batch_job(&mut self, name: &str, succeeded: bool, reason: &str, message: &str) {
        let at = Some(self.now);
        let job = self.batch_jobs.iter_mut().find(|j| *j.name == *name);
        let job = job.unwrap_or_else(|| panic!("no batch job {name}"));
        job.end = Some(Box::new(BatchEnd {
            succeeded,
            reason: reason.into(),
            message: message.into(),
            at,
        }));
    }

    /// A user deletes a batch Job; its pods terminate after it.
    pub(super) fn vanish_batch_job(&mut self, at: usize) {
        let job = self.batch_jobs.remove(at);
        for (_, pod) in self.batch_pods.iter_mut().filter(|(owner, _)| *owner == job.uid) {
            pod.deleting = true;
        }
        if !self.deleted.contains(&job.uid) {
            self.vanished.push(Vanished {
                name: job.name,
                attempt: job.attempt,
                restarts: job.failed,
                succeeded: job.end.is_some_and(|end| end.succeeded),
            });
        }
    }

    /// Deleted batch Jobs go once their pods are gone.
    pub(super) fn reap_batch_jobs(&mut self) {
        let pods = &self.batch_pods;
        self.batch_jobs
            .retain(|job| !job.deleting || pods.iter().any(|(owner, _)| *owner == job.uid));
    }

    /// Creates a batch Job and its first pod.
    pub(super) fn create_batch_job(&mut self, uid: Uid, attempt: Attempt, job: &Job) {
        let name = job.metadata.name.clone().unwrap_or_default();
        self.created.push((name.clone(), attempt));
        let limit = job.spec.as_ref().and_then(|spec| spec.backoff_limit);
        let limit = limit.and_then(|limit| u32::try_from(limit).ok());
        self.batch_limits.insert(uid.clone(), limit.unwrap_or(6));
        let mut pod = view(
            &format!("{name}-x{}", self.serial),
            &format!("pod-{uid}"),
            attempt,
        );
        let template = job.spec.as_ref().map(|spec| &spec.template);
        pod.gang = template.and_then(|t| gang::of(t.metadata.as_ref()?, t.spec.as_ref()));
        self.batch_pods.push((uid.clone(), pod));
        self.batch_jobs.push(BatchJobView {
            name: name.into(),
            uid,
            attempt,
            deleting: false,
            failed: 0,
            end: None,
        });
    }

    /// Deletes a batch Job; its pods terminate.
    pub(super) fn delete_batch_job(&mut self, name: &str, uid: &Uid) {
        self.deleted.push(uid.clone());
        for job in self
            .batch_jobs
            .iter_mut()
            .filter(|j| *j.name == *name && j.uid == *uid)
        {
            job.deleting = true;
        }
        for (_, pod) in self.batch_pods.iter_mut().filter(|(owner, _)| owner == uid) {
            pod.deleting = true;
        }
    }
}
