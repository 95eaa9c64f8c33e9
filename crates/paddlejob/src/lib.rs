//! PaddleJob: Workers alone (collective training), or Masters and Workers (parameter servers).
//!
//! How Paddle's processes find each other: each pod runs `paddle.distributed.launch`, and the launcher of rank 0 gathers
//! the others at `PADDLE_MASTER`. It knows that it is the one by its own address there.

mod api;
mod wiring;

use common::api::RestartPolicy;
use common::elastic::{self, Elastic};
use common::kind::{Example, ExtraKind, MASTER, PortInfo, WORKER};
use common::problems::Problems;
use common::{Framework, KindInfo, Replica, Replicas, ResolvedJob, RoleInfo, Settings, Wiring};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The framework, for the operator's registry.
pub static FRAMEWORK: Paddle = Paddle;

/// PaddleJob's contribution.
#[derive(Debug)]
pub struct Paddle;

/// Facts of the kind (training-operator 1.9, `pkg/apis/kubeflow.org/v1/paddlepaddle_types.go`, `paddlepaddle_defaults.go`).
pub static KIND: KindInfo = KindInfo {
    kind: "PaddleJob",
    plural: "paddlejobs",
    controller: "paddlejob-controller",
    framework: "paddle",
    replicas_field: "paddleReplicaSpecs",
    container: Some("paddle"),
    port: Some(PortInfo {
        name: "master",
        number: 36543,
    }),
    roles: &[
        RoleInfo::pods(MASTER, RestartPolicy::OnFailure),
        RoleInfo::pods(WORKER, RestartPolicy::OnFailure),
    ],
    decides: &[MASTER, WORKER],
    success: "when all Masters have, else when all workers have; AllWorkers: when all Masters and all workers have; \
              Leader: when Master 0 or else Worker 0 has",
    makes: &[ExtraKind::Autoscaler],
    example: Some(Example {
        name: "paddle",
        about: "Two processes train one model by collective communication.",
        image: "docker.io/trainyard/paddle:0.1.0",
        command: &[
            "python3",
            "-m",
            "paddle.distributed.launch",
            "/opt/trainyard/train.py",
        ],
        roles: &[(WORKER, 2)],
    }),
    ..KindInfo::COMMON
};

impl Framework for Paddle {
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
        _settings: &Settings,
    ) -> Wiring {
        wiring::wiring(replica, replicas, job)
    }

    /// Without etcd a launcher waits for the number of peers that it was told, and those that run know of no others.
    fn elastic(&self, job: &ResolvedJob) -> Option<Elastic> {
        elastic::policy(job).filter(|_| wiring::has_etcd(job))
    }

    fn check(&self, job: &ResolvedJob, problems: &mut Problems) {
        if job.check_own::<api::Fields>(problems).is_some() {
            elastic::check(job, problems);
        }
    }
}
