//! TFJob: any mix of Chief (or Master), PS, Workers and Evaluators.
//!
//! How TensorFlow's processes find each other (`tf.distribute`, and `tf.estimator` before it): each one reads `TF_CONFIG`,
//! which lists the address of every server by task type and says which of them it is itself. Chief and Master are two
//! names of the task that also saves and reports; where there is none, worker 0 does that.

pub mod api;
mod outcome;
mod wiring;

use common::api::{RestartPolicy, SuccessPolicy};
use common::framework::{GangInfo, HostNames, OnFailure, PortInfo};
use common::names;
use common::resolve::Problems;
use common::tally::Tally;
use common::{
    Cast, Framework, KindInfo, Outcome, ResolvedJob, Role, RoleInfo, Settings, Slot, SlotId, Wiring,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The task that leads.
pub const CHIEF: Role = Role("Chief");
/// The same, as TensorFlow 1 called it.
pub const MASTER: Role = Role("Master");
/// Parameter servers: they hold variables, and never end by themselves.
pub const PS: Role = Role("PS");
/// Those who compute.
pub const WORKER: Role = Role("Worker");
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
    group: "kubeflow.org",
    version: "v1",
    stamp: None,
    plural: "tfjobs",
    controller: "tfjob-controller",
    managers: &[names::MANAGED_BY_US],
    framework: "tensorflow",
    replicas_field: "tfReplicaSpecs",
    container: Some("tensorflow"),
    port: Some(PortInfo {
        name: "tfjob-port",
        number: 2222,
    }),
    role_label: names::REPLICA_TYPE,
    host_names: HostNames::ByServiceMode,
    roles: &[
        RoleInfo::pods(CHIEF, RestartPolicy::Never).at_most(1),
        RoleInfo::pods(MASTER, RestartPolicy::Never).at_most(1),
        RoleInfo::pods(PS, RestartPolicy::Never),
        RoleInfo::pods(WORKER, RestartPolicy::Never),
        RoleInfo::pods(EVALUATOR, RestartPolicy::Never),
    ],
    scaled_role: Some(WORKER),
    default_backoff_limit: None,
    success_policies: &[
        SuccessPolicy::OfKind,
        SuccessPolicy::AllWorkers,
        SuccessPolicy::Leader,
    ],
    success: "when the Chief (or Master) has, else when Worker 0 has; AllWorkers: without a Chief, when all workers have; \
              Leader: when the Chief, Master or Worker 0 has",
    long_names: false,
    active_succeeds: true,
    legacy_clean_pod_policy: false,
    makes: &[],
    gang: GangInfo::COMMON,
};

impl Framework for TensorFlow {
    fn kind(&self) -> &'static KindInfo {
        &KIND
    }

    fn crd(&self) -> CustomResourceDefinition {
        api::crd()
    }

    fn wiring(&self, slot: &Slot, cast: &Cast, job: &ResolvedJob, settings: &Settings) -> Wiring {
        wiring::wiring(slot, cast, job, settings)
    }

    fn outcome(&self, tally: &Tally, job: &ResolvedJob) -> Outcome {
        outcome::outcome(tally, job)
    }

    fn leader(&self, cast: &Cast, _job: &ResolvedJob) -> Option<SlotId> {
        let first = |role| cast.of(role).next().map(|slot| slot.id);
        [CHIEF, MASTER, WORKER].into_iter().find_map(first)
    }

    /// Upstream's messages call a TFJob by namespace and name whether or not it has a Chief.
    fn leader_decides(&self, _job: &ResolvedJob) -> bool {
        false
    }

    fn addressed(&self, cast: &Cast, job: &ResolvedJob) -> Vec<SlotId> {
        let own = cast
            .slots()
            .iter()
            .filter(|slot| wiring::has_own_host_name(slot, job));
        own.map(|slot| slot.id).collect()
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
