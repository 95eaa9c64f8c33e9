//! JAXJob: any number of Workers.
//!
//! How JAX's processes find each other (`jax.distributed.initialize`): process 0, which is worker 0, runs a coordinator, to
//! which all connect with their id and the number of processes.

mod wiring;

use common::api::RestartPolicy;
use common::api::schema::{self, NoFields};
use common::kind::{Example, PortInfo, WORKER};
use common::{Framework, KindInfo, Replica, Replicas, ResolvedJob, RoleInfo, Settings, Wiring};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The framework, for the operator's registry.
pub static FRAMEWORK: Jax = Jax;

/// JAXJob's contribution.
#[derive(Debug)]
pub struct Jax;

/// Facts of the kind (training-operator 1.9, `pkg/apis/kubeflow.org/v1/jax_types.go`, `jax_defaults.go`).
pub static KIND: KindInfo = KindInfo {
    kind: "JAXJob",
    plural: "jaxjobs",
    controller: "jaxjob-controller",
    framework: "jax",
    replicas_field: "jaxReplicaSpecs",
    container: Some("jax"),
    port: Some(PortInfo {
        name: "jaxjob-port",
        number: 6666,
    }),
    roles: &[RoleInfo::pods(WORKER, RestartPolicy::Never)],
    decides: &[WORKER],
    success: "when all workers have, which is what AllWorkers says too; Leader: when Worker 0 has",
    example: Some(Example {
        name: "jax",
        about: "Three processes fit one model, each to its own part of the data.",
        image: "docker.io/trainyard/jax:0.1.0",
        command: &["python3", "/opt/trainyard/train.py"],
        roles: &[(WORKER, 3)],
    }),
    ..KindInfo::COMMON
};

impl Framework for Jax {
    fn kind(&self) -> &'static KindInfo {
        &KIND
    }

    fn crd(&self) -> CustomResourceDefinition {
        let about = "A JAX training job: any number of Workers, the first of which coordinates.";
        schema::crd::<NoFields>(&KIND, "jxj", about, &[])
    }

    fn wiring(
        &self,
        replica: &Replica,
        replicas: &Replicas,
        job: &ResolvedJob,
        _settings: &Settings,
    ) -> Wiring {
        wiring::wiring(replica, replicas, job)
    }
}
