//! From memory to [`Observed`]: the closed world of one decision.

use std::sync::Arc;

use common::{Observed, RawJob};
use jiff::Timestamp;

use crate::record::Record;
use crate::view::{Family, View};

/// What is known about a job now.
pub(crate) fn observe(now: Timestamp, view: &View, record: &Record, job: &Arc<RawJob>) -> Observed {
    let Family {
        pods,
        children,
        batch_jobs,
        batch_pods,
    } = view.family(&job.uid);
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
    }
}
