//! XGBoostJob: one Master and any number of Workers. LightGBM's distributed training runs in it as well.
//!
//! How the processes find each other: the Master runs a tracker at `MASTER_ADDR:MASTER_PORT`, to which all connect, the
//! Master too (rabit, and `xgboost.collective` after it). LightGBM's connect to each other by the list of all hosts.

mod wiring;

use common::api::RestartPolicy;
use common::api::schema::{self, NoFields};
use common::kind::{Example, MASTER, PortInfo, WORKER};
use common::{Framework, KindInfo, Replica, ReplicaId, Replicas, ResolvedJob, RoleInfo, Settings, Wiring};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The framework, for the operator's registry.
pub static FRAMEWORK: XGBoost = XGBoost;

/// XGBoostJob's contribution.
#[derive(Debug)]
pub struct XGBoost;

/// Facts of the kind (training-operator 1.9, `pkg/apis/kubeflow.org/v1/xgboost_types.go`, `xgboost_defaults.go`).
pub static KIND: KindInfo = KindInfo {
    kind: "XGBoostJob",
    plural: "xgboostjobs",
    controller: "xgboostjob-controller",
    framework: "xgboost",
    replicas_field: "xgbReplicaSpecs",
    container: Some("xgboost"),
    port: Some(PortInfo {
        name: "xgboostjob-port",
        number: 9999,
    }),
    roles: &[
        RoleInfo::pods(MASTER, RestartPolicy::Never)
            .at_least(1)
            .at_most(1),
        RoleInfo::pods(WORKER, RestartPolicy::Never),
    ],
    decides: &[MASTER],
    success: "when the Master has, which is what Leader says too; AllWorkers: when the Master and all workers have",
    example: Some(Example {
        name: "xgboost",
        about: "A Master and two Workers train on a third each of a data set on breast cancer, and end with one model.",
        image: "docker.io/trainyard/xgboost:0.1.0",
        command: &["python3", "/opt/trainyard/train.py"],
        roles: &[(MASTER, 1), (WORKER, 2)],
    }),
    ..KindInfo::COMMON
};

impl Framework for XGBoost {
    fn kind(&self) -> &'static KindInfo {
        &KIND
    }

    fn crd(&self) -> CustomResourceDefinition {
        let about = "An XGBoost (or LightGBM) training job: one Master and any number of Workers.";
        schema::crd::<NoFields>(&KIND, "xgbj", about, &[])
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

    fn needs_own_service(&self, replicas: &Replicas, job: &ResolvedJob) -> Vec<ReplicaId> {
        job.with_own_host_names(replicas, self.leader(replicas, job))
    }
}
