//! How far the watches must have come before a job may be decided on again: as far as its own acknowledged writes.
//!
//! Invariant: no reconcile starts on a view that lacks one of our own writes for that job (UID), in any resource. A mark is
//! a resourceVersion, never an object: what was written and deleted unseen must not block the job.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use common::{JobKey, Uid};
use tokio::time::Instant;

use crate::resource::{ObjectName, Resource};

/// A write that the view must reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Resource.
    pub(crate) resource: Resource,
    /// Object written last in that resource.
    pub(crate) object: ObjectName,
    /// Its resourceVersion as acknowledged.
    pub(crate) rv: u64,
    since: Instant,
}

/// Whether the view lags behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lag {
    /// It does not.
    No,
    /// It does, and the job begins to wait.
    Newly,
    /// It does, and the job waits already.
    Still,
}

/// All marks.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    marks: HashMap<JobKey, (Uid, Vec<Mark>)>,
    waiting: BTreeMap<(Resource, u64), BTreeSet<JobKey>>,
}

impl Watermark {
    /// A write was acknowledged. Of each resource only the youngest matters.
    pub(crate) fn wrote(&mut self, key: &JobKey, uid: &Uid, resource: Resource, object: ObjectName, rv: u64) {
        let (of, marks) = self
            .marks
            .entry(key.clone())
            .or_insert_with(|| (uid.clone(), Vec::new()));
        if of != uid {
            *of = uid.clone();
            marks.clear();
        }
        if let Some(younger) = marks.iter_mut().find(|m| m.resource == resource && m.rv >= rv) {
            // Answers may come in another order than the writes: the view has as long for the last as for the first.
            younger.since = Instant::now();
            return;
        }
        marks.retain(|m| m.resource != resource);
        marks.push(Mark {
            resource,
            object,
            rv,
            since: Instant::now(),
        });
    }

    /// Whether the view lags behind a write for this incarnation of the job; if so, the job waits to be named by
    /// [`Self::advanced`].
    pub(crate) fn lags(&mut self, key: &JobKey, uid: &Uid, reached: impl Fn(Resource) -> u64) -> Lag {
        let Some((of, marks)) = self.marks.get_mut(key) else {
            return Lag::No;
        };
        if of != uid {
            self.marks.remove(key);
            return Lag::No;
        }
        marks.retain(|m| m.rv > reached(m.resource));
        let Some(mark) = marks.first() else {
            self.marks.remove(key);
            return Lag::No;
        };
        let waiting = self.waiting.entry((mark.resource, mark.rv)).or_default();
        if waiting.insert(key.clone()) {
            Lag::Newly
        } else {
            Lag::Still
        }
    }

    /// The watch of a resource has come as far as `rv`: jobs that waited for that.
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

    /// Marks that have stood unmet for longer than `limit`.
    pub(crate) fn overdue(&self, limit: Duration, reached: impl Fn(Resource) -> u64) -> Vec<(JobKey, Mark)> {
        let old = |m: &&Mark| m.since.elapsed() >= limit && m.rv > reached(m.resource);
        let marks = self.marks.iter();
        marks
            .flat_map(|(key, (_, marks))| marks.iter().filter(old).map(|m| (key.clone(), m.clone())))
            .collect()
    }

    /// The object was looked up, or nothing can be learnt about it: the job need not wait for it any more.
    pub(crate) fn settle(&mut self, key: &JobKey, mark: &Mark) {
        if let Some((_, marks)) = self.marks.get_mut(key) {
            marks.retain(|m| m != mark);
        }
    }

    /// The job is gone.
    pub(crate) fn forget(&mut self, key: &JobKey) {
        self.marks.remove(key);
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
        let (mut marks, uid) = (Watermark::default(), Uid::new("J"));
        marks.wrote(&key(), &uid, PODS, object("a"), 10);
        marks.wrote(&key(), &uid, PODS, object("b"), 12);
        marks.wrote(&key(), &uid, PODS, object("a"), 11);
        marks.wrote(&key(), &uid, SERVICES, object("s"), 9);
        assert_ne!(
            marks.lags(&key(), &uid, |r| if r == PODS { 11 } else { 8 }),
            Lag::No
        );
        assert_ne!(
            marks.lags(&key(), &uid, |r| if r == PODS { 12 } else { 8 }),
            Lag::No
        );
        assert_eq!(
            marks.lags(&key(), &uid, |r| if r == PODS { 12 } else { 9 }),
            Lag::No
        );
        assert_eq!(
            marks.lags(&key(), &uid, |_| 0),
            Lag::No,
            "what was met once stays met"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_named_as_soon_as_the_watch_is_there_and_only_once() {
        let (mut marks, uid) = (Watermark::default(), Uid::new("J"));
        marks.wrote(&key(), &uid, PODS, object("a"), 10);
        assert_ne!(marks.lags(&key(), &uid, |_| 0), Lag::No);
        assert!(marks.advanced(PODS, 9).is_empty());
        assert!(marks.advanced(SERVICES, 99).is_empty());
        assert_eq!(marks.advanced(PODS, 10).len(), 1);
        assert!(marks.advanced(PODS, 11).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_job_of_the_name_does_not_wait_for_writes_of_the_last() {
        let mut marks = Watermark::default();
        marks.wrote(&key(), &Uid::new("J1"), PODS, object("a"), 10);
        assert_eq!(marks.lags(&key(), &Uid::new("J2"), |_| 0), Lag::No);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_stays_invisible_does_not_block_for_good() {
        let (mut marks, uid, limit) = (Watermark::default(), Uid::new("J"), Duration::from_secs(5));
        marks.wrote(&key(), &uid, PODS, object("a"), 10);
        assert!(marks.overdue(limit, |_| 0).is_empty());
        tokio::time::advance(limit).await;
        let overdue = marks.overdue(limit, |_| 0);
        assert_eq!(overdue[0].1.object, object("a"));
        marks.settle(&key(), &overdue[0].1);
        assert_eq!(marks.lags(&key(), &uid, |_| 0), Lag::No);
    }

    /// Storm 468: a Service whose answer was late was made again at once, since the wait had begun with another's.
    #[tokio::test(start_paused = true)]
    async fn the_wait_begins_with_the_last_answer_whatever_its_version() {
        let (mut marks, uid, limit) = (Watermark::default(), Uid::new("J"), Duration::from_secs(5));
        marks.wrote(&key(), &uid, SERVICES, object("b"), 11);
        tokio::time::advance(limit).await;
        marks.wrote(&key(), &uid, SERVICES, object("a"), 10);
        assert!(marks.overdue(limit, |_| 0).is_empty());
        tokio::time::advance(limit).await;
        let overdue = marks.overdue(limit, |_| 0);
        assert_eq!(overdue.len(), 1);
        assert_eq!(overdue[0].1.rv, 11);
    }
}
