//! MXJob: a Scheduler, Servers and Workers that train with MXNet (or BytePS), or a TunerTracker, TunerServers and a Tuner
//! that tune with TVM. Upstream removed the kind in 1.9; it is as in 1.8.
//!
//! How the processes find each other: Servers and Workers connect to the Scheduler at `DMLC_PS_ROOT_URI:DMLC_PS_ROOT_PORT` and
//! learn of each other from it (ps-lite). Tuners read in `MX_CONFIG` where everybody is.

mod api;
mod wiring;

use common::api::RestartPolicy;
use common::kind::{Example, PortInfo, WORKER};
use common::problems::Problems;
use common::{
    Framework, KindInfo, Replica, ReplicaId, Replicas, ResolvedJob, Role, RoleInfo, Settings, Wiring,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// Introduces Servers and Workers to each other.
pub const SCHEDULER: Role = Role("Scheduler");
/// Keeps weights.
pub const SERVER: Role = Role("Server");
/// Knows which tuner servers are free.
pub const TUNER_TRACKER: Role = Role("TunerTracker");
/// Measures what a tuner wants to be measured.
pub const TUNER_SERVER: Role = Role("TunerServer");
/// Tunes.
pub const TUNER: Role = Role("Tuner");

/// The framework, for the operator's registry.
pub static FRAMEWORK: MxNet = MxNet;

/// MXJob's contribution.
#[derive(Debug)]
pub struct MxNet;

/// Facts of the kind (training-operator 1.8, `pkg/apis/kubeflow.org/v1/mxnet_types.go`, `mxnet_defaults.go`).
pub static KIND: KindInfo = KindInfo {
    kind: "MXJob",
    plural: "mxjobs",
    controller: "mxjob-controller",
    framework: "mxnet",
    replicas_field: "mxReplicaSpecs",
    container: Some("mxnet"),
    port: Some(PortInfo {
        name: "mxjob-port",
        number: 9091,
    }),
    roles: &[
        RoleInfo::pods(SCHEDULER, RestartPolicy::Never).at_most(1),
        RoleInfo::pods(SERVER, RestartPolicy::Never),
        RoleInfo::pods(WORKER, RestartPolicy::Never),
        RoleInfo::pods(TUNER_TRACKER, RestartPolicy::Never),
        RoleInfo::pods(TUNER_SERVER, RestartPolicy::Never),
        RoleInfo::pods(TUNER, RestartPolicy::Never),
    ],
    decides: &[SCHEDULER, TUNER, WORKER],
    success: "when the Scheduler has (it ends with the workers), else when all Tuners have, else when all workers have; \
              AllWorkers: when all workers have, too; Leader: when Worker 0 or else Tuner 0 has",
    example: Some(Example {
        name: "mxnet",
        about: "Two Workers train one model, whose weights two Servers keep.",
        image: "docker.io/trainyard/mxnet:0.1.0",
        command: &["python3", "/opt/trainyard/train.py"],
        roles: &[(SCHEDULER, 1), (SERVER, 2), (WORKER, 2)],
    }),
    ..KindInfo::COMMON
};

impl Framework for MxNet {
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

    /// The Scheduler decides, and says nothing.
    fn leader(&self, replicas: &Replicas, _job: &ResolvedJob) -> Option<ReplicaId> {
        replicas.first_of(&[WORKER, TUNER, SCHEDULER])
    }

    fn rendezvous(&self, replicas: &Replicas, _job: &ResolvedJob) -> Option<ReplicaId> {
        replicas.first_of(&[SCHEDULER, TUNER_TRACKER])
    }

    fn needs_own_service(&self, replicas: &Replicas, job: &ResolvedJob) -> Vec<ReplicaId> {
        job.with_own_host_names(replicas, replicas.first_of(&[SCHEDULER]))
    }

    fn check(&self, job: &ResolvedJob, problems: &mut Problems) {
        job.check_own::<api::Fields>(problems);
    }
}
