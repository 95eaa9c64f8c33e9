//! Conditions of a status, and times in the API's format: small pure edits of a [`JobStatus`].
//!
//! Rules of the condition list, as clients rely on them:
//!
//! * There is one entry per type.
//! * An entry whose status or reason changes moves to the end.
//! * `lastTransitionTime` changes only with the status.
//! * Running and Restarting exclude each other.
//! * Succeeded and Failed are final, exclude each other and set Running to False.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{ConditionStatus, ConditionType, JobCondition, JobStatus};

/// Time in whole seconds, as the API has it.
#[must_use]
pub fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Entry of a type.
#[must_use]
pub fn condition(status: &JobStatus, type_: ConditionType) -> Option<&JobCondition> {
    status.conditions.iter().find(|c| c.type_ == type_)
}

/// True if the entry of a type is True.
#[must_use]
pub fn is_true(status: &JobStatus, type_: ConditionType) -> bool {
    condition(status, type_).is_some_and(|c| c.status == ConditionStatus::True)
}

/// True if the job has ended.
#[must_use]
pub fn is_finished(status: &JobStatus) -> bool {
    is_true(status, ConditionType::Succeeded) || is_true(status, ConditionType::Failed)
}

/// Sets a condition. Does nothing if it already has this status and reason, or if the job has ended.
pub fn set_condition(
    status: &mut JobStatus,
    now: Timestamp,
    type_: ConditionType,
    value: ConditionStatus,
    reason: &str,
    message: &str,
) {
    let old = condition(status, type_).cloned();
    let same = old
        .as_ref()
        .is_some_and(|c| c.status == value && c.reason.as_deref() == Some(reason));
    if same || is_finished(status) {
        return;
    }
    if value == ConditionStatus::True {
        make_room(status, now, type_);
    }
    let now = whole_seconds(now);
    let since = old
        .filter(|c| c.status == value)
        .and_then(|c| c.last_transition_time);
    status.conditions.retain(|c| c.type_ != type_);
    status.conditions.push(JobCondition {
        type_,
        status: value,
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(since.unwrap_or(now)),
    });
}

/// Effect of a new True condition on the others.
fn make_room(status: &mut JobStatus, now: Timestamp, coming: ConditionType) {
    match coming {
        ConditionType::Running => status.conditions.retain(|c| c.type_ != ConditionType::Restarting),
        ConditionType::Restarting => status.conditions.retain(|c| c.type_ != ConditionType::Running),
        ConditionType::Succeeded | ConditionType::Failed => {
            status.conditions.retain(|c| c.type_ != ConditionType::Restarting);
            for running in status
                .conditions
                .iter_mut()
                .filter(|c| c.type_ == ConditionType::Running)
            {
                if running.status == ConditionStatus::True {
                    running.status = ConditionStatus::False;
                    running.last_update_time = Some(whole_seconds(now));
                    running.last_transition_time = Some(whole_seconds(now));
                }
            }
        }
        ConditionType::Created | ConditionType::Suspended => {}
    }
}

/// Changes only the message of an entry.
pub fn refresh_message(status: &mut JobStatus, now: Timestamp, type_: ConditionType, message: &str) {
    for condition in status.conditions.iter_mut().filter(|c| c.type_ == type_) {
        if condition.message.as_deref() != Some(message) {
            condition.message = Some(message.to_owned());
            condition.last_update_time = Some(whole_seconds(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn types(status: &JobStatus) -> Vec<(ConditionType, ConditionStatus)> {
        status.conditions.iter().map(|c| (c.type_, c.status)).collect()
    }

    #[test]
    fn running_and_restarting_exclude_each_other_and_the_end_is_final() {
        use ConditionStatus::{False, True};
        use ConditionType::{Created, Failed, Restarting, Running, Succeeded};
        let mut status = JobStatus::default();
        set_condition(&mut status, at(1), Created, True, "C", "");
        set_condition(&mut status, at(2), Running, True, "R", "");
        set_condition(&mut status, at(3), Restarting, True, "X", "");
        assert_eq!(types(&status), [(Created, True), (Restarting, True)]);
        set_condition(&mut status, at(4), Running, True, "R", "");
        set_condition(&mut status, at(5), Succeeded, True, "S", "");
        assert_eq!(
            types(&status),
            [(Created, True), (Running, False), (Succeeded, True)]
        );
        let before = status.clone();
        set_condition(&mut status, at(6), Failed, True, "F", "");
        set_condition(&mut status, at(6), Running, True, "R", "");
        assert_eq!(status, before);
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut status = JobStatus::default();
        set_condition(
            &mut status,
            at(1),
            ConditionType::Running,
            ConditionStatus::True,
            "A",
            "",
        );
        set_condition(
            &mut status,
            at(9),
            ConditionType::Running,
            ConditionStatus::True,
            "B",
            "",
        );
        let entry = condition(&status, ConditionType::Running).unwrap();
        assert_eq!(entry.last_transition_time, Some(whole_seconds(at(1))));
        assert_eq!(entry.last_update_time, Some(whole_seconds(at(9))));
    }
}
