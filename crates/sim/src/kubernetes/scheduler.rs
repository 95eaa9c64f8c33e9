//! Scheduler: it places pods on ready nodes; pods of a gang only when there are enough of them.

use common::gang::PodGroupApi;
use common::names;
use serde_json::{Value, json};

use super::nodes::{answers, keys};
use super::pace::Schedule;
use crate::store::{Key, Store, Who};
use crate::types::{NODES, PODS, Resource};
use crate::value::{self, label, text};

/// PodGroup that a pod names.
fn group_of(pod: &Value) -> Option<(PodGroupApi, &str)> {
    let annotation = |key: &str| pod.pointer("/metadata/annotations")?.get(key)?.as_str();
    let native = Some(text(pod, "/spec/schedulingGroup/podGroupName")).filter(|name| !name.is_empty());
    native
        .map(|name| (PodGroupApi::Native, name))
        .or_else(|| Some((PodGroupApi::Volcano, annotation(names::VOLCANO_GROUP)?)))
        .or_else(|| Some((PodGroupApi::Coscheduling, label(pod, names::COSCHEDULING_GROUP)?)))
}

fn groups(api: PodGroupApi) -> Resource {
    Resource::new(api.group_version().0, "podgroups")
}

/// Number of pods that must exist before any is placed.
fn least(group: &Value) -> i64 {
    let native = value::number(group, "/spec/schedulingPolicy/gang/minCount");
    native.max(value::number(group, "/spec/minMember"))
}

pub(super) fn place(store: &mut Store, schedule: &mut Schedule) {
    admit(store, schedule);
    let nodes: Vec<String> = keys(store, NODES)
        .into_iter()
        .map(|key| key.name)
        .filter(|name| answers(store, name))
        .collect();
    if nodes.is_empty() {
        return;
    }
    for key in keys(store, PODS) {
        let Some(pod) = store.get(&key).cloned() else {
            continue;
        };
        let waits =
            text(&pod, "/spec/nodeName").is_empty() && !value::deleting(&pod) && !value::has_ended(&pod);
        if !waits || !may_be_placed(store, &key, &pod) {
            continue;
        }
        if schedule.ripe(format!("place {}", value::uid(&pod)), schedule.pace.place) {
            bind(store, &key, &nodes);
        }
    }
}

/// Volcano admits a gang before any of its pods is created.
fn admit(store: &mut Store, schedule: &mut Schedule) {
    for key in keys(store, groups(PodGroupApi::Volcano)) {
        let Some(group) = store.get(&key).cloned() else {
            continue;
        };
        let new = text(&group, "/status/phase").is_empty();
        if new && schedule.ripe(format!("admit {}", value::uid(&group)), schedule.pace.place) {
            let mut group = (*group).clone();
            group["status"] = json!({"phase": "Inqueue"});
            store.put(Who::Kubernetes, &key, group);
        }
    }
}

fn may_be_placed(store: &mut Store, key: &Key, pod: &Value) -> bool {
    let Some((api, name)) = group_of(pod) else {
        return true;
    };
    let group_key = Key::new(groups(api), &key.namespace, name);
    let Some(group) = store.get(&group_key).cloned() else {
        return false;
    };
    let members = store.list(PODS, &key.namespace).map(|(_, pod)| pod);
    let members =
        members.filter(|p| group_of(p) == Some((api, name)) && !value::deleting(p) && !value::has_ended(p));
    let enough = i64::try_from(members.count()).unwrap_or(0) >= least(&group);
    if enough {
        let (mut group, time) = ((*group).clone(), store.time());
        match api {
            PodGroupApi::Native => {
                value::set_condition(
                    &mut group,
                    "PodGroupInitiallyScheduled",
                    "True",
                    "Scheduled",
                    "",
                    &time,
                );
            }
            PodGroupApi::Volcano => group["status"] = json!({"phase": "Running"}),
            PodGroupApi::Coscheduling => group["status"] = json!({"phase": "Scheduled"}),
        }
        store.put(Who::Kubernetes, &group_key, group);
    }
    enough
}

fn bind(store: &mut Store, key: &Key, nodes: &[String]) {
    let Some(pod) = store.get(key) else { return };
    let (mut pod, time) = ((**pod).clone(), store.time());
    // A function of the name alone: the order in which pods are created does not matter.
    let sum: usize = key.name.bytes().map(usize::from).sum();
    pod["spec"]["nodeName"] = json!(nodes[sum % nodes.len()]);
    value::set_condition(&mut pod, "PodScheduled", "True", "", "", &time);
    store.put(Who::Kubernetes, key, pod);
}
