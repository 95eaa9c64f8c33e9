//! Step for a job with an invalid spec. A job that never started fails, and the message lists all mistakes. A running
//! job continues unchanged and reports the mistakes, so that a wrong edit does not stop a training run.

use crate::api::{ConditionStatus, ConditionType, JobStatus};
use crate::conditions;
use crate::kind::KindInfo;
use crate::observe::Observed;
use crate::plan::{Counter, Plan};
use crate::problems::Problems;

use super::facts::context::{finish_plan, has_begun, short_name, state_created, warning};

pub(super) fn plan(info: &KindInfo, observed: &Observed, stored: &JobStatus, problems: &Problems) -> Plan {
    let (now, kind, key) = (observed.now, info.kind, &observed.job.key);
    let mut status = stored.clone();
    state_created(&mut status, now, info, key);
    let message = format!("{} is not valid: {problems}", short_name(info, key));
    if has_begun(stored) {
        return goes_on(info, stored, status, message);
    }
    let reason = format!("{kind}Failed");
    conditions::set_condition(
        &mut status,
        now,
        ConditionType::Failed,
        ConditionStatus::True,
        &reason,
        &message,
    );
    status.completion_time = Some(conditions::whole_seconds(now));
    status.waiting_for = None;
    let mut plan = finish_plan(stored, status, Vec::new(), vec![warning(reason, message)]);
    plan.counters.push(Counter::Failed);
    plan
}

/// Plan for a running job whose spec cannot be applied: it continues unchanged and reports the reason. Pods that
/// vanished in the meantime are handled later.
pub(super) fn goes_on(info: &KindInfo, stored: &JobStatus, status: JobStatus, message: String) -> Plan {
    let news = stored.waiting_for.as_deref() != Some(&message);
    let events = news.then(|| warning(format!("{}Invalid", info.kind), &message));
    let status = JobStatus {
        waiting_for: Some(message),
        ..status
    };
    Plan {
        keeps_vanished: true,
        ..finish_plan(stored, status, Vec::new(), events.into_iter().collect())
    }
}
