//! XGBoostJob's own fields and its CRD.

use common::api::schema;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::KIND;

/// `spec` without the run policy and the replicas: what only XGBoostJob has. Read it by `job.own::<Fields>()`, and check it in
/// `Framework::check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fields {}

/// The CRD.
pub(crate) fn crd() -> CustomResourceDefinition {
    let about = "An XGBoost (or LightGBM) training job: one Master and any number of Workers.";
    schema::crd::<Fields>(&KIND, "xgbj", about, &[])
}
