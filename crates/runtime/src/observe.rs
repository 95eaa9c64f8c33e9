//! From memory to [`Observed`]: the closed world of one decision.

use std::sync::Arc;

use common::{Observed, RawJob};
use jiff::Timestamp;

use crate::record::Record;
use crate::view::{Family, View};

/// What is known about a job now.
pub(crate) fn observe(now: Timestamp, view: &View, record: &mut Record, job: &Arc<RawJob>) -> Observed {
    let family = view.family(&job.uid);
    let lost_nodes = view.lost_nodes(&family, &mut record.missing_nodes, now);
    let Family {
        pods,
        children,
        batch_jobs,
        batch_pods,
    } = family;
    Observed {
        now,
        job: Arc::clone(job),
        pods,
        children,
        batch_jobs,
        batch_pods,
        priorities: Arc::clone(view.priorities()),
        vanished: record.vanished().to_vec(),
        refusals: record.refusals().to_vec(),
        lost_nodes,
    }
}
