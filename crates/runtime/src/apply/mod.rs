//! From [`Plan`] to requests: the only place that writes jobs and their objects.
//!
//! Invariants:
//! * The intent is stored before anything else is sent.
//! * Classes of writes are sent in order, and none after a class that failed. Writes that succeeded are kept.
//! * The status is stored even after a failed class, conditional on the version that was decided on.
//! * Events and counters come after the status.

mod context;
mod ensure;
mod fan_out;
mod status_writer;
mod target;
mod write;

use std::time::Duration;

use common::observe::RefusalCause;
use common::plan::{Counter, WriteClass};
use common::{Event, KindInfo, Plan, RawJob, Write};
use tokio::time::Instant;

use crate::metrics::ReconcileOutcome;
use crate::queue::Requeue;
use crate::record::{HeldWrites, Pace, Record};
use crate::response::{RequestError, RetryClass};
use crate::state::Reconcile;

pub(crate) use self::context::ApplyContext;

use self::status_writer::{Reported, StatusWriter};
use self::target::FailedWrite;

/// Result of a reconcile.
#[derive(Debug)]
pub(crate) struct ReconcileResult {
    /// For the metrics.
    pub(crate) outcome: ReconcileOutcome,
    /// For the queue.
    pub(crate) requeue: Requeue,
}

/// Result of the writes of a plan.
#[derive(Debug)]
enum Sent {
    /// All writes succeeded, or there were none.
    All,
    /// Some writes must not be tried yet.
    Held(HeldWrites),
    /// A class was refused, and is tried again at this time.
    Refused {
        class: WriteClass,
        until: Instant,
        /// `true` if the last status does not report the refusal yet.
        unreported: bool,
        outcome: ReconcileOutcome,
    },
    /// This process must not write any more.
    NotLeader,
}

impl Sent {
    /// Returns `true` if all writes up to the pods succeeded: events about them are sent without those after them.
    fn has_pods(&self) -> bool {
        match self {
            Self::All => true,
            Self::Held(HeldWrites { class, .. }) | Self::Refused { class, .. } => *class > WriteClass::Pods,
            Self::NotLeader => false,
        }
    }
}

/// Applies a plan.
pub(crate) async fn apply(
    ctx: &ApplyContext,
    kind: &'static KindInfo,
    reconcile: &Reconcile,
    plan: Plan,
) -> ReconcileResult {
    let Plan {
        intent,
        writes,
        status,
        keeps_vanished,
        status_is_urgent,
        events,
        counters,
        requeue_at,
    } = plan;
    let mut status_writer = StatusWriter::new(reconcile.job(), keeps_vanished);
    if let Some(intent) = &intent
        && let Err(error) = status_writer.store(ctx, kind, reconcile, intent).await
    {
        return ReconcileResult::of_status(&error);
    }
    let makes_pods = writes.iter().any(|write| write.class() == WriteClass::Pods);
    let sent = send(ctx, kind, reconcile, writes, makes_pods).await;
    if matches!(sent, Sent::NotLeader) {
        return ReconcileResult {
            outcome: ReconcileOutcome::transient,
            requeue: Requeue::Backoff(Duration::from_secs(1)),
        };
    }
    let complete = matches!(sent, Sent::All);
    // The plan was made to report refusals that are over now: reconcile again instead.
    let over = complete && intent.is_none() && !reconcile.observed.refusals.is_empty();
    let status_is_urgent = status_is_urgent || !events.is_empty() || !counters.is_empty();
    let reported = match status {
        Some(_) if over => Ok(Reported::Later(Duration::ZERO)),
        // Pods before statuses: while other jobs wait for their pods, the reconcile that sees these pods reports them.
        Some(status)
            if complete && makes_pods && ctx.state.queue().depth() > 0 && !status_writer.says(&status) =>
        {
            Ok(Reported::Later(Duration::ZERO))
        }
        Some(status) => {
            status_writer
                .report(ctx, kind, reconcile, &status, status_is_urgent)
                .await
        }
        None if complete => Ok(Reported::Now),
        None => Ok(Reported::WithWrites),
    };
    let reported = match reported {
        Ok(reported) => reported,
        Err(error) => return ReconcileResult::of_status(&error),
    };
    emit(
        ctx,
        kind,
        reconcile.job(),
        &events,
        counters,
        reported,
        sent.has_pods(),
    );
    let requeue_at = requeue_at.map(|at| until(reconcile.observed.now, at));
    ReconcileResult::of_writes(&sent, [requeue_at, reported.again()].into_iter().flatten().min())
}

/// Sends the events and counts the transitions of a plan: events about writes after those writes (`written`), all others after
/// the status.
fn emit(
    ctx: &ApplyContext,
    kind: &KindInfo,
    job: &RawJob,
    events: &[Event],
    counters: Vec<Counter>,
    reported: Reported,
    written: bool,
) {
    let is_stored = reported == Reported::Now;
    let may_send = |event: &&Event| if event.of_writes { written } else { is_stored };
    for event in events.iter().filter(may_send) {
        ctx.events.send(kind, job, event);
    }
    if is_stored {
        for counter in counters {
            ctx.metrics.job(counter, &job.key.namespace, kind.framework);
        }
    }
}

fn until(now: jiff::Timestamp, at: jiff::Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

impl ReconcileResult {
    /// Result of a reconcile whose status was not stored.
    fn of_status(error: &RequestError) -> Self {
        // The job was deleted or changed meanwhile: its event is on the way.
        if error.is_not_found() || error.class() == RetryClass::Conflict {
            tracing::debug!(%error, "job has changed meanwhile");
            return Self {
                outcome: ReconcileOutcome::conflict,
                requeue: Requeue::Backoff(Duration::ZERO),
            };
        }
        tracing::warn!(%error, "status could not be stored");
        Self {
            outcome: outcome(error.class()),
            requeue: Requeue::Backoff(error.retry_after().unwrap_or_default()),
        }
    }

    /// Result of a reconcile with these writes, which is due again after `again` at the latest.
    fn of_writes(sent: &Sent, again: Option<Duration>) -> Self {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let (outcome, retry) = match sent {
            Sent::All | Sent::NotLeader => (ReconcileOutcome::ok, None),
            Sent::Held(HeldWrites { until, .. }) => (ReconcileOutcome::ok, Some(left(*until))),
            // A new refusal is reported at once, by a reconcile that sends no writes.
            Sent::Refused {
                unreported: true,
                outcome,
                ..
            } => (*outcome, Some(Duration::ZERO)),
            Sent::Refused { until, outcome, .. } => (*outcome, Some(left(*until))),
        };
        Self {
            outcome,
            requeue: Requeue::After([retry, again].into_iter().flatten().min()),
        }
    }
}

fn outcome(class: RetryClass) -> ReconcileOutcome {
    match class {
        RetryClass::Transient => ReconcileOutcome::transient,
        RetryClass::Conflict => ReconcileOutcome::conflict,
        RetryClass::Forbidden => ReconcileOutcome::forbidden,
        RetryClass::Invalid => ReconcileOutcome::invalid,
    }
}

/// Sends the writes class by class.
async fn send(
    ctx: &ApplyContext,
    kind: &'static KindInfo,
    reconcile: &Reconcile,
    writes: Vec<Write>,
    makes_pods: bool,
) -> Sent {
    let mut writes = writes.into_iter().peekable();
    while let Some(class) = writes.peek().map(Write::class) {
        if let Some(held) = reconcile.held_writes.filter(|held| held.class <= class) {
            return Sent::Held(held);
        }
        let mut of_class = Vec::new();
        while let Some(write) = writes.next_if(|w| w.class() == class) {
            of_class.push(write);
        }
        let requests = of_class
            .iter()
            .map(|write| write::send(ctx, kind, reconcile.job(), write, makes_pods));
        let window = if class == WriteClass::Pods {
            1
        } else {
            fan_out::WIDEST
        };
        let failed = fan_out::fan_out(requests, window).await;
        if !failed.is_empty() {
            return refused(ctx, reconcile, class, failed);
        }
    }
    ctx.state.remember(reconcile.job(), Record::writes_succeeded);
    Sent::All
}

/// Notes the refusals of a class of writes.
fn refused(ctx: &ApplyContext, reconcile: &Reconcile, class: WriteClass, failed: Vec<FailedWrite>) -> Sent {
    if failed.iter().any(|f| f.not_leader) {
        return Sent::NotLeader;
    }
    let pace = failed.iter().map(|f| f.pace).reduce(slower);
    let retry_class = failed.iter().map(|f| f.class).max_by_key(|class| *class as u8);
    let mut known = reconcile.observed.refusals.iter();
    let unreported = failed.iter().any(|f| f.refusal.cause != RefusalCause::Transient)
        && known.all(|old| failed.iter().all(|f| f.refusal != *old));
    if let Some(FailedWrite { refusal, .. }) = failed.first() {
        let (object, cause, why) = (&refusal.object, refusal.cause, &refusal.message);
        if unreported {
            tracing::info!(object, ?cause, why, "write refused");
        } else {
            tracing::debug!(object, ?cause, why, "write refused again");
        }
    }
    let refusals = failed.into_iter().map(|f| f.refusal).collect();
    let Some(pace) = pace else { return Sent::All };
    let until = ctx.state.refused(reconcile.job(), class, refusals, pace);
    Sent::Refused {
        class,
        until,
        unreported,
        outcome: outcome(retry_class.unwrap_or(RetryClass::Transient)),
    }
}

fn slower(a: Pace, b: Pace) -> Pace {
    Pace {
        first: a.first.max(b.first),
        max: a.max.max(b.max),
        not_before: a.not_before.max(b.not_before),
    }
}
