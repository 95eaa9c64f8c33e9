//! What holds of every step, whoever takes it: shared by the laws and the model.

use common::conditions;
use std::collections::BTreeMap;

use common::api::{ConditionStatus, ConditionType, JobStatus, RestartCounts};
use common::testing::meanings;
use common::{Framework, RawJob, names};

fn attempts(status: &JobStatus) -> BTreeMap<String, u32> {
    status
        .slots
        .iter()
        .map(|(replica, s)| (replica.clone(), s.attempt.max(status.attempt)))
        .collect()
}

/// Nothing is destroyed before the intent is stored.
pub(crate) fn check_intent(job: &RawJob, known: &JobStatus, name: &str, attempt: u32) {
    let kinds = meanings(operator::FRAMEWORKS).into_iter().map(Framework::kind);
    let mut kinds = kinds.filter(|k| k.kind == job.key.kind);
    let replica = kinds.find_map(|k| k.replica_of(&job.key.name, name)).unwrap();
    let replica = names::replica_key(replica.role, replica.index);
    let stored = known
        .slots
        .get(&replica)
        .map_or(0, |s| s.attempt)
        .max(known.attempt);
    let intended = stored > attempt
        || conditions::is_finished(known)
        || conditions::is_true(known, ConditionType::Suspended);
    assert!(intended, "{name} would be deleted without a stored intent");
}

/// What no status may do after another one.
pub(crate) fn check_status(
    stored: &JobStatus,
    next: &JobStatus,
    limit: Option<i64>,
    disruptions_count: bool,
) {
    for (replica, attempt) in attempts(stored) {
        let now = next
            .slots
            .get(&replica)
            .map_or(0, |s| s.attempt)
            .max(next.attempt);
        assert!(
            now >= attempt,
            "attempt of {replica} falls from {attempt} to {now}"
        );
    }
    let used = |s: &JobStatus| {
        let disruptions = |c: &RestartCounts| if disruptions_count { c.disruptions } else { 0 };
        s.restart_counts
            .as_ref()
            .map_or(0, |c| c.failures + disruptions(c))
    };
    assert!(used(next) >= used(stored), "restarts are forgotten");
    let grew = used(next) > used(stored);
    // What was retried elsewhere may pass the limit: that ends the job, if nothing does sooner.
    let over = [
        ConditionType::Suspended,
        ConditionType::Failed,
        ConditionType::Succeeded,
    ];
    let goes_on = !over.iter().any(|over| conditions::is_true(next, *over));
    if let (Some(limit), true) = (limit, grew && goes_on) {
        assert!(
            i64::from(used(next)) <= limit,
            "{} restarts with a limit of {limit}",
            used(next)
        );
    }
    let whole = |s: &JobStatus| s.whole_restarts.as_ref().map_or(0, |w| w.count);
    let (once, counts) = (whole(next) - whole(stored), next.restart_counts.clone());
    assert!(once <= 1, "several restarts of all at once");
    let counts = counts.map_or(0, |c| c.failures + c.disruptions);
    assert!(counts >= i32::try_from(whole(next)).unwrap(), "each one counts");
    if conditions::is_finished(stored) {
        assert_eq!(next.conditions, stored.conditions, "an end is undone");
        assert_eq!(next.completion_time, stored.completion_time);
    }
    let is = |t| conditions::is_true(next, t);
    assert!(!(is(ConditionType::Succeeded) && is(ConditionType::Failed)));
    assert!(!(is(ConditionType::Running) && is(ConditionType::Restarting)));
    if conditions::is_finished(next) {
        assert!(!is(ConditionType::Running) && !is(ConditionType::Restarting));
        assert!(next.completion_time.is_some());
        let last = next.conditions.last().unwrap();
        assert!(matches!(
            last.type_,
            ConditionType::Succeeded | ConditionType::Failed
        ));
        assert_eq!(last.status, ConditionStatus::True);
    }
    let mut types: Vec<_> = next.conditions.iter().map(|c| c.type_.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), next.conditions.len(), "one entry per type");
    if stored.start_time.is_some() && stored.start_time != next.start_time {
        assert!(
            conditions::is_true(stored, ConditionType::Suspended),
            "startTime moves only on resume"
        );
    }
}
