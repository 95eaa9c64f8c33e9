//! The PodGroup of a job, and the labels, annotations and fields by which its pods belong to it.
//!
//! The fields are those of training-operator 1.9 (`pkg/controller.v1/common/job.go`, `scheduling.go`) and mpi-operator
//! 0.8 (`pkg/controller/podgroup.go`); for Kubernetes' own API, those of `k8s.io/api/scheduling/v1beta1`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSchedulingGroup, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Map, Value, json};

use crate::gang::{Gang, PodGroup, PodGroupApi};
use crate::job::ResolvedJob;
use crate::names::{self, Role};
use crate::quantity::Amount;

/// Request to a gang scheduler.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// API of the request.
    pub api: PodGroupApi,
    /// Number of pods that must be placed together.
    pub min: u32,
    /// Priority class of the pods.
    pub class: Option<String>,
    /// Roles of the pods that may belong to the gang, one entry per pod, the most important ones first.
    pub pods: Vec<Role>,
}

/// Amounts by resource name.
type Amounts = BTreeMap<String, Amount>;

/// Builds the PodGroup. It has the job's annotations.
#[must_use]
pub fn pod_group(job: &ResolvedJob, annotations: &BTreeMap<String, String>, terms: &Terms) -> PodGroup {
    let labels = names::job_labels(job.info.controller, &job.key.name);
    let mut metadata = super::metadata(job, names::pod_group(&job.key.name), labels);
    let mut copied = annotations.clone();
    copied.remove(names::LAST_APPLIED);
    metadata.annotations = Some(copied).filter(|a| !a.is_empty());
    PodGroup {
        api: terms.api,
        metadata,
        spec: spec(job, annotations, terms),
    }
}

/// Spec of the PodGroup.
#[must_use]
pub fn spec(job: &ResolvedJob, annotations: &BTreeMap<String, String>, terms: &Terms) -> Value {
    let mut spec = Map::new();
    let policy = &job.policy.scheduling;
    match terms.api {
        PodGroupApi::Native => {
            let gang = json!({ "gang": { "minCount": terms.min } });
            spec.insert("schedulingPolicy".to_owned(), gang);
            put(&mut spec, "priorityClassName", terms.class.as_deref());
        }
        PodGroupApi::Volcano => {
            let info = job.info.gang;
            let annotated = info.queue_annotation.and_then(|key| annotations.get(key));
            let queue = policy.queue.as_ref().or(annotated).map(String::as_str);
            let queue = queue.filter(|queue| !queue.is_empty());
            spec.insert("minMember".to_owned(), terms.min.into());
            put(&mut spec, "minResources", min_resources(job, terms));
            put(&mut spec, "priorityClassName", terms.class.as_deref());
            put(&mut spec, "queue", queue.or(info.default_queue));
        }
        PodGroupApi::Coscheduling => {
            let timeout = policy.schedule_timeout_seconds;
            spec.insert("minMember".to_owned(), terms.min.into());
            put(&mut spec, "minResources", min_resources(job, terms));
            put(
                &mut spec,
                "scheduleTimeoutSeconds",
                timeout.or(job.info.gang.default_timeout),
            );
        }
    }
    spec.into()
}

fn put(spec: &mut Map<String, Value>, field: &str, value: Option<impl Into<Value>>) {
    spec.extend(value.map(|value| (field.to_owned(), value.into())));
}

/// Minimum resources of the gang: the user's value, else the requests of the most important pods of the gang.
fn min_resources(job: &ResolvedJob, terms: &Terms) -> Option<Value> {
    let stated = job.policy.scheduling.min_resources.as_ref();
    if let Some(stated) = stated.filter(|stated| !stated.is_empty()) {
        return serde_json::to_value(stated).ok();
    }
    let mut sum = Amounts::new();
    let first = usize::try_from(terms.min).unwrap_or(usize::MAX);
    let of_role: BTreeMap<Role, Amounts> = job
        .roles
        .iter()
        .filter_map(|r| Some((r.role, requests(r.template.spec.as_ref()?))))
        .collect();
    for role in terms.pods.iter().take(first) {
        add(&mut sum, of_role.get(role).unwrap_or(&Amounts::new()));
    }
    let written = sum.into_iter().map(|(name, amount)| (name, amount.write()));
    let written: BTreeMap<String, Quantity> = written.collect();
    (!written.is_empty()).then(|| serde_json::to_value(written).ok())?
}

/// Request of a pod, by Kubernetes' rule (`k8s.io/component-helpers/resource`, `PodRequests`). It is the larger of two
/// amounts, plus the overhead: all containers and side-cars together; or the largest init container together with the
/// side-cars that run by then.
fn requests(spec: &PodSpec) -> Amounts {
    let mut sum = Amounts::new();
    for container in &spec.containers {
        add(&mut sum, &of_container(container));
    }
    let (mut sidecars, mut init) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let mut own = of_container(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, &own);
            continue;
        }
        add(&mut own, &sidecars);
        raise(&mut init, &own);
    }
    add(&mut sum, &sidecars);
    raise(&mut sum, &init);
    // Pod-level resources replace those of the containers.
    let whole = spec.resources.as_ref();
    for (name, limit) in amounts(whole.and_then(|r| r.limits.as_ref())) {
        sum.entry(name).or_insert(limit);
    }
    sum.extend(amounts(whole.and_then(|r| r.requests.as_ref())));
    add(&mut sum, &amounts(spec.overhead.as_ref()));
    sum
}

/// Request of a container. Where only a limit is set, the limit is the request.
fn of_container(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    let mut all = amounts(resources.and_then(|r| r.limits.as_ref()));
    all.extend(amounts(resources.and_then(|r| r.requests.as_ref())));
    all
}

fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let read = |(name, quantity): (&String, &Quantity)| Some((name.clone(), Amount::read(quantity)?));
    list.into_iter().flatten().filter_map(read).collect()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.plus(*amount);
    }
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = most.entry(name.clone()).or_default();
        *entry = entry.max(*amount);
    }
}

/// Makes a pod of a role a member of the gang.
pub fn mark(pod: &mut Pod, job: &ResolvedJob, role: Role, gang: &Gang, class: Option<&str>) {
    let name = names::pod_group(&job.key.name);
    let spec = pod.spec.get_or_insert_default();
    match gang {
        Gang::None => return,
        Gang::Native => {
            spec.scheduling_group = Some(PodSchedulingGroup {
                pod_group_name: Some(name),
            });
            // All pods of a gang must have its priority.
            if unstated(spec.priority_class_name.as_deref()) {
                spec.priority_class_name = class.map(str::to_owned);
            }
            return;
        }
        Gang::Volcano => {
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(names::VOLCANO_GROUP.to_owned(), name);
            if job.info.gang.tells_role {
                annotations.insert(names::VOLCANO_TASK.to_owned(), role.lower());
            }
        }
        Gang::Coscheduling { .. } => {
            let labels = pod.metadata.labels.get_or_insert_default();
            labels.insert(names::COSCHEDULING_GROUP.to_owned(), name);
        }
    }
    if unstated(spec.scheduler_name.as_deref()) {
        spec.scheduler_name = Some(gang.scheduler().to_owned());
    }
}

/// True if a text is absent or empty. Go clients write absent values as the empty string.
#[must_use]
pub fn unstated(text: Option<&str>) -> bool {
    text.is_none_or(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(spec: &Value) -> Value {
        let spec: PodSpec = serde_json::from_value(spec.clone()).unwrap();
        let written = requests(&spec).into_iter().map(|(n, a)| (n, a.write().0));
        serde_json::to_value(written.collect::<BTreeMap<_, _>>()).unwrap()
    }

    fn container(requests: &Value, limits: &Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
    }

    #[test]
    fn limits_stand_in_for_what_is_not_requested() {
        let spec = json!({"containers": [container(&json!({"cpu": "1"}), &json!({"cpu": "2", "nvidia.com/gpu": "1"}))]});
        assert_eq!(asked(&spec), json!({"cpu": "1", "nvidia.com/gpu": "1"}));
    }

    #[test]
    fn init_containers_count_if_they_ask_for_more_and_side_cars_always() {
        let mut sidecar = container(&json!({"cpu": "500m"}), &json!({}));
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({
            "initContainers": [container(&json!({"cpu": "9"}), &json!({})), sidecar,
                               container(&json!({"cpu": "9", "memory": "1Gi"}), &json!({}))],
            "containers": [container(&json!({"cpu": "4", "memory": "2Gi"}), &json!({}))],
            "overhead": {"cpu": "250m"},
        });
        // The second init container runs beside the side-car; the training container too, but asks for less.
        assert_eq!(asked(&spec), json!({"cpu": "9750m", "memory": "2Gi"}));
    }

    #[test]
    fn what_the_pod_states_as_a_whole_counts() {
        let spec = json!({
            "resources": {"requests": {"cpu": "3"}},
            "containers": [container(&json!({"cpu": "1"}), &json!({"memory": "1Gi"}))],
        });
        assert_eq!(asked(&spec), json!({"cpu": "3", "memory": "1Gi"}));
    }
}
