//! Checks after the faults of a chaos run have ended: the job ends, nothing more is written, nothing is left over.

use std::time::Duration;

use tokio::time::Instant;

use crate::checker::end_of;
use crate::cluster::Shared;
use crate::kubernetes::fail;
use crate::ops::DeleteOptions;
use crate::process::Conduct;
use crate::quiet;
use crate::store::{Key, Object, Store, Who};
use crate::types::PODS;
use crate::value::{self, text};

/// Longest time that a job may take to end after the faults.
const PATIENCE: Duration = Duration::from_hours(3);
/// An operator that computed a requeue time from a wrong clock reconciles on its own after ten minutes, and a little more.
const SAFETY: Duration = Duration::from_mins(13);
/// Longer than any back-off: a store without changes for so long is stable.
const STABLE: Duration = Duration::from_mins(2);
/// Time until objects without owners are collected.
const COLLECTED: Duration = Duration::from_mins(3);
/// Longer than anything the operator does by the clock while nothing happens.
const SETTLED: Duration = Duration::from_mins(15);
/// Time for which it must not write at all.
const SILENT: Duration = Duration::from_mins(20);

/// Violations after the faults; `clock_jumped` if a clock was wrong.
pub(super) async fn check(shared: &Shared, key: &Key, conduct: &Conduct, clock_jumped: bool) -> Vec<String> {
    if clock_jumped {
        tokio::time::sleep(SAFETY).await;
    }
    let mut found = becomes_stable(shared, key, conduct).await;
    found.extend(ends(shared, key).await);
    found.extend(quiet::left_to_do(&shared.lock().server.store, conduct));
    found.extend(leaves_nothing(shared, key).await);
    found
}

/// As soon as the store is stable, nothing is left to do.
async fn becomes_stable(shared: &Shared, key: &Key, conduct: &Conduct) -> Vec<String> {
    let changes = || shared.lock().server.store.stirs;
    let begun = Instant::now();
    let mut before = changes();
    loop {
        tokio::time::sleep(STABLE).await;
        let now = changes();
        if now == before {
            return quiet::left_to_do(&shared.lock().server.store, conduct);
        }
        // A job with a pod that waits without end may be reported again and again.
        if begun.elapsed() > PATIENCE {
            return vec![format!("does not become stable: {}", describe(shared, key))];
        }
        before = now;
    }
}

/// The job is deleted, if it still exists: nothing is left of it.
async fn leaves_nothing(shared: &Shared, key: &Key) -> Vec<String> {
    let options = DeleteOptions {
        propagation: Some("Background".to_owned()),
        ..DeleteOptions::default()
    };
    let _ = shared.store(|store| store.delete(Who::User, key, &options));
    tokio::time::sleep(COLLECTED).await;
    quiet::left_over(&shared.lock().server.store)
}

/// The job ends, and then nothing more is written.
async fn ends(shared: &Shared, key: &Key) -> Vec<String> {
    let begun = Instant::now();
    let over = |job: &Option<Object>| job.as_ref().is_none_or(|job| !end_of(job).is_empty());
    loop {
        // After a wrong clock, the operator may have to catch up with what was decided then.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let job = shared.get(key);
        if over(&job) {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return vec![format!("does not end: {}", describe(shared, key))];
        }
        shared.store(|store| {
            for key in running(store) {
                fail(store, &key, 0, None);
            }
        });
    }
    tokio::time::sleep(SETTLED).await;
    let writes = || {
        let inside = shared.lock();
        let ours = inside.written.iter().filter(|w| !w.line.contains("leases/"));
        ours.map(|w| format!("{} {}", w.code, w.line)).collect::<Vec<_>>()
    };
    let before = writes().len();
    tokio::time::sleep(SILENT).await;
    let later = writes().split_off(before);
    let mut found = Vec::new();
    if !later.is_empty() {
        found.push(format!("still writes: {later:?}: {}", describe(shared, key)));
    }
    if shared.get(key).is_some_and(|job| end_of(&job).is_empty()) {
        found.push(format!("its end is gone: {}", describe(shared, key)));
    }
    found
}

fn running(store: &Store) -> Vec<Key> {
    let pods = store
        .list(PODS, "")
        .filter(|(_, pod)| value::phase(pod) == "Running");
    pods.map(|(key, _)| key.clone()).collect()
}

fn describe(shared: &Shared, key: &Key) -> String {
    let pods: Vec<String> = shared
        .list(PODS)
        .iter()
        .map(|pod| {
            let deleting = if value::deleting(pod) { " deleting" } else { "" };
            let attempt = value::label(pod, common::names::ATTEMPT).unwrap_or("-");
            format!(
                "{} {attempt} {}{deleting} on {}",
                value::name(pod),
                value::phase(pod),
                text(pod, "/spec/nodeName")
            )
        })
        .collect();
    let job = shared.get(key).map(|job| (*job).clone()).unwrap_or_default();
    format!(
        "pods {pods:?}, status {}, policy {}",
        job["status"], job["spec"]["runPolicy"]
    )
}
