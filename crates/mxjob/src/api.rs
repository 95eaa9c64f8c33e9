//! MXJob's own fields (training-operator 1.8, `pkg/apis/kubeflow.org/v1/mxnet_types.go`) and its CRD.

use common::api::schema;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::KIND;

/// `spec` without the run policy and the replicas: what only MXJob has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fields {
    /// What the job does. Its replica types say so too; nothing else depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job_mode: Option<JobMode>,
}

/// What an MXJob does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum JobMode {
    /// It does not say: clients in Go write back an empty text.
    #[serde(rename = "")]
    Unset,
    /// It trains: Scheduler, Servers, Workers.
    MXTrain,
    /// It tunes with TVM: TunerTracker, TunerServers, Tuner.
    MXTune,
}

/// The CRD.
pub(crate) fn crd() -> CustomResourceDefinition {
    let about = "An MXNet job: a Scheduler, Servers and Workers that train, or a TunerTracker, TunerServers and a Tuner.";
    schema::crd::<Fields>(&KIND, "mxj", about, &[])
}
