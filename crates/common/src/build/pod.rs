//! The pod of a slot.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::RestartPolicy;
use crate::cast::{Slot, SlotId};
use crate::framework::Wiring;
use crate::names::{self, Attempt};
use crate::resolve::{ResolvedJob, ServiceMode, Settings};

/// Makes the pod of `slot` from its role's template and the framework's wiring.
#[must_use]
pub fn pod(
    job: &ResolvedJob,
    slot: &Slot,
    attempt: Attempt,
    leader: Option<SlotId>,
    wiring: Wiring,
    settings: &Settings,
) -> Pod {
    let replica = job.replica(slot.id.role);
    let template = replica.map(|r| r.template.clone()).unwrap_or_default();
    let PodTemplateSpec { metadata, spec } = template;
    let mut metadata = metadata.unwrap_or_default();
    let mut labels = metadata.labels.take().unwrap_or_default();
    labels.extend(names::slot_labels(
        job.info.controller,
        &job.key.name,
        slot.id.role,
        slot.id.index,
    ));
    labels.insert(names::ATTEMPT.to_owned(), attempt.0.to_string());
    if leader == Some(slot.id) {
        labels.insert(names::JOB_ROLE.to_owned(), names::JOB_ROLE_MASTER.to_owned());
    }
    let mut spec = spec.unwrap_or_default();
    let Wiring { env, init_containers } = wiring;
    for container in &mut spec.containers {
        // Appended, not merged: of two entries of one name the later wins, and upstream appends too.
        container.env.get_or_insert_default().extend(env.iter().cloned());
    }
    if !init_containers.is_empty() {
        spec.init_containers
            .get_or_insert_default()
            .extend(init_containers);
    }
    let policy = replica.map_or(job.info.default_restart_policy, |r| r.restart_policy);
    spec.restart_policy = Some(pod_restart_policy(policy).to_owned());
    if settings.service_mode == ServiceMode::Job {
        spec.hostname.get_or_insert_with(|| slot.name.clone());
        spec.subdomain
            .get_or_insert_with(|| names::job_service(&job.key.name));
    }
    Pod {
        metadata: ObjectMeta {
            name: Some(slot.name.clone()),
            namespace: Some(job.key.namespace.to_string()),
            labels: Some(labels),
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![super::owner_reference(job)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// The kubelet knows no `ExitCode`: there the pod must end so that its exit code can be judged.
#[must_use]
pub fn pod_restart_policy(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Always => "Always",
        RestartPolicy::OnFailure => "OnFailure",
        RestartPolicy::Never | RestartPolicy::ExitCode => "Never",
    }
}
