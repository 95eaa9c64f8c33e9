//! Watermarks: how far the watches must have come before a job may be reconciled again, namely as far as the acknowledged
//! writes for that job. They stand in the place of what other controllers call "expectations" (see KEP-5647, "staleness").
//!
//! Invariant: no reconcile starts on a view that lacks an acknowledged write for that job (UID), in any resource. A
//! watermark is a resourceVersion, never an object: an object that was created and deleted unseen must not block the job.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use common::{JobKey, Uid};
use tokio::time::Instant;

use crate::resource::{ObjectName, Resource};

/// The version that the view of one resource must reach for one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// Resource.
    pub(crate) resource: Resource,
    /// Object written last in that resource.
    pub(crate) object: ObjectName,
    /// Its resourceVersion as acknowledged.
    pub(crate) rv: u64,
    since: Instant,
}

/// Staleness of the view for one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Staleness {
    /// The view shows all acknowledged writes.
    UpToDate,
    /// The view is stale, and the job begins to wait.
    NewlyStale,
    /// The view is stale, and the job waits already.
    StillStale,
}

/// All watermarks.
#[derive(Debug, Default)]
pub(crate) struct Watermarks {
    by_job: HashMap<JobKey, (Uid, Vec<Watermark>)>,
    waiting: BTreeMap<(Resource, u64), BTreeSet<JobKey>>,
}

impl Watermarks {
    /// Notes an acknowledged write. Only the youngest write of each resource matters.
    pub(crate) fn wrote(&mut self, key: &JobKey, uid: &Uid, resource: Resource, object: ObjectName, rv: u64) {
        let (of, watermarks) = self
            .by_job
            .entry(key.clone())
            .or_insert_with(|| (uid.clone(), Vec::new()));
        if of != uid {
            *of = uid.clone();
            watermarks.clear();
        }
        let younger = watermarks
            .iter_mut()
            .find(|w| w.resource == resource && w.rv >= rv);
        if let Some(younger) = younger {
            // Responses may arrive in another order than the writes: the view has as long for the last as for the first.
            younger.since = Instant::now();
            return;
        }
        watermarks.retain(|w| w.resource != resource);
        watermarks.push(Watermark {
            resource,
            object,
            rv,
            since: Instant::now(),
        });
    }

    /// Staleness of the view for this incarnation of the job. If the view is stale, the job waits until
    /// [`Self::advanced`] returns its key.
    pub(crate) fn staleness(
        &mut self,
        key: &JobKey,
        uid: &Uid,
        reached: impl Fn(Resource) -> u64,
    ) -> Staleness {
        let Some((of, watermarks)) = self.by_job.get_mut(key) else {
            return Staleness::UpToDate;
        };
        if of != uid {
            self.by_job.remove(key);
            return Staleness::UpToDate;
        }
        watermarks.retain(|w| w.rv > reached(w.resource));
        let Some(first) = watermarks.first() else {
            self.by_job.remove(key);
            return Staleness::UpToDate;
        };
        let waiting = self.waiting.entry((first.resource, first.rv)).or_default();
        if waiting.insert(key.clone()) {
            Staleness::NewlyStale
        } else {
            Staleness::StillStale
        }
    }

    /// Notes that the watch of a resource has come as far as `rv`. Returns the jobs that waited for that.
    pub(crate) fn advanced(&mut self, resource: Resource, rv: u64) -> BTreeSet<JobKey> {
        let met: Vec<_> = self
            .waiting
            .range((resource, 0)..=(resource, rv))
            .map(|(at, _)| *at)
            .collect();
        met.iter()
            .filter_map(|at| self.waiting.remove(at))
            .flatten()
            .collect()
    }

    /// Watermarks that the view has not reached for longer than `limit`.
    pub(crate) fn overdue(
        &self,
        limit: Duration,
        reached: impl Fn(Resource) -> u64,
    ) -> Vec<(JobKey, Watermark)> {
        let old = |w: &&Watermark| w.since.elapsed() >= limit && w.rv > reached(w.resource);
        let jobs = self.by_job.iter();
        jobs.flat_map(|(key, (_, watermarks))| {
            watermarks.iter().filter(old).map(|w| (key.clone(), w.clone()))
        })
        .collect()
    }

    /// Removes a watermark whose object was looked up: the job need not wait for it any more.
    pub(crate) fn settle(&mut self, key: &JobKey, watermark: &Watermark) {
        if let Some((_, watermarks)) = self.by_job.get_mut(key) {
            watermarks.retain(|w| w != watermark);
        }
    }

    /// Removes the watermarks of a job that is gone.
    pub(crate) fn forget(&mut self, key: &JobKey) {
        self.by_job.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{PODS, SERVICES};

    fn key() -> JobKey {
        JobKey {
            kind: "TestJob",
            namespace: "ns".into(),
            name: "j".into(),
        }
    }

    fn object(name: &str) -> ObjectName {
        ObjectName::new("ns", name)
    }

    #[tokio::test(start_paused = true)]
    async fn all_resources_must_have_come_as_far_as_the_youngest_write() {
        let (mut watermarks, uid) = (Watermarks::default(), Uid::new("J"));
        watermarks.wrote(&key(), &uid, PODS, object("a"), 10);
        watermarks.wrote(&key(), &uid, PODS, object("b"), 12);
        watermarks.wrote(&key(), &uid, PODS, object("a"), 11);
        watermarks.wrote(&key(), &uid, SERVICES, object("s"), 9);
        assert_ne!(
            watermarks.staleness(&key(), &uid, |r| if r == PODS { 11 } else { 8 }),
            Staleness::UpToDate
        );
        assert_ne!(
            watermarks.staleness(&key(), &uid, |r| if r == PODS { 12 } else { 8 }),
            Staleness::UpToDate
        );
        assert_eq!(
            watermarks.staleness(&key(), &uid, |r| if r == PODS { 12 } else { 9 }),
            Staleness::UpToDate
        );
        assert_eq!(
            watermarks.staleness(&key(), &uid, |_| 0),
            Staleness::UpToDate,
            "a watermark that was reached once stays reached"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_job_is_returned_once_when_the_watch_has_caught_up() {
        let (mut watermarks, uid) = (Watermarks::default(), Uid::new("J"));
        watermarks.wrote(&key(), &uid, PODS, object("a"), 10);
        assert_ne!(watermarks.staleness(&key(), &uid, |_| 0), Staleness::UpToDate);
        assert!(watermarks.advanced(PODS, 9).is_empty());
        assert!(watermarks.advanced(SERVICES, 99).is_empty());
        assert_eq!(watermarks.advanced(PODS, 10).len(), 1);
        assert!(watermarks.advanced(PODS, 11).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_job_of_the_name_does_not_wait_for_writes_of_the_last() {
        let mut watermarks = Watermarks::default();
        watermarks.wrote(&key(), &Uid::new("J1"), PODS, object("a"), 10);
        assert_eq!(
            watermarks.staleness(&key(), &Uid::new("J2"), |_| 0),
            Staleness::UpToDate
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_stays_invisible_does_not_block_for_good() {
        let (mut watermarks, uid, limit) = (Watermarks::default(), Uid::new("J"), Duration::from_secs(5));
        watermarks.wrote(&key(), &uid, PODS, object("a"), 10);
        assert!(watermarks.overdue(limit, |_| 0).is_empty());
        tokio::time::advance(limit).await;
        let overdue = watermarks.overdue(limit, |_| 0);
        assert_eq!(overdue[0].1.object, object("a"));
        watermarks.settle(&key(), &overdue[0].1);
        assert_eq!(watermarks.staleness(&key(), &uid, |_| 0), Staleness::UpToDate);
    }

    /// Chaos run 468: a Service whose response was late was created again at once, since the wait had begun with another's.
    #[tokio::test(start_paused = true)]
    async fn the_wait_begins_with_the_last_answer_whatever_its_version() {
        let (mut watermarks, uid, limit) = (Watermarks::default(), Uid::new("J"), Duration::from_secs(5));
        watermarks.wrote(&key(), &uid, SERVICES, object("b"), 11);
        tokio::time::advance(limit).await;
        watermarks.wrote(&key(), &uid, SERVICES, object("a"), 10);
        assert!(watermarks.overdue(limit, |_| 0).is_empty());
        tokio::time::advance(limit).await;
        let overdue = watermarks.overdue(limit, |_| 0);
        assert_eq!(overdue.len(), 1);
        assert_eq!(overdue[0].1.rv, 11);
    }
}
