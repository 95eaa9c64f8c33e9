//! The batch Job of a replica. Its controller makes the pod and retries it.
//!
//! The fields are those of mpi-operator 0.8 (`pkg/controller/mpi_job_controller.go`, `newLauncherJob`), except
//! `ttlSecondsAfterFinished`: a Job that vanished before its end was observed would run again.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::RestartScope;
use crate::job::ResolvedJob;
use crate::names;

/// Creates the batch Job for a pod. `used` is the number of allowed restarts that earlier attempts have used.
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
    // The API server's default is 6. A Job that replaces another one has only the restarts that are left.
    let limit = match (job.policy.backoff_limit, used) {
        // All pods of the job restart together, so the Job itself must not retry.
        _ if job.policy.restart_scope == RestartScope::Job => Some(0),
        (None, 0) => None,
        (_, used) => job.backoff_limit().map(|limit| limit.saturating_sub(used)),
    };
    Job {
        metadata: super::metadata(job, name.unwrap_or_default(), own),
        spec: Some(JobSpec {
            active_deadline_seconds: job.policy.active_deadline.filter(|seconds| *seconds > 0),
            backoff_limit: limit.map(crate::status::to_i32),
            // A launcher that terminates slowly must be gone before the next one starts (mpi-operator#810).
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
