//! Kubelets: they start pods, and stop deleted ones. Containers end when a scenario says so.

use serde_json::{Value, json};

use super::nodes::{answers, keys, node_of};
use super::pace::Schedule;
use crate::ops::DeleteOptions;
use crate::store::{Key, Store, Who};
use crate::types::PODS;
use crate::value::{self, phase, text};

/// Exit code of a container that is stopped.
const TOLD_TO_GO: i64 = 143;

pub(super) fn run_pods(store: &mut Store, schedule: &mut Schedule) {
    for key in keys(store, PODS) {
        let Some(pod) = store.get(&key).cloned() else {
            continue;
        };
        let uid = value::uid(&pod).to_owned();
        if node_of(&pod).is_empty() {
            continue;
        }
        // Pods of an unreachable node stay.
        if !answers(store, node_of(&pod)) {
            continue;
        }
        if value::deleting(&pod) {
            let runs = phase(&pod) == "Running";
            if runs && schedule.ripe(format!("stop {uid}"), schedule.pace.stop) {
                terminate(store, &key, TOLD_TO_GO, "Error");
            } else if !runs && schedule.ripe(format!("reap {uid}"), schedule.pace.batch) {
                let options = DeleteOptions {
                    uid: Some(uid),
                    grace: Some(0),
                    ..DeleteOptions::default()
                };
                let _ = store.delete(Who::Kubernetes, &key, &options);
            }
        } else if phase(&pod) == "Pending" && schedule.ripe(format!("start {uid}"), schedule.pace.start) {
            start(store, &key);
        }
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &str> {
    let all = pod.pointer("/spec/containers").and_then(Value::as_array);
    all.into_iter().flatten().map(|c| text(c, "/name"))
}

fn start(store: &mut Store, key: &Key) {
    let Some(pod) = store.get(key) else { return };
    let (mut pod, time) = ((**pod).clone(), store.time());
    let statuses: Vec<Value> = containers(&pod)
        .map(|name| json!({"name": name, "ready": true, "restartCount": 0, "state": {"running": {"startedAt": time}}}))
        .collect();
    pod["status"]["phase"] = json!("Running");
    pod["status"]["startTime"] = json!(time);
    pod["status"]["containerStatuses"] = json!(statuses);
    value::set_condition(&mut pod, "Ready", "True", "", "", &time);
    store.put(Who::Kubernetes, key, pod);
}

/// Ends all containers of a pod with this code, and the pod with them.
fn terminate(store: &mut Store, key: &Key, code: i64, reason: &str) {
    let Some(pod) = store.get(key) else { return };
    let (mut pod, time) = ((**pod).clone(), store.time());
    let ended = json!({"exitCode": code, "reason": reason, "finishedAt": time});
    if let Some(statuses) = pod["status"]["containerStatuses"].as_array_mut() {
        for status in statuses {
            status["ready"] = json!(false);
            status["state"] = json!({"terminated": ended});
        }
    }
    pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
    value::set_condition(&mut pod, "Ready", "False", "PodCompleted", "", &time);
    store.put(Who::Kubernetes, key, pod);
}

/// Ends the containers of a pod with this code: the pod ends, or its containers are restarted in place, as the restart policy
/// says. A pod that does not run stays unchanged.
pub fn end(store: &mut Store, key: &Key, code: i64) {
    let Some(pod) = store.get(key) else { return };
    if phase(pod) != "Running" {
        return;
    }
    let again = match text(pod, "/spec/restartPolicy") {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    };
    if again && !value::deleting(pod) {
        restart_in_place(store, key, code);
    } else {
        terminate(store, key, code, if code == 0 { "Completed" } else { "Error" });
    }
}

/// Restarts the containers of a pod in place.
pub fn restart_in_place(store: &mut Store, key: &Key, code: i64) {
    let Some(pod) = store.get(key) else { return };
    let (mut pod, time) = ((**pod).clone(), store.time());
    let ended = json!({"exitCode": code, "reason": "Error", "finishedAt": time});
    if let Some(statuses) = pod["status"]["containerStatuses"].as_array_mut() {
        for status in statuses {
            let count = value::number(status, "/restartCount") + 1;
            status["restartCount"] = json!(count);
            status["lastState"] = json!({"terminated": ended});
        }
    }
    store.put(Who::Kubernetes, key, pod);
}

/// Fails a pod whatever its restart policy; with `disruption` it is evicted for that reason.
pub fn fail(store: &mut Store, key: &Key, code: i64, disruption: Option<&str>) {
    let Some(pod) = store.get(key) else { return };
    if value::has_ended(pod) {
        return;
    }
    if let Some(reason) = disruption {
        let (mut pod, time) = ((**pod).clone(), store.time());
        value::set_condition(&mut pod, "DisruptionTarget", "True", reason, "", &time);
        store.put(Who::Kubernetes, key, pod);
    }
    terminate(store, key, code, "Error");
}
