//! PyTorchJob's own fields (training-operator 1.9, `pkg/apis/kubeflow.org/v1/pytorch_types.go`) and its CRD.

use common::api::schema::{self, Reason, Rule};
use common::elastic;
use k8s_openapi::api::autoscaling::v2::MetricSpec;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::KIND;

/// `spec` without the run policy and the replicas: what only PyTorchJob has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    /// Elastic training: torchrun with a rendezvous instead of fixed ranks. Needs Workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elastic_policy: Option<ElasticPolicy>,
    /// Processes per pod, as torchrun takes it: auto (default), cpu, gpu or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nproc_per_node: Option<String>,
}

/// How many workers there may be, and where they meet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ElasticPolicy {
    /// Fewest workers that training goes on with; default maxReplicas, or Worker.replicas if both are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_replicas: Option<i32>,
    /// Most workers that may join; default minReplicas, or Worker.replicas if both are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_replicas: Option<i32>,
    /// Backend of the rendezvous; default c10d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdzv_backend: Option<String>,
    /// Port of the rendezvous; default the one that worker 0 listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub rdzv_port: Option<i32>,
    /// Host of the rendezvous; default worker 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdzv_host: Option<String>,
    /// Id of the rendezvous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdzv_id: Option<String>,
    /// Settings of the rendezvous' backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdzv_conf: Option<Vec<RdzvConf>>,
    /// Starts a rendezvous in each pod by itself, for jobs of one pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standalone: Option<bool>,
    /// Deprecated, use spec.nprocPerNode: processes per pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub n_proc_per_node: Option<i32>,
    /// Restarts of the processes in a pod that torchrun may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_restarts: Option<i32>,
    /// Metrics by which a HorizontalPodAutoscaler scales the workers between minReplicas and maxReplicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<MetricSpec>>,
}

/// One setting of the rendezvous' backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RdzvConf {
    /// Name.
    pub key: String,
    /// Value.
    pub value: String,
}

/// The CRD.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let about = "A PyTorch training job: one Master and any number of Workers, or Workers alone.";
    schema::crd::<Fields>(&KIND, "ptj", about, &rules())
}

/// `self` is `spec`.
fn rules() -> [Rule; 3] {
    let elastic = "self.elasticPolicy";
    let [worker, limits] = elastic::rules(&KIND);
    let processes = Rule::new(
        Reason::Forbidden,
        ".elasticPolicy.nProcPerNode",
        format!("!has({elastic}) || !has({elastic}.nProcPerNode) || !has(self.nprocPerNode)"),
        "must not be used with spec.nprocPerNode",
    );
    [worker, processes, limits]
}
