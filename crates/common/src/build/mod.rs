//! Slot to object, and nothing else.

pub mod pod;
pub mod service;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::resolve::ResolvedJob;

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
