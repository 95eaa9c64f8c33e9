//! TFJob's own fields (training-operator 1.9, `pkg/apis/kubeflow.org/v1/tensorflow_types.go`) and its CRD.

use common::api::schema::{self, Reason, Rule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::KIND;

/// `spec` without the run policy and the replicas: what only TFJob has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    /// Workers may come and go: each is told of itself and of the parameter servers only, and one that fails under
    /// restartPolicy Never does not fail the job as long as another is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_dynamic_worker: Option<bool>,
}

/// Answer to a job with Chief and Master: upstream's webhook's (`pkg/webhooks/tensorflow/tfjob_webhook.go`).
pub(crate) const CHIEF_AND_MASTER: &str = "must not have more than 1 Chief or Master role";

/// The CRD.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let about = "A TensorFlow training job: a Chief (or Master), parameter servers, Workers and Evaluators.";
    schema::crd::<Fields>(&KIND, "tfj", about, &rules())
}

/// `self` is `spec`.
fn rules() -> [Rule; 1] {
    let map = KIND.replicas_field;
    let has = |role: &str| format!("self.{map}.exists(r, r.lowerAscii() == '{role}')");
    [Rule::new(
        Reason::Forbidden,
        &format!(".{map}"),
        format!("!{} || !{}", has("chief"), has("master")),
        CHIEF_AND_MASTER,
    )]
}
