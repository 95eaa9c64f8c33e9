//! PaddleJob's own fields (training-operator 1.9, `pkg/apis/kubeflow.org/v1/paddlepaddle_types.go`) and its CRD.

use common::api::schema;
use common::elastic::{self, Elastic};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::KIND;

/// `spec` without the run policy and the replicas: what only PaddleJob has. Read by `common::elastic`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fields {
    /// Elastic training: how many workers there may be. Needs Workers; Paddle's launcher itself is elastic with an etcd
    /// master only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    elastic_policy: Option<Elastic>,
}

/// The CRD.
pub(crate) fn crd() -> CustomResourceDefinition {
    let about =
        "A Paddle training job: Workers alone (collective), or Masters and Workers (parameter servers).";
    schema::crd::<Fields>(&KIND, "pdj", about, &elastic::rules(&KIND))
}
