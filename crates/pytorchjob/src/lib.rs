//! PyTorchJob: one Master and any number of Workers, or Workers alone.
//!
//! How PyTorch's processes find each other (`torch.distributed`, `torchrun`):
//!
//! * static: everybody connects to the store of rank 0 at `MASTER_ADDR:MASTER_PORT` and says its `RANK` of `WORLD_SIZE`;
//!   `torchrun` reads the same from `PET_*`, one node per pod.
//! * elastic: everybody joins a rendezvous (`PET_RDZV_*`) that hands out ranks; with the c10d backend, worker 0 hosts it.
//!
//! Rank 0 is the Master, or worker 0 where there is none.

pub mod api;
mod outcome;
mod wiring;

use common::api::{RestartPolicy, SuccessPolicy};
use common::framework::{ExtraKind, GangInfo, HostNames, PortInfo};
use common::names;
use common::resolve::Problems;
use common::tally::Tally;
use common::{
    Cast, Framework, KindInfo, Outcome, ResolvedJob, Role, RoleInfo, Settings, Slot, SlotId, Wiring, build,
};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The role of rank 0.
pub const MASTER: Role = Role("Master");
/// The role of all others.
pub const WORKER: Role = Role("Worker");

/// The framework, for the operator's registry.
pub static FRAMEWORK: PyTorch = PyTorch;

/// PyTorchJob's contribution.
#[derive(Debug)]
pub struct PyTorch;

/// Facts of the kind (training-operator 1.9, `pkg/apis/kubeflow.org/v1/pytorch_types.go`).
pub static KIND: KindInfo = KindInfo {
    kind: "PyTorchJob",
    group: "kubeflow.org",
    version: "v1",
    stamp: None,
    plural: "pytorchjobs",
    controller: "pytorchjob-controller",
    managers: &[names::MANAGED_BY_US],
    framework: "pytorch",
    replicas_field: "pytorchReplicaSpecs",
    container: Some("pytorch"),
    port: Some(PortInfo {
        name: "pytorchjob-port",
        number: 23456,
    }),
    role_label: names::REPLICA_TYPE,
    host_names: HostNames::ByServiceMode,
    roles: &[
        RoleInfo::pods(MASTER, RestartPolicy::OnFailure).at_most(1),
        RoleInfo::pods(WORKER, RestartPolicy::OnFailure),
    ],
    scaled_role: Some(WORKER),
    default_backoff_limit: None,
    success_policies: &[
        SuccessPolicy::OfKind,
        SuccessPolicy::AllWorkers,
        SuccessPolicy::Leader,
    ],
    success: "when the Master has, else when all workers have (of an elastic job: one); AllWorkers: when the Master and all \
              workers have; Leader: when the Master or Worker 0 has",
    long_names: false,
    active_succeeds: true,
    legacy_clean_pod_policy: false,
    makes: &[ExtraKind::Autoscaler],
    gang: GangInfo::COMMON,
};

impl Framework for PyTorch {
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
        cast.slots().first().map(|slot| slot.id)
    }

    fn leader_decides(&self, job: &ResolvedJob) -> bool {
        job.replica(MASTER).is_some_and(|master| master.count > 0)
    }

    fn addressed(&self, cast: &Cast, job: &ResolvedJob) -> Vec<SlotId> {
        let mut slots: Vec<SlotId> = self.leader(cast, job).into_iter().collect();
        // The rendezvous of an elastic job is at worker 0 even beside a Master.
        if wiring::fields(job).elastic_policy.is_some() {
            slots.extend(
                cast.of(WORKER)
                    .next()
                    .map(|slot| slot.id)
                    .filter(|id| !slots.contains(id)),
            );
        }
        slots
    }

    fn check(&self, job: &ResolvedJob, problems: &mut Problems) {
        wiring::check(job, problems);
    }

    /// Only where metrics are given: an elastic job may as well be scaled by hand, or by somebody else's autoscaler.
    fn autoscaler(&self, job: &ResolvedJob) -> Option<HorizontalPodAutoscaler> {
        let elastic = wiring::fields(job).elastic_policy?;
        let (min, max) = wiring::limits(&elastic, job);
        let metrics = elastic.metrics.filter(|metrics| !metrics.is_empty())?;
        // Without limits those are the workers that there are; of none there is nothing to scale.
        (min > 0).then(|| build::autoscaler::autoscaler(job, min, max, metrics))
    }
}
