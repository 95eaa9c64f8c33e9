//! Everything this process knows, behind one lock: the view, the watermarks, a record per job; and the requeueing of jobs.
//!
//! The lock is held for look-ups, changes of the index and the reading of one job's spec and status; never across a request.
//! Every record is keyed by job and UID: nothing that was learnt of one incarnation applies to the next.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::observe::{Refusal, Vanished};
use common::plan::WriteClass;
use common::{JobKey, Observed, RawJob, Uid};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::metrics::{Metrics, ObjectCounts};
use crate::object::Object;
use crate::observe::observe;
use crate::queue::Queue;
use crate::record::{HeldWrites, Pace, Record};
use crate::resource::{NODES, ObjectName, Resource};
use crate::view::{Effects, Removed, StaleList, View};
use crate::watermark::{Staleness, Watermark, Watermarks};

/// Time after which an acknowledged write that the watches have not shown is looked up.
const INVISIBLE: Duration = Duration::from_secs(5);

/// Input of one reconcile.
#[derive(Debug)]
pub(crate) struct Reconcile {
    /// Input of the decision.
    pub(crate) observed: Observed,
    /// `true` if the job had finished already.
    pub(crate) finished: bool,
    /// Writes that must not be tried yet.
    pub(crate) held_writes: Option<HeldWrites>,
    /// Time that a status without status_is_urgent changes has to wait.
    pub(crate) quiet_for: Option<Duration>,
}

impl Reconcile {
    /// The job.
    pub(crate) fn job(&self) -> &Arc<RawJob> {
        &self.observed.job
    }
}

/// Start of a reconcile.
#[derive(Debug)]
pub(crate) enum Start {
    /// There is no such job, or it is being deleted.
    Gone,
    /// The watches have not shown our own writes yet. The job is requeued when they have.
    Deferred,
    /// The job can be reconciled.
    Go(Box<Reconcile>),
}

#[derive(Debug, Default)]
struct Inner {
    view: View,
    watermarks: Watermarks,
    records: HashMap<JobKey, Record>,
    /// Jobs that wait for a name to become free.
    blocked: HashMap<(Resource, ObjectName), BTreeSet<JobKey>>,
}

/// Everything this process knows.
#[derive(Debug)]
pub(crate) struct State {
    inner: Mutex<Inner>,
    queue: Queue<JobKey>,
    metrics: Metrics,
    clock: Clock,
}

impl State {
    /// Creates the state of a process that knows nothing yet.
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

    /// The present time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The queue of jobs to reconcile.
    pub(crate) fn queue(&self) -> &Queue<JobKey> {
        &self.queue
    }

    /// Number of objects held.
    pub(crate) fn counts(&self) -> ObjectCounts {
        self.lock().view.counts()
    }

    // ---- called by watches

    /// Stores an object that exists.
    pub(crate) fn put(&self, resource: Resource, object: Object) {
        let mut inner = self.lock();
        let rv = object.rv();
        let effects = inner.view.put(object);
        self.apply_effects(&mut inner, effects);
        self.advance(&mut inner, resource, rv);
    }

    /// Removes an object that was deleted.
    pub(crate) fn remove(&self, resource: Resource, object: &Object) {
        let mut inner = self.lock();
        let effects = inner.view.remove(object);
        self.apply_effects(&mut inner, effects);
        self.advance(&mut inner, resource, object.rv());
    }

    /// Notes that the watch of a resource has reached this version.
    pub(crate) fn bookmark(&self, resource: Resource, rv: u64) {
        self.advance(&mut self.lock(), resource, rv);
    }

    /// Replaces all objects of a resource by a full list.
    ///
    /// # Errors
    /// If the list is older than the view.
    pub(crate) fn replace(&self, resource: Resource, list: Vec<Object>, rv: u64) -> Result<(), StaleList> {
        let mut inner = self.lock();
        let effects = inner.view.replace(resource, list, rv)?;
        self.apply_effects(&mut inner, effects);
        self.advance(&mut inner, resource, rv);
        Ok(())
    }

    /// Accepts any version of the next list: the store itself has gone back.
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

    /// Requeues a job, unless the view is stale for it. Finished jobs have low priority: they need one cheap reconcile, and no
    /// user waits for it.
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

    // ---- called by reconciles

    /// Starts a reconcile.
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
            held_writes: record.held_writes(&job),
            quiet_for: record.quiet_for(),
        };
        Start::Go(Box::new(reconcile))
    }

    /// Notes an acknowledged write for a job.
    pub(crate) fn wrote(&self, job: &RawJob, resource: Resource, object: ObjectName, rv: u64) {
        let mut inner = self.lock();
        if inner.knows(job) {
            inner.watermarks.wrote(&job.key, &job.uid, resource, object, rv);
        }
    }

    /// Changes the record of a job.
    pub(crate) fn remember<T>(&self, job: &RawJob, change: impl FnOnce(&mut Record) -> T) -> T {
        let mut inner = self.lock();
        if inner.knows(job) {
            change(inner.record(&job.key, &job.uid))
        } else {
            // The job is gone: a record that is made now would never be removed.
            change(&mut Record::new(job.uid.clone()))
        }
    }

    /// Notes that a class of writes was refused. Returns the time of the next try.
    pub(crate) fn refused(
        &self,
        job: &Arc<RawJob>,
        class: WriteClass,
        refusals: Vec<Refusal>,
        pace: Pace,
    ) -> Instant {
        self.remember(job, |record| record.refused(job, class, refusals, pace))
    }

    /// Notes that a status is stored that takes account of `shown`.
    pub(crate) fn reported(&self, job: &RawJob, shown: &[Vanished], written: bool) {
        self.remember(job, |record| record.reported(shown, written));
    }

    /// A running pod that an earlier batch Job of this name has left behind.
    pub(crate) fn orphaned_pod(&self, batch_job: &ObjectName) -> Option<ObjectName> {
        let prefix = format!("{}-", batch_job.name);
        self.lock().view.orphaned_pod(&batch_job.namespace, &prefix)
    }

    /// Lets a job wait for a name to become free.
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

    // ---- called by look-ups of writes that stay invisible

    /// Writes that the watches should have shown by now.
    pub(crate) fn overdue(&self) -> Vec<(JobKey, Watermark)> {
        let inner = self.lock();
        inner
            .watermarks
            .overdue(INVISIBLE, |resource| inner.view.reached(resource))
    }

    /// Takes account of a look-up; `found` is `None` if there is no such object.
    pub(crate) fn looked_up(&self, key: &JobKey, watermark: &Watermark, found: Option<Object>) {
        let mut inner = self.lock();
        let effects = match found {
            // The watch may have overtaken the response. Then it has shown all that existed until then, and an object that is not
            // in the view has been deleted since. If it were stored now, it would stay in the view forever.
            Some(object) if object.rv() <= inner.view.reached(watermark.resource) => Effects::default(),
            Some(object) => inner.view.put(object),
            None => inner
                .view
                .absent(watermark.resource, &watermark.object, watermark.rv),
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
    /// Returns `true` if this incarnation of the job still exists.
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
