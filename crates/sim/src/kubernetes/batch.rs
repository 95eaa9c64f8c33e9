//! Controller of batch Jobs: one pod at a time, retried until it succeeds or the limit is reached.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::nodes::keys;
use super::pace::Schedule;
use crate::ops::DeleteOptions;
use crate::store::{Key, Object, Store, Who};
use crate::types::{BATCH_JOBS, PODS};
use crate::value::{self, label, metadata, phase, text};

/// Memory of the controller. (The real one has finalizers on pods for this.)
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Pods of each batch Job by UID; true for those that have failed.
    pods: BTreeMap<String, BTreeMap<String, bool>>,
    succeeded: BTreeSet<String>,
}

impl Batch {
    pub(super) fn run_jobs(&mut self, store: &mut Store, schedule: &mut Schedule) {
        for key in keys(store, BATCH_JOBS) {
            let Some(job) = store.get(&key).cloned() else {
                continue;
            };
            self.run_job(store, schedule, &key, &job);
        }
    }

    fn run_job(&mut self, store: &mut Store, schedule: &mut Schedule, key: &Key, job: &Value) {
        let uid = value::uid(job).to_owned();
        let pods: Vec<(Key, Object)> = store
            .list(PODS, &key.namespace)
            .filter(|(_, pod)| value::controller_uid(pod) == uid)
            .map(|(key, pod)| (key.clone(), pod.clone()))
            .collect();
        let known = self.pods.entry(uid.clone()).or_default();
        for (_, pod) in &pods {
            let failed = known.entry(value::uid(pod).to_owned()).or_insert(false);
            *failed |= phase(pod) == "Failed";
            if phase(pod) == "Succeeded" && !value::deleting(pod) {
                self.succeeded.insert(uid.clone());
            }
        }
        // A pod that vanished before its end has failed.
        for (pod, failed) in known.iter_mut() {
            *failed |= pods.iter().all(|(_, p)| value::uid(p) != *pod) && !self.succeeded.contains(&uid);
        }
        if value::deleting(job) || ["Complete", "Failed"].iter().any(|end| value::is_true(job, end)) {
            return;
        }
        let (failed, made) = (known.values().filter(|failed| **failed).count(), known.len());
        let live = pods.iter().filter(|(_, pod)| !value::has_ended(pod)).count();
        let limit = job
            .pointer("/spec/backoffLimit")
            .and_then(Value::as_u64)
            .unwrap_or(6);
        let restarts: i64 = pods
            .iter()
            .map(|(_, pod)| value::number(pod, "/status/containerStatuses/0/restartCount"))
            .sum();
        let tries = i64::try_from(failed).unwrap_or(0) + restarts;
        let time = store.time();
        let mut new = job.clone();
        new["status"]["active"] = json!(live);
        new["status"]["failed"] = json!(failed);
        if self.succeeded.contains(&uid) && live == 0 {
            new["status"]["succeeded"] = json!(1);
            new["status"]["completionTime"] = json!(time);
            value::set_condition(
                &mut new,
                "SuccessCriteriaMet",
                "True",
                "CompletionsReached",
                "",
                &time,
            );
            value::set_condition(&mut new, "Complete", "True", "CompletionsReached", "", &time);
        } else if tries > i64::try_from(limit).unwrap_or(i64::MAX) {
            let message = "Job has reached the specified backoff limit";
            value::set_condition(
                &mut new,
                "FailureTarget",
                "True",
                "BackoffLimitExceeded",
                message,
                &time,
            );
            if live == 0 {
                value::set_condition(&mut new, "Failed", "True", "BackoffLimitExceeded", message, &time);
            }
            for (key, pod) in pods
                .iter()
                .filter(|(_, pod)| !value::has_ended(pod) && !value::deleting(pod))
            {
                let options = DeleteOptions {
                    uid: Some(value::uid(pod).to_owned()),
                    ..DeleteOptions::default()
                };
                let _ = store.delete(Who::Kubernetes, key, &options);
            }
        } else if live == 0 && schedule.ripe(format!("try {uid} {made}"), schedule.pace.batch) {
            make_pod(store, key, job, made);
        }
        if new != *job {
            store.put(Who::Kubernetes, key, new);
        }
    }
}

/// Creates a pod. Its name is not random, so that runs can be compared: name and attempt of the batch Job, number of the try.
fn make_pod(store: &mut Store, key: &Key, job: &Value, made: usize) {
    let attempt = label(job, common::names::ATTEMPT).unwrap_or("0");
    let name = format!("{}-{attempt}x{made}", key.name);
    let (uid, time) = (store.uid(), store.time());
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": job.pointer("/spec/template/metadata").cloned().unwrap_or(json!({})),
        "spec": job.pointer("/spec/template/spec").cloned().unwrap_or_default(), "status": {"phase": "Pending"},
    });
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": key.name, "uid": value::uid(job),
        "controller": true, "blockOwnerDeletion": true});
    let meta = metadata(&mut pod);
    meta.insert("name".to_owned(), json!(name));
    meta.insert("namespace".to_owned(), json!(text(job, "/metadata/namespace")));
    meta.insert("uid".to_owned(), json!(uid));
    meta.insert("creationTimestamp".to_owned(), json!(time));
    meta.insert("ownerReferences".to_owned(), json!([owner]));
    let pod_key = Key::new(PODS, &key.namespace, &name);
    if store.get(&pod_key).is_none() {
        store.put(Who::Kubernetes, &pod_key, pod);
    }
}
