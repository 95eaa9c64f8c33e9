//! The batch Job that carries a replica: its controller makes the pod and retries it.
//!
//! Fields are those of mpi-operator 0.8 (`pkg/controller/mpi_job_controller.go`, `newLauncherJob`), but for
//! `ttlSecondsAfterFinished`: a Job that vanished before its end was seen would be run again.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::RestartScope;
use crate::job::ResolvedJob;
use crate::names;

/// Makes the batch Job from the pod that it is to run. `used` restarts of those that are allowed were needed before.
#[must_use]
pub fn batch_job(job: &ResolvedJob, pod: Pod, used: u32) -> Job {
    let Pod { metadata, spec, .. } = pod;
    let ObjectMeta {
        name,
        labels,
        annotations,
        finalizers,
        ..
    } = metadata;
    let labels = labels.unwrap_or_default();
    let mut own = names::job_labels(job.info.controller, &job.key.name);
    own.insert(names::APP.to_owned(), job.key.name.to_string());
    own.extend(
        labels
            .get_key_value(names::ATTEMPT)
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    // The API server's own default is 6; a Job that takes over from another has only what that one left.
    let limit = match (job.policy.backoff_limit, used) {
        // All pods of the job begin anew together, or none does.
        _ if job.policy.restart_scope == RestartScope::Job => Some(0),
        (None, 0) => None,
        (_, used) => job.backoff_limit().map(|limit| limit.saturating_sub(used)),
    };
    Job {
        metadata: super::metadata(job, name.unwrap_or_default(), own),
        spec: Some(JobSpec {
            active_deadline_seconds: job.policy.active_deadline.filter(|seconds| *seconds > 0),
            backoff_limit: limit.map(crate::status::to_i32),
            // A launcher that terminates slowly must be gone before the next one begins (mpi-operator#810).
            pod_replacement_policy: Some("Failed".to_owned()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: annotations.filter(|a: &BTreeMap<_, _>| !a.is_empty()),
                    finalizers,
                    ..ObjectMeta::default()
                }),
                spec,
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}
