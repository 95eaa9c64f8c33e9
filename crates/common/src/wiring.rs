//! What a framework wants in one pod: variables, init containers, volumes, names.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Volume, VolumeMount};
use serde::Serialize;

use crate::replicas::Replica;

/// How one pod finds the others, and what else the framework wants of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wiring {
    /// Variables appended, in this order, to the containers that `env_in` says (never to init containers).
    pub env: Vec<EnvVar>,
    /// Variables that upstream does not set: after those, to containers that have none of the name.
    pub more_env: Vec<EnvVar>,
    /// Which containers get the variables.
    pub env_in: Containers,
    /// Init containers appended to the user's.
    pub init_containers: Vec<Container>,
    /// Command of the training container, instead of the user's.
    pub command: Option<Vec<String>>,
    /// Arguments of the training container, instead of the user's.
    pub args: Option<Vec<String>>,
    /// Volumes appended to the user's.
    pub volumes: Vec<Volume>,
    /// Mounts appended to those of the training container.
    pub mounts: Vec<VolumeMount>,
    /// Domains appended to those in which the pod looks names up.
    pub dns_searches: Vec<String>,
    /// DNS policy, instead of the user's.
    pub dns_policy: Option<String>,
    /// Service account if the user names none.
    pub service_account: Option<String>,
    /// Labels that tell what the pod is, where they are not those of [`crate::names::replica_labels`].
    pub labels: Option<BTreeMap<String, String>>,
}

/// A variable. An absent value is the empty string (upstream's client leaves it out as well).
#[must_use]
pub fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.into()).filter(|v| !v.is_empty()),
        value_from: None,
    }
}

/// Who a process is, in the JSON of `TF_CONFIG` and of `MX_CONFIG`.
#[derive(Debug, Serialize)]
pub struct Task {
    #[serde(rename = "type")]
    role: String,
    index: u32,
}

impl Task {
    /// The process of a replica.
    #[must_use]
    pub fn of(replica: &Replica) -> Self {
        Self {
            role: replica.id.role.lower(),
            index: replica.id.index.0,
        }
    }
}

/// Which containers of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Containers {
    /// All but init containers.
    #[default]
    All,
    /// The training container.
    Training,
}
