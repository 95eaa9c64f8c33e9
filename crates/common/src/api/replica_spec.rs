//! One role's replicas in `spec.<kind>ReplicaSpecs`.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many pods of a role there are, what they look like, and what happens when one fails.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSpec {
    /// Number of pods; default 1. 0 means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<i32>,
    /// The pod to make. Its restartPolicy is overwritten by the one beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplateSpec>,
    /// What happens when a pod of this role fails: Always, OnFailure, Never or ExitCode; the default is the kind's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
}

/// What happens when a pod fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// Containers restart in place whatever their exit code; a failed pod is replaced.
    Always,
    /// Containers restart in place when they fail; a failed pod is replaced.
    OnFailure,
    /// The job fails.
    Never,
    /// Exit codes from 128 on replace the pod, lower ones fail the job.
    ExitCode,
}
