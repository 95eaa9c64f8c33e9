//! `status` of a job: upstream's fields exactly, and beside them what makes restarts exact across crashes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run_policy::CleanPodPolicy;

/// What is known about a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    /// One entry per type; the one that changed last is last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<JobCondition>,
    /// Counts of pods per role; kept after the pods are gone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub replica_statuses: BTreeMap<String, ReplicaStatus>,
    /// When the job began; anew on resume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the job ended, in whatever way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Upstream's field; read, never written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reconcile_time: Option<Time>,
    /// Restarts so far. Trainyard's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_counts: Option<RestartCounts>,
    /// Which of the kind's API versions the job was created through, where that makes a difference; fixed when the
    /// operator first sees the job. Trainyard's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// Lowest attempt that counts: pods of lower attempts belong to the time before a suspension. Trainyard's addition.
    #[serde(skip_serializing_if = "is_first")]
    pub attempt: u32,
    /// What is done with the pods of the finished job, fixed at its end. Trainyard's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<CleanPodPolicy>,
    /// Slots that were restarted, by `<role lower>-<index>`. Trainyard's addition.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<String, SlotStatus>,
    /// Restarts of all pods together, under `runPolicy.restartScope: Job`. Trainyard's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_restarts: Option<WholeRestarts>,
    /// A gang of which a part is refused; absent once all of it runs. Trainyard's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gang: Option<GangStatus>,
    /// The pod that failed first when the job last was in trouble; kept after its pods are gone. Trainyard's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<FirstFailure>,
    /// What the job waits for, in words; absent when it waits for nothing unusual. Trainyard's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}

/// Counts of one role's pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaStatus {
    /// Pods that run.
    #[serde(skip_serializing_if = "is_zero")]
    pub active: i32,
    /// Pods that succeeded.
    #[serde(skip_serializing_if = "is_zero")]
    pub succeeded: i32,
    /// Pods that failed and are not being replaced.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: i32,
    /// Deprecated upstream; read, never written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Label selector of the role's pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Indices that succeeded, as in `0-3,7`: a finished pod that is removed later is not run again. Trainyard's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded_indices: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(n: &i32) -> bool {
    *n == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_first(n: &u32) -> bool {
    *n == 0
}

/// Restarts of all pods of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartCounts {
    /// Pods replaced because they failed, and container restarts of pods that are gone. Counts against backoffLimit.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: i32,
    /// Container restarts in place, of the pods that exist. Counts against backoffLimit.
    #[serde(skip_serializing_if = "is_zero")]
    pub in_place: i32,
    /// Pods replaced because they were deleted, evicted, preempted or lost. Does not count against backoffLimit.
    #[serde(skip_serializing_if = "is_zero")]
    pub disruptions: i32,
}

/// One slot's restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SlotStatus {
    /// Number of the incarnation that runs or is to run, from 0; the pod's attempt label. Stored before the old pod is deleted.
    pub attempt: u32,
    /// When this attempt was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Why the last incarnation was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Restarts of all pods of a job together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WholeRestarts {
    /// How many there were.
    pub count: u32,
    /// When the last one was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A gang of which a part is refused, by a quota for example.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GangStatus {
    /// Since when a part of it waits for the rest; absent while that is not so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete_since: Option<Time>,
    /// How often what there was of it was given back, so that others could go on.
    #[serde(skip_serializing_if = "is_first")]
    pub given_back: u32,
    /// Nothing of it is made before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Why it was given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The pod that failed first, or was taken away, when the job was in trouble. Others that failed before the job ran
/// again, or ended, are its followers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FirstFailure {
    /// Name of the pod.
    pub pod: String,
    /// Its role.
    pub role: String,
    /// Its index within the role.
    pub index: u32,
    /// Which attempt at its slot it was.
    pub attempt: u32,
    /// Node that it ran on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Container that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Number of the signal that ended it, where the exit code says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// One word: the container's (`OOMKilled`, `Error`), the pod's (`Evicted`), the disruption's (`PreemptionByScheduler`),
    /// or `Deleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ended; when that was seen, if nothing tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The end of its termination message, 1 KiB at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Pods that failed after it; the first ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<String>,
    /// How many pods failed after it.
    #[serde(skip_serializing_if = "is_zero")]
    pub follower_count: i32,
}

/// One statement about the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCondition {
    /// What the statement is about.
    #[serde(rename = "type")]
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Kind and word, such as `PyTorchJobRunning`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the entry last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

/// Types of conditions, as upstream has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// The operator has seen the job.
    Created,
    /// All pods that the job needs run.
    Running,
    /// A pod is being replaced.
    Restarting,
    /// The job ended well. Final.
    Succeeded,
    /// The job has no pods because the user or a queue asked for it.
    Suspended,
    /// The job ended badly. Final.
    Failed,
}

impl ConditionType {
    /// The type's name on the wire, and the second half of its reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Running => "Running",
            Self::Restarting => "Restarting",
            Self::Succeeded => "Succeeded",
            Self::Suspended => "Suspended",
            Self::Failed => "Failed",
        }
    }
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known.
    Unknown,
}
