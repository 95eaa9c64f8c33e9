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
mod wiring;

use common::api::{RestartPolicy, SuccessPolicy};
use common::kind::{ExtraKind, MASTER, PortInfo, WORKER};
use common::problems::Problems;
use common::replica_states::{ReplicaPhase, ReplicaStates};
use common::{
    Framework, KindInfo, Progress, Replica, ReplicaId, Replicas, ResolvedJob, RoleInfo, Settings, Wiring,
    elastic, success,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The framework, for the operator's registry.
pub static FRAMEWORK: PyTorch = PyTorch;

/// PyTorchJob's contribution.
#[derive(Debug)]
pub struct PyTorch;

/// Facts of the kind (training-operator 1.9, `pkg/apis/kubeflow.org/v1/pytorch_types.go`).
pub static KIND: KindInfo = KindInfo {
    kind: "PyTorchJob",
    plural: "pytorchjobs",
    controller: "pytorchjob-controller",
    framework: "pytorch",
    replicas_field: "pytorchReplicaSpecs",
    container: Some("pytorch"),
    port: Some(PortInfo {
        name: "pytorchjob-port",
        number: 23456,
    }),
    roles: &[
        RoleInfo::pods(MASTER, RestartPolicy::OnFailure).at_most(1),
        RoleInfo::pods(WORKER, RestartPolicy::OnFailure),
    ],
    decides: &[MASTER, WORKER],
    success: "when the Master has, else when all workers have (of an elastic job: one); AllWorkers: when the Master and all \
              workers have; Leader: when the Master or Worker 0 has",
    makes: &[ExtraKind::Autoscaler],
    ..KindInfo::COMMON
};

impl Framework for PyTorch {
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
        // In an elastic job without a Master the others finish with the first worker that does, or were surplus.
        let first = |job: &ResolvedJob| {
            elastic::policy(job).is_some()
                && job.success != SuccessPolicy::AllWorkers
                && states.count(WORKER, &ReplicaPhase::Succeeded) > 0
        };
        match success::deciding(job) {
            Some(WORKER) if first(job) => Progress::Succeeded,
            _ => success::progress(states, job, self.elastic(job).as_ref()),
        }
    }

    fn needs_own_service(&self, replicas: &Replicas, job: &ResolvedJob) -> Vec<ReplicaId> {
        // The rendezvous of an elastic job is at worker 0 even beside a Master.
        let elastic = elastic::policy(job).is_some();
        let host = replicas.first_of(&[WORKER]).filter(|_| elastic);
        let leader = self.leader(replicas, job);
        leader
            .into_iter()
            .chain(host.filter(|host| Some(*host) != leader))
            .collect()
    }

    fn check(&self, job: &ResolvedJob, problems: &mut Problems) {
        wiring::check(job, problems);
    }
}
