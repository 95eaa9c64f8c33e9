//! Restart of all pods of a job together. Under `restartScope: Job`, one pod that must be replaced restarts all others,
//! since these would only wait for it until they time out, each at another moment.
//!
//! Invariant: the new attempt of all replicas is stored before the first pod is deleted, and no new pod is created
//! before the last old pod is gone.

use crate::api::WholeRestarts;
use crate::conditions;
use crate::plan::{Counter, Plan};
use crate::replica_states::ReplicaState;
use crate::status;

use super::facts::context::{Context, finish_plan};
use super::facts::draft::draft_status;
use super::facts::{attempts, deletes, dependencies, first_failure, reasons};

/// Plan of the restart. It counts once, whatever the number of failed pods.
pub(super) fn plan(ctx: &Context<'_>, replaced: &[&ReplicaState]) -> Plan {
    let mut status = draft_status(ctx);
    first_failure::record(ctx, &mut status);
    attempts::count(&mut status, first_failure::is_disruption(ctx));
    if let Some(counts) = &mut status.restart_counts {
        let excused_retries = status::to_i32(dependencies::excused_retries(ctx));
        counts.in_place = counts.in_place.saturating_sub(excused_retries).max(0);
    }
    attempts::next_attempt_of_all(ctx, &mut status);
    for counts in status.replica_statuses.values_mut() {
        counts.active = 0;
        attempts::forget_success(counts);
    }
    let taken: Vec<&ReplicaState> = replaced
        .iter()
        .copied()
        .filter(|s| reasons::is_removed(s))
        .collect();
    let of_taken = reasons::describe_removed(ctx, &taken).filter(|_| first_failure::is_disruption(ctx));
    let cause = of_taken
        .or_else(|| reasons::cause(ctx, replaced))
        .unwrap_or_default();
    let event = reasons::announce(ctx, &mut status, &format!("{cause}; all replicas begin anew"));
    let known = status.whole_restarts.take().unwrap_or_default();
    status.whole_restarts = Some(WholeRestarts {
        count: known.count.saturating_add(1),
        since: Some(conditions::whole_seconds(ctx.now())),
        reason: Some(cause),
    });
    let plan = finish_plan(
        &ctx.job.stored,
        status.clone(),
        deletes::carriers(ctx).collect(),
        vec![event],
    );
    Plan {
        intent: Some(status),
        counters: [plan.counters, vec![Counter::Restarted]].concat(),
        requeue_at: ctx.deadline(),
        ..plan
    }
}
