//! `spec.runPolicy`: the life of a job.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a job lives, how often it may fail, what is left of it at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunPolicy {
    /// Which pods are deleted when the job ends: None (default), Running or All.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_pod_policy: Option<CleanPodPolicy>,
    /// Seconds after the end at which the job itself is deleted; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Seconds from status.startTime after which the job fails; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub active_deadline_seconds: Option<i64>,
    /// Restarts that are allowed before the job fails, summed over all its pods; absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub backoff_limit: Option<i32>,
    /// Gang scheduling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling_policy: Option<SchedulingPolicy>,
    /// True: no pods, until it is set to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What begins anew when a pod must be replaced: that Pod (default), or all pods of the Job together. Trainyard's addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_scope: Option<RestartScope>,
    /// Which controller acts on the job: kubeflow.org/training-operator (default) or kueue.x-k8s.io/multikueue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
}

/// What begins anew when a pod must be replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartScope {
    /// That pod.
    #[default]
    Pod,
    /// All pods of the job, together.
    Job,
}

/// When a job has succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SuccessPolicy {
    /// As the kind has it.
    #[default]
    #[serde(rename = "")]
    OfKind,
    /// When all pods that do the work have.
    AllWorkers,
    /// When the leader has: the replica of rank 0, or the launcher.
    Leader,
}

impl SuccessPolicy {
    /// The value on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OfKind => "",
            Self::AllWorkers => "AllWorkers",
            Self::Leader => "Leader",
        }
    }
}

/// Which pods are deleted when a job ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CleanPodPolicy {
    /// Every pod.
    All,
    /// Pods that still run or wait.
    Running,
    /// No pod.
    #[default]
    None,
}

impl CleanPodPolicy {
    /// This policy, but no weaker than Running: for jobs that are stopped at a limit.
    #[must_use]
    pub fn max_with_running(self) -> Self {
        match self {
            Self::All => Self::All,
            Self::Running | Self::None => Self::Running,
        }
    }
}

/// What a gang scheduler is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulingPolicy {
    /// Pods that must be placed together; default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_available: Option<i32>,
    /// Queue of the gang scheduler. Immutable once set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Resources that must be free together; default the sum over minAvailable pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_resources: Option<BTreeMap<String, Quantity>>,
    /// Priority class of the gang.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
    /// Seconds that the scheduler may wait for the gang.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub schedule_timeout_seconds: Option<i32>,
}
