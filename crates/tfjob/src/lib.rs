//! TFJob: any mix of Chief (or Master), PS, Workers and Evaluators.
//!
//! How TensorFlow's processes find each other (`tf.distribute`, and `tf.estimator` before it): each one reads `TF_CONFIG`,
//! which lists the address of every server by task type and says which of them it is itself. Chief and Master are two
//! names of the task that also saves and reports; where there is none, worker 0 does that.

pub mod api;
mod success;
mod wiring;

use common::api::RestartPolicy;
use common::kind::MessageStyle;
use common::kind::{MASTER, OnFailure, PortInfo, WORKER};
use common::problems::Problems;
use common::replica_states::ReplicaStates;
use common::{
    Framework, KindInfo, Progress, Replica, ReplicaId, Replicas, ResolvedJob, Role, RoleInfo, Settings,
    Wiring,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The task that leads; a Master is the same, as TensorFlow 1 called it.
pub const CHIEF: Role = Role("Chief");
/// Parameter servers: they hold variables, and never end by themselves.
pub const PS: Role = Role("PS");
/// Evaluates checkpoints beside the training.
pub const EVALUATOR: Role = Role("Evaluator");

/// The framework, for the operator's registry.
pub static FRAMEWORK: TensorFlow = TensorFlow;

/// TFJob's contribution.
#[derive(Debug)]
pub struct TensorFlow;

/// Facts of the kind (training-operator 1.9, `pkg/apis/kubeflow.org/v1/tensorflow_types.go`, `tensorflow_defaults.go`).
/// Roles in the order in which Kueue lists them (`pkg/controller/jobs/kubeflow/jobs/tfjob/tfjob_controller.go`).
pub static KIND: KindInfo = KindInfo {
    kind: "TFJob",
    plural: "tfjobs",
    controller: "tfjob-controller",
    framework: "tensorflow",
    replicas_field: "tfReplicaSpecs",
    container: Some("tensorflow"),
    port: Some(PortInfo {
        name: "tfjob-port",
        number: 2222,
    }),
    roles: &[
        RoleInfo::pods(CHIEF, RestartPolicy::Never).at_most(1),
        RoleInfo::pods(MASTER, RestartPolicy::Never).at_most(1),
        RoleInfo::pods(PS, RestartPolicy::Never),
        RoleInfo::pods(WORKER, RestartPolicy::Never),
        RoleInfo::pods(EVALUATOR, RestartPolicy::Never),
    ],
    decides: &[CHIEF, MASTER, WORKER],
    success: "when the Chief (or Master) has, else when Worker 0 has; AllWorkers: without a Chief, when all workers have; \
              Leader: when the Chief, Master or Worker 0 has",
    message_style: MessageStyle::QualifiedResult,
    ..KindInfo::COMMON
};

impl Framework for TensorFlow {
    fn kind(&self) -> &'static KindInfo {
        &KIND
    }

    fn crd(&self) -> CustomResourceDefinition {
        api::crd()
    }

    fn wiring(
        &self,
        replica: &Replica,
        replicas: &Replicas,
        job: &ResolvedJob,
        settings: &Settings,
    ) -> Wiring {
        wiring::wiring(replica, replicas, job, settings)
    }

    fn progress(&self, states: &ReplicaStates, job: &ResolvedJob) -> Progress {
        success::progress(states, job)
    }

    /// Upstream's messages call a TFJob by namespace and name whether or not it has a Chief.
    fn needs_own_service(&self, replicas: &Replicas, job: &ResolvedJob) -> Vec<ReplicaId> {
        job.with_own_host_names(replicas, None)
    }

    fn check(&self, job: &ResolvedJob, problems: &mut Problems) {
        wiring::check(job, problems);
    }

    fn on_failure(&self, role: Role, job: &ResolvedJob) -> OnFailure {
        if role == WORKER && wiring::tolerates_lost_workers(job) {
            OnFailure::Tolerate
        } else {
            OnFailure::ByPolicy
        }
    }
}
