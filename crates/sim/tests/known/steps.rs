//! Steps that several scenarios share.

use std::time::Duration;

use common::api::JobStatus;
use common::kind::Workload;
use common::{KindInfo, names};
use serde_json::{Value, json};
use sim::scenario::{TestJob, pod_key};
use sim::store::{Key, Object, Store};
use sim::value::{self, phase};
use tokio::time::Instant;

use super::fixture::Fixture;

/// Reasons for which Kubernetes disrupts pods.
pub(crate) const DISRUPTIONS: [&str; 5] = [
    "PreemptionByScheduler",
    "DeletionByTaintManager",
    "EvictionByEvictionAPI",
    "DeletionByPodGC",
    "TerminationByKubelet",
];

/// True if batch Jobs carry a role: they have their own rules about restarts.
pub(crate) fn by_batch_job(info: &KindInfo) -> bool {
    info.roles.iter().any(|role| role.workload == Workload::BatchJob)
}

/// Sets the restart policy of all roles.
pub(crate) fn policy(info: &KindInfo, manifest: &mut Value, policy: &str) {
    if let Some(roles) = manifest["spec"][info.replicas_field].as_object_mut() {
        roles
            .values_mut()
            .for_each(|role| role["restartPolicy"] = json!(policy));
    }
}

/// Failed pods are replaced if their exit code says so.
pub(crate) fn replaced(info: &KindInfo, manifest: &mut Value) {
    policy(
        info,
        manifest,
        if by_batch_job(info) {
            "OnFailure"
        } else {
            "ExitCode"
        },
    );
}

/// Sets a field of `runPolicy`.
pub(crate) fn rule(manifest: &mut Value, field: &str, value: impl Into<Value>) {
    manifest["spec"]["runPolicy"][field] = value.into();
}

/// Status of the job.
pub(crate) fn status(test_job: &TestJob) -> JobStatus {
    sim::checker::stored(&test_job.job())
}

/// Restarts that count, in place or not, and those that do not count.
pub(crate) fn restarts(test_job: &TestJob) -> (i32, i32) {
    let counts = status(test_job).restart_counts.unwrap_or_default();
    (counts.failures + counts.in_place, counts.disruptions)
}

/// True if a condition of the job is True.
pub(crate) fn is(test_job: &TestJob, condition: &str) -> bool {
    value::is_true(&test_job.job(), condition)
}

/// True if the job has ended.
pub(crate) fn has_ended(test_job: &TestJob) -> bool {
    !sim::checker::end_of(&test_job.job()).is_empty()
}

/// Message of a condition.
pub(crate) fn message(test_job: &TestJob, condition: &str) -> String {
    let job = test_job.job();
    value::condition(&job, condition).map_or(String::new(), |c| value::text(c, "/message").to_owned())
}

/// `waitingFor` of the job.
pub(crate) fn waits_for(test_job: &TestJob) -> String {
    status(test_job).waiting_for.unwrap_or_default()
}

/// Running pods that are not deleted.
pub(crate) fn alive(test_job: &TestJob) -> Vec<Object> {
    let mut pods = test_job.pods();
    pods.retain(|pod| phase(pod) == "Running" && !value::deleting(pod));
    pods
}

/// Key of the last running pod.
pub(crate) fn last(test_job: &TestJob) -> Key {
    alive(test_job)
        .last()
        .map(|pod| pod_key(pod))
        .expect("a pod that runs")
}

/// Key of the first running pod; that of the launcher, where there is one.
pub(crate) fn first(test_job: &TestJob) -> Key {
    alive(test_job)
        .first()
        .map(|pod| pod_key(pod))
        .expect("a pod that runs")
}

/// Applies a change to a pod.
pub(crate) fn to(test_job: &TestJob, key: &Key, act: impl FnOnce(&mut Store, &Key)) {
    test_job.shared.store(|store| act(store, key));
}

/// UID of the object of this key.
pub(crate) fn uid(test_job: &TestJob, key: &Key) -> String {
    test_job
        .shared
        .get(key)
        .map_or(String::new(), |object| value::uid(&object).to_owned())
}

/// Waits until a condition holds, with short intervals; returns the time.
pub(crate) async fn when(test_job: &TestJob, what: &str, holds: impl Fn(&TestJob) -> bool) -> Instant {
    let begun = Instant::now();
    while !holds(test_job) {
        assert!(
            begun.elapsed() < Duration::from_hours(2),
            "{}: waits until {what}: {:?} {}",
            test_job.info().kind,
            test_job
                .pods()
                .iter()
                .map(|pod| format!("{} {}", value::name(pod), phase(pod)))
                .collect::<Vec<_>>(),
            test_job.job()["status"]
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Instant::now()
}

/// Suspends the job or resumes it.
pub(crate) fn suspend(test_job: &TestJob, suspend: bool) {
    test_job.edit("/runPolicy/suspend", json!(suspend));
}

/// Waits until the job is suspended and has no pods.
pub(crate) async fn suspended(test_job: &TestJob) {
    test_job
        .until("it is suspended", |t| t.has_no_pods() && is(t, "Suspended"))
        .await;
}

/// The replica of a pod, those of batch Jobs included.
pub(crate) fn replica(test_job: &TestJob, pod: &Value) -> String {
    match test_job.info().replica_of("j", value::name(pod)) {
        Some(_) => value::name(pod).to_owned(),
        None => value::label(pod, names::REPLICA_TYPE)
            .or_else(|| value::label(pod, names::JOB_ROLE))
            .unwrap_or_default()
            .to_owned(),
    }
}

/// Two live pods of one replica, if there are any.
pub(crate) fn twins(test_job: &TestJob) -> Option<(String, String)> {
    let mut pods = test_job.pods();
    pods.retain(|pod| !value::has_ended(pod));
    let mut seen = std::collections::BTreeMap::new();
    pods.iter().find_map(|pod| {
        let other = seen.insert(replica(test_job, pod), value::name(pod).to_owned());
        other.map(|other| (other, value::name(pod).to_owned()))
    })
}

/// Waits until a condition holds, and checks that no replica has two pods meanwhile.
pub(crate) async fn without_twins_until(test_job: &TestJob, what: &str, holds: impl Fn(&TestJob) -> bool) {
    when(test_job, what, |t| {
        assert_eq!(twins(t), None, "{}", t.info().kind);
        holds(t)
    })
    .await;
}

/// All objects of the job, by plural and name.
pub(crate) fn belongings(test_job: &TestJob) -> Vec<String> {
    let job = test_job.job();
    let owner = value::uid(&job);
    let inside = test_job.shared.lock();
    let all = inside.server.store.all();
    all.filter(|(_, object)| value::controller_uid(object) == owner)
        .map(|(key, _)| format!("{}/{}", key.resource.plural, key.name))
        .collect()
}

/// Waits until the job runs, whether or not changes go on: with leader election they never stop.
pub(crate) async fn runs(test_job: &TestJob) {
    when(test_job, "it runs", |t| {
        alive(t).len() == t.wanted() && is(t, "Running")
    })
    .await;
}

/// The job runs and succeeds, and nothing is left to do.
pub(crate) async fn ends_well(fixture: Fixture) {
    succeeds(&fixture).await;
    fixture.closes().await;
}

/// The job runs and succeeds, and no invariant was violated so far.
pub(crate) async fn succeeds(fixture: &Fixture) {
    runs(fixture).await;
    fixture.finish().await;
    when(fixture, "it has ended", has_ended).await;
    assert!(
        is(fixture, "Succeeded"),
        "{}: {}",
        fixture.info().kind,
        fixture.job()["status"]
    );
    fixture.is_right();
}
