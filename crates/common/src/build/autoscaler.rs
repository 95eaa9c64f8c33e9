//! The HorizontalPodAutoscaler of a job. Its fields are upstream's (training-operator 1.9,
//! `pkg/controller.v1/pytorch/hpa.go`).

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::job::ResolvedJob;
use crate::names;

/// Autoscaler for the role of the job's scale subresource, between `min` and `max`, by these metrics.
#[must_use]
pub fn autoscaler(
    job: &ResolvedJob,
    min: i32,
    max: i32,
    metrics: Vec<MetricSpec>,
) -> HorizontalPodAutoscaler {
    let spec = HorizontalPodAutoscalerSpec {
        scale_target_ref: CrossVersionObjectReference {
            api_version: Some(job.info.api_version()),
            kind: job.info.kind.to_owned(),
            name: job.key.name.to_string(),
        },
        min_replicas: Some(min),
        max_replicas: max,
        metrics: Some(metrics),
        behavior: None,
    };
    // Serialization cannot fail: all keys are strings.
    let digest = super::digest(&serde_json::to_string(&spec).unwrap_or_default());
    let labels = names::job_labels(job.info.controller, &job.key.name);
    HorizontalPodAutoscaler {
        metadata: ObjectMeta {
            annotations: Some(BTreeMap::from([(names::SPEC_DIGEST.to_owned(), digest)])),
            ..super::metadata(job, names::autoscaler(&job.key.name), labels)
        },
        spec,
        status: None,
    }
}
