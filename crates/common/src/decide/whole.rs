//! All pods of a job begin anew together: under `restartScope: Job` one that must be replaced takes the others with it,
//! since they would only wait for it until they time out, each at another moment.
//!
//! Invariant: the new attempt of all is stored before the first pod is deleted, and no pod of it is made before the last
//! one of the old is gone.

use crate::api::WholeRestarts;
use crate::conditions;
use crate::plan::{Counter, Plan};
use crate::status;
use crate::tally::SlotTally;

use super::facts::context::{Question, answer};
use super::facts::draft::draft_status;
use super::facts::{attempts, deletes, dependencies, first_failure, reasons};

/// The restart: counted once, whatever the number of pods that failed.
pub(super) fn plan(q: &Question<'_>, replaced: &[&SlotTally]) -> Plan {
    let mut status = draft_status(q);
    first_failure::record(q, &mut status);
    attempts::count(&mut status, first_failure::is_disruption(q));
    if let Some(counts) = &mut status.restart_counts {
        let forgiven = status::to_i32(dependencies::forgiven(q));
        counts.in_place = counts.in_place.saturating_sub(forgiven).max(0);
    }
    attempts::retire_all(q, &mut status);
    for counts in status.replica_statuses.values_mut() {
        counts.active = 0;
        attempts::forget_success(counts);
    }
    let taken: Vec<&SlotTally> = replaced
        .iter()
        .copied()
        .filter(|s| reasons::is_taken(s))
        .collect();
    let of_taken = reasons::describe_taken(q, &taken).filter(|_| first_failure::is_disruption(q));
    let cause = of_taken
        .or_else(|| reasons::cause(q, replaced))
        .unwrap_or_default();
    let note = reasons::announce(q, &mut status, &format!("{cause}; all replicas begin anew"));
    let known = status.whole_restarts.take().unwrap_or_default();
    status.whole_restarts = Some(WholeRestarts {
        count: known.count.saturating_add(1),
        since: Some(conditions::whole_seconds(q.now())),
        reason: Some(cause),
    });
    let plan = answer(
        &q.job.stored,
        status.clone(),
        deletes::carriers(q).collect(),
        vec![note],
    );
    Plan {
        intent: Some(status),
        counters: [plan.counters, vec![Counter::Restarted]].concat(),
        wake: q.deadline(),
        ..plan
    }
}
