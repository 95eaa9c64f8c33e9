//! Raw spec to [`ResolvedJob`]: typed, defaults applied, checked; or [`Problems`] with field paths.
//!
//! Defaults live here and nowhere else; they are never written back to the object.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::api::{CleanPodPolicy, JobStatus, ReplicaSpec, RestartPolicy, RunPolicy, SchedulingPolicy};
use crate::cast::Cast;
use crate::framework::{Framework, KindInfo, RoleInfo};
use crate::names::{self, JobKey, Role, Uid};
use crate::observe::RawJob;

/// The operator's own settings that change what pods and services look like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// One Service per job, or one per replica as upstream.
    pub service_mode: ServiceMode,
    /// Init container of PyTorch workers that waits for the master's name; off by default.
    pub init_container: Option<InitContainer>,
}

/// Shape of the headless Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceMode {
    /// One Service for the job, and one for each slot that is reached by a short name.
    #[default]
    Job,
    /// One Service per replica, as upstream.
    PerReplica,
}

/// What the waiting init container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitContainer {
    /// Image with `sh` and `nslookup`.
    pub image: String,
    /// Number of look-ups, 2 seconds apart, before it gives up.
    pub max_tries: u32,
}

/// A job with all its holes filled.
#[derive(Debug, Clone)]
pub struct ResolvedJob {
    /// Kind, namespace, name.
    pub key: JobKey,
    /// UID.
    pub uid: Uid,
    /// The kind's data.
    pub info: &'static KindInfo,
    /// Run policy.
    pub policy: ResolvedPolicy,
    /// Roles that the job has, in rank order.
    pub replicas: Vec<ResolvedReplica>,
    /// All slots.
    pub cast: Cast,
    /// `spec` without the replica map and the run policy: what only the framework knows.
    pub fields: serde_json::Value,
    /// Status as stored.
    pub stored: JobStatus,
}

impl ResolvedJob {
    /// The role's replicas, if the job has that role.
    #[must_use]
    pub fn replica(&self, role: Role) -> Option<&ResolvedReplica> {
        self.replicas.iter().find(|r| r.role == role)
    }

    /// Number of the port that pods of `role` listen on: the training container's port of the kind's name.
    #[must_use]
    pub fn port(&self, role: Role) -> i32 {
        let of = |r: &ResolvedReplica| {
            let spec = r.template.spec.as_ref()?;
            let container = spec.containers.iter().find(|c| c.name == self.info.container)?;
            let ports = container.ports.as_ref()?;
            ports.iter().find(|p| p.name.as_deref() == Some(self.info.port_name)).map(|p| p.container_port)
        };
        self.replica(role).and_then(of).unwrap_or(self.info.port)
    }
}

/// `spec.runPolicy` with defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResolvedPolicy {
    /// Which pods are deleted at the end.
    pub clean_pod_policy: CleanPodPolicy,
    /// Seconds to live after the end.
    pub ttl: Option<i64>,
    /// Seconds from the start after which the job fails.
    pub active_deadline: Option<i64>,
    /// Restarts that are allowed.
    pub backoff_limit: Option<u32>,
    /// Whether the job is to have no pods for now.
    pub suspend: bool,
    /// Gang scheduling.
    pub scheduling: SchedulingPolicy,
}

/// One role with defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedReplica {
    /// Role.
    pub role: Role,
    /// Number of pods.
    pub count: u32,
    /// Pod template with the kind's port added where the user named none.
    pub template: PodTemplateSpec,
    /// What happens when a pod fails.
    pub restart_policy: RestartPolicy,
}

/// One mistake in a job, at a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path, such as `spec.pytorchReplicaSpecs[Worker].replicas`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// All mistakes of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes a mistake.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { field: field.into(), message: message.into() });
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
