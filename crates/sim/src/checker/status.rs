//! Checks of each new status: conditions, times, counts and attempts.

use std::collections::BTreeSet;

use common::api::{ConditionType, JobCondition, JobStatus};
use common::conditions;
use serde_json::Value;

use super::jobs::stored;
use crate::value::{name, uid};

/// Violations of a new status of a job. Times of conditions may go back where clocks differ.
pub(super) fn check(before: &Value, after: &Value, clocks_differ: bool) -> Vec<String> {
    if uid(before) != uid(after) {
        return Vec::new();
    }
    let (old, new) = (stored(before), stored(after));
    let job = name(after);
    let mut found = ends(&old, &new);
    found.extend(times(&old, &new));
    found.extend(conditions(&old, &new, clocks_differ));
    found.extend(counts(&old, &new, after));
    found.into_iter().map(|what| format!("{job}: {what}")).collect()
}

fn is(status: &JobStatus, type_: ConditionType) -> bool {
    conditions::is_true(status, type_)
}

fn ends(old: &JobStatus, new: &JobStatus) -> Vec<String> {
    let mut found = Vec::new();
    let (succeeded, failed) = (ConditionType::Succeeded, ConditionType::Failed);
    if is(new, succeeded) && is(new, failed) {
        found.push("it has both succeeded and failed".to_owned());
    }
    if conditions::is_finished(old)
        && (new.conditions != old.conditions || new.completion_time != old.completion_time)
    {
        found.push("its end is undone".to_owned());
    }
    if conditions::is_finished(new) != new.completion_time.is_some() {
        found.push("it has ended without a time of its end, or the other way round".to_owned());
    }
    if is(new, ConditionType::Running) && (is(new, ConditionType::Restarting) || conditions::is_finished(new))
    {
        found.push("it runs, and restarts or has ended".to_owned());
    }
    found
}

fn times(old: &JobStatus, new: &JobStatus) -> Vec<String> {
    let mut found = Vec::new();
    if let (Some(start), Some(end)) = (&new.start_time, &new.completion_time)
        && end.0 < start.0
    {
        found.push("it ends before it starts".to_owned());
    }
    let started = old.start_time.is_some() && old.start_time != new.start_time;
    if started && !is(old, ConditionType::Suspended) {
        found.push("it starts anew without having been suspended".to_owned());
    }
    found
}

/// Conditions: one per type, and times that change exactly when the condition does.
fn conditions(old: &JobStatus, new: &JobStatus, clocks_differ: bool) -> Vec<String> {
    let mut found = Vec::new();
    let kinds: BTreeSet<_> = new.conditions.iter().map(|c| c.type_.as_str()).collect();
    if kinds.len() != new.conditions.len() {
        found.push("two conditions of one type".to_owned());
    }
    for now in &new.conditions {
        let Some(then) = conditions::condition(old, now.type_) else {
            continue;
        };
        let type_ = now.type_.as_str();
        let said = |c: &JobCondition| (c.status, c.reason.clone(), c.message.clone());
        if said(then) == said(now) && then.last_update_time != now.last_update_time {
            found.push(format!("{type_} says what it said, at another time"));
        }
        if then.status == now.status && then.last_transition_time != now.last_transition_time {
            found.push(format!("{type_} is as it was, since another time"));
        }
        let back = |then: &Option<_>, now: &Option<_>| then > now;
        if !clocks_differ
            && (back(&then.last_update_time, &now.last_update_time)
                || back(&then.last_transition_time, &now.last_transition_time))
        {
            found.push(format!("the time of {type_} goes back"));
        }
    }
    found
}

fn counts(old: &JobStatus, new: &JobStatus, job: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let attempts =
        |s: &JobStatus, replica: &str| s.slots.get(replica).map_or(0, |s| s.attempt).max(s.attempt);
    let fallen = |replica: &&String| attempts(new, replica) < attempts(old, replica);
    found.extend(
        old.slots
            .keys()
            .filter(fallen)
            .map(|replica| format!("the attempt of {replica} falls")),
    );
    if new.attempt < old.attempt {
        found.push("its attempt falls".to_owned());
    }
    let used = |s: &JobStatus| s.restart_counts.as_ref().map_or(0, |c| c.failures);
    if used(new) < used(old) {
        found.push("restarts are forgotten".to_owned());
    }
    let limit = job
        .pointer("/spec/runPolicy/backoffLimit")
        .and_then(Value::as_i64);
    let goes_on = !conditions::is_finished(new) && !is(new, ConditionType::Suspended);
    if limit.is_some_and(|limit| used(new) > used(old) && goes_on && i64::from(used(new)) > limit) {
        found.push(format!("restarted {} times, which is above its limit", used(new)));
    }
    found
}
