//! PaddleJob's own fields (training-operator 1.9, `pkg/apis/kubeflow.org/v1/paddlepaddle_types.go`) and its CRD.

use common::api::schema;
use common::elastic;
use k8s_openapi::api::autoscaling::v2::MetricSpec;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::KIND;

/// `spec` without the run policy and the replicas: what only PaddleJob has. Read by `common::elastic`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fields {
    /// Elastic training: how many workers there may be. Needs Workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    elastic_policy: Option<ElasticPolicy>,
}

/// How many workers there may be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ElasticPolicy {
    /// Fewest workers that training goes on with; default maxReplicas, or Worker.replicas if both are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    min_replicas: Option<i32>,
    /// Most workers that may join; default minReplicas, or Worker.replicas if both are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    max_replicas: Option<i32>,
    /// Restarts of the processes in a pod that Paddle's launcher may do; it does so with an etcd master only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    max_restarts: Option<i32>,
    /// Metrics by which a HorizontalPodAutoscaler scales the workers between minReplicas and maxReplicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metrics: Option<Vec<MetricSpec>>,
}

/// The CRD.
pub(crate) fn crd() -> CustomResourceDefinition {
    let about =
        "A Paddle training job: Workers alone (collective), or Masters and Workers (parameter servers).";
    schema::crd::<Fields>(&KIND, "pdj", about, &elastic::rules(&KIND))
}
