//! Record of one incarnation of a job between its reconciles. All of it may be lost: a crash costs a look-up, a repeated event or an
//! earlier retry, never a wrong decision.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use common::observe::{Refusal, Vanished};
use common::plan::WriteClass;
use common::{RawJob, Uid};
use tokio::time::Instant;

use crate::backoff;
use crate::node_readiness::GoneNodes;

/// Shortest time between two status writes without status_is_urgent changes.
const QUIET: Duration = Duration::from_secs(1);

/// Writes that must not be tried yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldWrites {
    /// Class of the writes. Later classes are not tried either.
    pub(crate) class: WriteClass,
    /// Time before which they are not tried again, unless the job is changed or the name becomes free.
    pub(crate) until: Instant,
}

/// A class of writes that was refused.
#[derive(Debug)]
struct Hold {
    held: HeldWrites,
    refusals: Vec<Refusal>,
    failures: u32,
    job: Arc<RawJob>,
}

/// Pace at which refused writes are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Delay after the first refusal, doubled with each further one.
    pub(crate) first: Duration,
    /// Longest delay.
    pub(crate) max: Duration,
    /// Shortest delay, as the API server asked for.
    pub(crate) not_before: Duration,
}

/// Record of one job.
#[derive(Debug)]
pub(crate) struct Record {
    /// UID of the incarnation.
    pub(crate) uid: Uid,
    vanished: Vec<Vanished>,
    own_deletes: HashSet<Uid>,
    hold: Option<Hold>,
    last_status: Option<Instant>,
    ensured: HashMap<(&'static str, Box<str>), (u64, Instant)>,
    /// Nodes with pods of the job that are gone, with the time at which that was found.
    pub(crate) gone_nodes: GoneNodes,
}

impl Record {
    /// Creates an empty record.
    pub(crate) fn new(uid: Uid) -> Self {
        Self {
            uid,
            vanished: Vec::new(),
            own_deletes: HashSet::new(),
            hold: None,
            last_status: None,
            ensured: HashMap::new(),
            gone_nodes: GoneNodes::new(),
        }
    }

    /// Pods that vanished since the last acknowledged status.
    pub(crate) fn vanished(&self) -> &[Vanished] {
        &self.vanished
    }

    /// Refused writes, for the next reconcile.
    pub(crate) fn refusals(&self) -> &[Refusal] {
        self.hold.as_ref().map_or(&[], |hold| &hold.refusals)
    }

    /// Writes that must not be tried yet.
    pub(crate) fn held_writes(&self, job: &RawJob) -> Option<HeldWrites> {
        let Hold { held, job: of, .. } = self.hold.as_ref()?;
        (held.until > Instant::now() && of.spec == job.spec).then_some(*held)
    }

    /// Notes that a class of writes was refused. Returns the time of the next try.
    pub(crate) fn refused(
        &mut self,
        job: &Arc<RawJob>,
        class: WriteClass,
        refusals: Vec<Refusal>,
        pace: Pace,
    ) -> Instant {
        let before = self
            .hold
            .take()
            .filter(|h| h.held.class == class && h.job.spec == job.spec);
        let failures = before.map_or(1, |h| h.failures.saturating_add(1));
        let until = Instant::now() + backoff::delay(pace.first, pace.max, failures).max(pace.not_before);
        self.hold = Some(Hold {
            held: HeldWrites { class, until },
            refusals,
            failures,
            job: Arc::clone(job),
        });
        until
    }

    /// Notes that all writes succeeded.
    pub(crate) fn writes_succeeded(&mut self) {
        self.hold = None;
    }

    /// Notes that a name that was taken is free.
    pub(crate) fn unblocked(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.held.until = Instant::now();
        }
    }

    /// Notes that a delete of ours is about to be sent.
    pub(crate) fn deleting(&mut self, pod: &Uid) {
        self.own_deletes.insert(pod.clone());
    }

    /// Notes that the delete was refused.
    pub(crate) fn not_deleted(&mut self, pod: &Uid) {
        self.own_deletes.remove(pod);
    }

    /// Notes that a pod or batch Job is gone. If we did not delete it, the next reconcile must know, and has no other source.
    pub(crate) fn gone(&mut self, uid: &Uid, vanished: Vanished) {
        if self.own_deletes.remove(uid) {
            return;
        }
        self.vanished.retain(|v| v.name != vanished.name);
        self.vanished.push(vanished);
    }

    /// Returns `true` if an object with this digest of its content was created or checked within the last `age`.
    pub(crate) fn is_ensured(&self, id: (&'static str, &str), digest: u64, age: Duration) -> bool {
        let known = self.ensured.get(&(id.0, id.1.into()));
        known.is_some_and(|(is, since)| *is == digest && since.elapsed() < age)
    }

    /// Notes that an object has the content with this digest.
    pub(crate) fn ensured(&mut self, id: (&'static str, &str), digest: u64) {
        self.ensured.insert((id.0, id.1.into()), (digest, Instant::now()));
    }

    /// Time that a status without status_is_urgent changes has to wait.
    pub(crate) fn quiet_for(&self) -> Option<Duration> {
        let left = QUIET.saturating_sub(self.last_status?.elapsed());
        (!left.is_zero()).then_some(left)
    }

    /// Notes that a status is stored that takes account of `shown`.
    pub(crate) fn reported(&mut self, shown: &[Vanished], written: bool) {
        self.vanished.retain(|v| !shown.contains(v));
        if written {
            self.last_status = Some(Instant::now());
        }
    }
}
