//! What this process knows, behind one lock: the view, the watermark, a record per job; and whom to wake.
//!
//! The lock is held for look-ups and index changes only, never across a request. Every record is keyed by job and UID:
//! nothing that was learnt of one incarnation is held against the next.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::observe::{Refusal, Vanished};
use common::plan::WriteClass;
use common::{JobKey, Observed, RawJob, Uid};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::observe::observe;
use crate::queue::Queue;
use crate::record::{Pace, Record};
use crate::resource::{NODES, ObjectName, Resource};
use crate::view::{Effects, Removed, Object, StaleList, View};
use crate::watermark::{Staleness, Watermark, Watermarks};

/// An acknowledged write that the watches have not shown for so long is looked up.
const INVISIBLE: Duration = Duration::from_secs(5);

/// All that one reconcile works with.
#[derive(Debug)]
pub(crate) struct Reconcile {
    /// What the decision sees.
    pub(crate) observed: Observed,
    /// Whether the job had ended already.
    pub(crate) finished: bool,
    /// Writes that must not be tried yet.
    pub(crate) hold: Option<(WriteClass, Instant)>,
    /// How long a status that tells nothing urgent has to wait.
    pub(crate) quiet_for: Option<Duration>,
}

impl Reconcile {
    /// The job.
    pub(crate) fn job(&self) -> &Arc<RawJob> {
        &self.observed.job
    }
}

/// Whether there is something to decide.
#[derive(Debug)]
pub(crate) enum Start {
    /// There is no such job, or it is on its way out.
    Gone,
    /// The watches have not shown our own writes yet; the job will be woken when they have.
    Deferred,
    /// Yes.
    Go(Box<Reconcile>),
}

#[derive(Debug, Default)]
struct Inner {
    view: View,
    watermarks: Watermarks,
    records: HashMap<JobKey, Record>,
    blocked: HashMap<(Resource, ObjectName), BTreeSet<JobKey>>,
}

/// What this process knows.
#[derive(Debug)]
pub(crate) struct State {
    inner: Mutex<Inner>,
    queue: Queue<JobKey>,
    metrics: Metrics,
    clock: Clock,
}

impl State {
    /// Nothing is known yet.
    pub(crate) fn new(view: View, metrics: Metrics, clock: Clock) -> Self {
        Self {
            inner: Mutex::new(Inner {
                view,
                ..Inner::default()
            }),
            queue: Queue::new(),
            metrics,
            clock,
        }
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The queue of jobs to look at.
    pub(crate) fn queue(&self) -> &Queue<JobKey> {
        &self.queue
    }

    /// Number of jobs, pods and services held.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        self.lock().view.sizes()
    }

    // ---- what the watches say

    /// An object is there.
    pub(crate) fn put(&self, resource: Resource, object: Object) {
        let mut inner = self.lock();
        let rv = object.rv();
        let effects = inner.view.put(object);
        self.apply_effects(&mut inner, effects);
        self.advance(&mut inner, resource, rv);
    }

    /// An object was deleted.
    pub(crate) fn remove(&self, resource: Resource, object: &Object) {
        let mut inner = self.lock();
        let effects = inner.view.remove(object);
        self.apply_effects(&mut inner, effects);
        self.advance(&mut inner, resource, object.rv());
    }

    /// The watch of a resource has come this far.
    pub(crate) fn bookmark(&self, resource: Resource, rv: u64) {
        self.advance(&mut self.lock(), resource, rv);
    }

    /// A full list.
    ///
    /// # Errors
    /// If it is older than what is known.
    pub(crate) fn replace(&self, resource: Resource, list: Vec<Object>, rv: u64) -> Result<(), StaleList> {
        let mut inner = self.lock();
        let effects = inner.view.replace(resource, list, rv)?;
        self.apply_effects(&mut inner, effects);
        self.advance(&mut inner, resource, rv);
        Ok(())
    }

    /// The store itself has gone back: the next list counts, whatever its version.
    pub(crate) fn forget_version(&self, resource: Resource) {
        self.lock().view.forget_version(resource);
    }

    fn advance(&self, inner: &mut Inner, resource: Resource, rv: u64) {
        inner.view.advance(resource, rv);
        if resource == NODES {
            let effects = inner.view.node_watch_progressed(self.now());
            self.apply_effects(inner, effects);
        }
        for key in inner.watermarks.advanced(resource, rv) {
            self.requeue(inner, &key);
        }
    }

    fn apply_effects(&self, inner: &mut Inner, effects: Effects) {
        let Effects {
            touched,
            ended,
            freed,
            removed,
        } = effects;
        for (key, Removed { owner, uid, vanished }) in removed {
            inner.record(&key, &owner).gone(&uid, vanished);
        }
        for key in &ended {
            inner.forget(key);
        }
        for name in freed {
            for key in inner.blocked.remove(&name).into_iter().flatten() {
                if let Some(record) = inner.records.get_mut(&key) {
                    record.unblocked();
                }
                self.requeue(inner, &key);
            }
        }
        for key in touched {
            self.requeue(inner, &key);
        }
    }

    /// Finished jobs come after the others: they cost one cheap reconcile, and nobody waits for it.
    fn requeue(&self, inner: &mut Inner, key: &JobKey) {
        let job = inner.view.job(key).map(|job| (job.uid.clone(), job.finished));
        let Some((uid, finished)) = job else { return };
        if self.is_stale(inner, key, &uid) {
            return;
        }
        if finished {
            self.queue.enqueue_low_priority(key);
        } else {
            self.queue.enqueue(key);
        }
    }

    fn is_stale(&self, inner: &mut Inner, key: &JobKey, uid: &Uid) -> bool {
        let Inner { view, watermarks, .. } = inner;
        let staleness = watermarks.staleness(key, uid, |resource| view.reached(resource));
        if staleness == Staleness::NewlyStale {
            self.metrics.deferred();
        }
        staleness != Staleness::UpToDate
    }

    // ---- what a reconcile asks and tells

    /// Begins a reconcile.
    pub(crate) fn begin(&self, key: &JobKey) -> Start {
        let now = self.now();
        let mut inner = self.lock();
        let Some(job) = inner.view.job(key).filter(|job| !job.deleting) else {
            inner.forget(key);
            return Start::Gone;
        };
        let (finished, job) = (job.finished, Arc::new(job.raw()));
        if self.is_stale(&mut inner, key, &job.uid) {
            return Start::Deferred;
        }
        inner.record(key, &job.uid);
        let Inner { view, records, .. } = &mut *inner;
        let Some(record) = records.get_mut(key) else {
            return Start::Gone;
        };
        let reconcile = Reconcile {
            observed: observe(now, view, record, &job),
            finished,
            hold: record.hold(&job),
            quiet_for: record.quiet_for(),
        };
        Start::Go(Box::new(reconcile))
    }

    /// A write for a job was acknowledged.
    pub(crate) fn wrote(&self, job: &RawJob, resource: Resource, object: ObjectName, rv: u64) {
        let mut inner = self.lock();
        if inner.knows(job) {
            inner.watermarks.wrote(&job.key, &job.uid, resource, object, rv);
        }
    }

    /// Changes what is remembered of a job.
    pub(crate) fn remember<T>(&self, job: &RawJob, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut inner = self.lock();
        if inner.knows(job) {
            change(inner.record(&job.key, &job.uid))
        } else {
            // The job is gone: nobody would ever clear away what is noted of it now.
            change(&mut Record::new(job.uid.clone()))
        }
    }

    /// A class of writes was refused; answers with the time of the next try.
    pub(crate) fn refused(
        &self,
        job: &Arc<RawJob>,
        class: WriteClass,
        refusals: Vec<Refusal>,
        pace: Pace,
    ) -> Instant {
        self.remember(job, |record| record.refused(job, class, refusals, pace))
    }

    /// A status that was made with this knowledge is stored.
    pub(crate) fn reported(&self, job: &RawJob, shown: &[Vanished], written: bool) {
        self.remember(job, |record| record.reported(shown, written));
    }

    /// A pod that an earlier batch Job of this name has left behind.
    pub(crate) fn stranded(&self, batch_job: &ObjectName) -> Option<ObjectName> {
        let prefix = format!("{}-", batch_job.name);
        self.lock().view.stranded(&batch_job.namespace, &prefix)
    }

    /// A job waits for a name to become free.
    pub(crate) fn block(&self, job: &RawJob, resource: Resource, name: ObjectName) {
        let mut inner = self.lock();
        if inner.knows(job) {
            inner
                .blocked
                .entry((resource, name))
                .or_default()
                .insert(job.key.clone());
        }
    }

    // ---- writes that stay invisible

    /// Writes that the watches should have shown long ago.
    pub(crate) fn overdue(&self) -> Vec<(JobKey, Watermark)> {
        let inner = self.lock();
        inner
            .watermarks
            .overdue(INVISIBLE, |resource| inner.view.reached(resource))
    }

    /// Such an object was looked up; `None` if there is none.
    pub(crate) fn looked_up(&self, key: &JobKey, watermark: &Watermark, found: Option<Object>) {
        let mut inner = self.lock();
        let effects = match found {
            // The watch may have overtaken the answer: then it has told all that there was until then, and an object that
            // is not in the view has been deleted since. It would stay there for ever.
            Some(object) if object.rv() <= inner.view.reached(watermark.resource) => Effects::default(),
            Some(object) => inner.view.put(object),
            None => inner.view.absent(watermark.resource, key, &watermark.object, watermark.rv),
        };
        self.apply_effects(&mut inner, effects);
        inner.watermarks.settle(key, watermark);
        self.requeue(&mut inner, key);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether this incarnation of the job is still there.
    fn knows(&self, job: &RawJob) -> bool {
        self.view.job(&job.key).is_some_and(|held| held.uid == job.uid)
    }

    fn record(&mut self, key: &JobKey, uid: &Uid) -> &mut Record {
        let record = self
            .records
            .entry(key.clone())
            .or_insert_with(|| Record::new(uid.clone()));
        if record.uid != *uid {
            *record = Record::new(uid.clone());
        }
        record
    }

    fn forget(&mut self, key: &JobKey) {
        self.records.remove(key);
        self.watermarks.forget(key);
        self.blocked.retain(|_, keys| {
            keys.remove(key);
            !keys.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
