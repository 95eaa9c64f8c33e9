//! One reconcile of one job: begin, observe, plan, apply.

use std::time::Duration;

use common::{Framework, JobKey, Settings};
use tokio::time::Instant;
use tracing::Instrument;

use crate::apply::{ApplyContext, ReconcileResult, apply};
use crate::backoff;
use crate::metrics::ReconcileOutcome;
use crate::queue::Requeue;
use crate::state::{Reconcile, Start};

/// Longest time between two reconciles of an unfinished job, however quiet the watches are.
const SAFETY: Duration = Duration::from_mins(10);

/// Reconciler of all jobs.
pub(crate) struct Reconciler {
    /// Context of the writes.
    pub(crate) ctx: ApplyContext,
    /// Frameworks, one per kind.
    pub(crate) frameworks: Vec<&'static dyn Framework>,
    /// The operator's settings.
    pub(crate) settings: Settings,
}

impl Reconciler {
    /// Reconciles one job.
    pub(crate) async fn reconcile(&self, key: JobKey) -> Requeue {
        let begun = Instant::now();
        let Some(framework) = self.frameworks.iter().find(|f| f.kind().kind == key.kind) else {
            return Requeue::After(None);
        };
        let reconcile = match self.ctx.state.begin(&key) {
            Start::Go(reconcile) => reconcile,
            Start::Deferred => return Requeue::After(None),
            Start::Gone => {
                self.ctx.metrics.reconciled(ReconcileOutcome::gone, None);
                return Requeue::After(None);
            }
        };
        let uid = reconcile.job().uid.clone();
        let (kind, namespace, name) = (key.kind, &*key.namespace, &*key.name);
        let span = tracing::info_span!("reconcile", kind, namespace, name, %uid);
        let result = self.decide(*framework, &reconcile).instrument(span).await;
        self.ctx.metrics.reconciled(result.outcome, Some(begun.elapsed()));
        result.requeue
    }

    async fn decide(&self, framework: &'static dyn Framework, reconcile: &Reconcile) -> ReconcileResult {
        let plan = common::plan(framework, &reconcile.observed, &self.settings);
        tracing::debug!(
            intent = plan.intent.is_some(),
            writes = plan.writes.len(),
            status_is_urgent = plan.status_is_urgent,
            "planned"
        );
        let mut result = apply(&self.ctx, framework.kind(), reconcile, plan).await;
        if let Requeue::After(again) = &mut result.requeue
            && !reconcile.finished
        {
            let safety = backoff::jitter(SAFETY);
            *again = Some(again.map_or(safety, |again| again.min(safety)));
        }
        result
    }
}
