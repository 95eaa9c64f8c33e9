//! Builders of objects. They contain no decisions.

pub mod autoscaler;
pub mod batch_job;
pub mod init_container;
pub mod pod;
pub mod pod_group;
pub mod service;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::job::ResolvedJob;

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

/// Digest of a text (FNV-1a, 64 bits). Unlike the hashes of the standard library it is equal in every process and every
/// version.
#[must_use]
pub fn digest(text: &str) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = text
        .bytes()
        .fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// Owner reference of children to the job. It is complete from their creation on, because admission webhooks follow it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_fnv_1a() {
        // Test vectors of draft-eastlake-fnv.
        assert_eq!(digest(""), "cbf29ce484222325");
        assert_eq!(digest("a"), "af63dc4c8601ec8c");
        assert_eq!(digest("foobar"), "85944171f73967e8");
    }
}
