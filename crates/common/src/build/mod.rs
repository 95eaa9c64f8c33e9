//! Slot to object, and nothing else.

pub mod batch_job;
pub mod pod;
pub mod pod_group;
pub mod service;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::resolve::ResolvedJob;

/// Metadata of an object that serves the whole job.
#[must_use]
pub fn metadata(job: &ResolvedJob, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(job.key.namespace.to_string()),
        labels: Some(labels),
        owner_references: Some(vec![owner_reference(job)]),
        ..ObjectMeta::default()
    }
}

/// The reference by which children belong to the job; complete from their first moment (admission webhooks walk it).
#[must_use]
pub fn owner_reference(job: &ResolvedJob) -> OwnerReference {
    OwnerReference {
        api_version: job.info.api_version(),
        kind: job.info.kind.to_owned(),
        name: job.key.name.to_string(),
        uid: job.uid.to_string(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
