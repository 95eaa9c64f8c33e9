//! Elastic jobs: the common part of `elasticPolicy`. A kind may add fields of its own.

use crate::problems;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::schema::{Reason, Rule};
use crate::build;
use crate::job::ResolvedJob;
use crate::kind::{ExtraKind, KindInfo, WORKER};
use crate::problems::Problems;

const POLICY: &str = "elasticPolicy";
const NO_WORKER: &str = "must be configured if elastic policy is used";

/// What all kinds' policies have in common: how many workers there may be.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Elastic {
    /// Fewest workers that training goes on with; default maxReplicas, or Worker.replicas if both are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_replicas: Option<i32>,
    /// Most workers that may join; default minReplicas, or Worker.replicas if both are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_replicas: Option<i32>,
    /// Restarts of the processes in a pod that the framework's launcher may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_restarts: Option<i32>,
    /// Metrics by which a HorizontalPodAutoscaler scales the workers between minReplicas and maxReplicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<MetricSpec>>,
}

/// Elastic policy of the job, if its kind has one and the job sets it.
#[must_use]
pub fn policy(job: &ResolvedJob) -> Option<Elastic> {
    if !job.info.makes.contains(&ExtraKind::Autoscaler) {
        return None;
    }
    let policy = job.fields.get(POLICY).filter(|policy| !policy.is_null())?;
    problems::read(policy, POLICY, &mut Problems::default())
}

impl Elastic {
    /// Minimum and maximum number of workers. Each is the default of the other, and the number of workers is the
    /// default of both.
    #[must_use]
    pub fn limits(&self, job: &ResolvedJob) -> (i32, i32) {
        let workers = job.role(WORKER).map_or(0, |r| r.count);
        let workers = i32::try_from(workers).unwrap_or(i32::MAX);
        let min = self.min_replicas.or(self.max_replicas).unwrap_or(workers);
        let max = self.max_replicas.or(self.min_replicas).unwrap_or(workers);
        (min, max)
    }
}

/// Autoscaler of the job. It exists only if metrics are given: an elastic job may also be scaled by hand or by the
/// user's autoscaler.
#[must_use]
pub fn autoscaler(job: &ResolvedJob, policy: Elastic) -> Option<HorizontalPodAutoscaler> {
    let (min, max) = policy.limits(job);
    let metrics = policy.metrics.filter(|metrics| !metrics.is_empty())?;
    // Without limits, both are the current number of workers. With 0 workers there is nothing to scale.
    (min > 0).then(|| build::autoscaler::autoscaler(job, min, max, metrics))
}

/// Validation rules of the schema; `self` is `spec`.
#[must_use]
pub fn rules(info: &KindInfo) -> [Rule; 2] {
    let policy = format!("self.{POLICY}");
    [
        Rule::new(
            Reason::Required,
            &format!(".{}.{WORKER}", info.replicas_field),
            format!("!has({policy}) || '{WORKER}' in self.{}", info.replicas_field),
            NO_WORKER,
        ),
        Rule::new(
            Reason::Forbidden,
            &format!(".{POLICY}.minReplicas"),
            format!(
                "!has({policy}) || !has({policy}.minReplicas) || !has({policy}.maxReplicas) || \
                 {policy}.minReplicas <= {policy}.maxReplicas"
            ),
            "must be no more than spec.elasticPolicy.maxReplicas",
        ),
    ]
}

/// The same checks as the rules, for objects that were stored without them.
pub fn check(job: &ResolvedJob, problems: &mut Problems) {
    let Some(policy) = policy(job) else { return };
    if job.role(WORKER).is_none() {
        let field = format!("spec.{}[{WORKER}]", job.info.replicas_field);
        problems.add(field, NO_WORKER);
    }
    if let (Some(min), Some(max)) = (policy.min_replicas, policy.max_replicas)
        && min > max
    {
        let message = format!("must not be greater than spec.{POLICY}.maxReplicas ({min} > {max})");
        problems.add(format!("spec.{POLICY}.minReplicas"), message);
    }
}
