//! API types that all kinds share. Field names are those of Kubeflow's `kubeflow.org/v1`
//! (training-operator 1.9, `pkg/apis/kubeflow.org/v1/common_types.go`); fields that are ours say so.

pub mod replica_spec;
pub mod run_policy;
pub mod schema;
pub mod status;

pub use replica_spec::{ReplicaSpec, RestartPolicy};
pub use run_policy::{CleanPodPolicy, RestartScope, RunPolicy, SchedulingPolicy, SuccessPolicy};
pub use status::{
    ConditionStatus, ConditionType, FirstFailure, GangStatus, JobCondition, JobStatus, ReplicaStatus,
    RestartCounts, SlotStatus, WholeRestarts,
};
