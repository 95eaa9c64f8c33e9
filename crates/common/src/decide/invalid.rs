//! The job cannot be understood. One that never started fails, with all mistakes named; one that runs goes on as it is
//! and says what is wrong, so that a slip in an edit does not cost a training run.

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

/// A job whose spec cannot be carried out goes on as it is, and says why. What has vanished meanwhile is for later.
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
