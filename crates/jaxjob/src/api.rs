//! JAXJob's own fields and its CRD.

use common::api::schema;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::KIND;

/// `spec` without the run policy and the replicas: what only JAXJob has. Read it by `job.own::<Fields>()`, and check it in
/// `Framework::check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fields {}

/// The CRD.
pub(crate) fn crd() -> CustomResourceDefinition {
    let about = "A JAX training job: any number of Workers, the first of which coordinates.";
    schema::crd::<Fields>(&KIND, "jxj", about, &[])
}
