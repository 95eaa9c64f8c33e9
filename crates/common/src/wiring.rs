//! Additions of a framework to one pod: variables, init containers, volumes, names.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Volume, VolumeMount};
use serde::Serialize;

use crate::replicas::Replica;

/// Settings by which one pod finds the others, and further additions of the framework.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wiring {
    /// Variables appended, in this order, to the containers in `env_in`. Init containers never get them.
    pub env: Vec<EnvVar>,
    /// Variables that upstream does not set. They follow those of `env`, in containers that have no variable of that
    /// name.
    pub more_env: Vec<EnvVar>,
    /// Containers that get the variables.
    pub env_in: Containers,
    /// Init containers appended to the user's.
    pub init_containers: Vec<Container>,
    /// Command of the training container, replacing the user's.
    pub command: Option<Vec<String>>,
    /// Arguments of the training container, replacing the user's.
    pub args: Option<Vec<String>>,
    /// Volumes appended to the user's.
    pub volumes: Vec<Volume>,
    /// Mounts appended to those of the training container.
    pub mounts: Vec<VolumeMount>,
    /// Domains appended to the pod's DNS search domains.
    pub dns_searches: Vec<String>,
    /// DNS policy, replacing the user's.
    pub dns_policy: Option<String>,
    /// Service account, if the user names none.
    pub service_account: Option<String>,
    /// Labels that identify the pod, if they differ from those of [`crate::names::replica_labels`].
    pub labels: Option<BTreeMap<String, String>>,
}

/// A variable. An absent value stands for the empty string (upstream's client omits it too).
#[must_use]
pub fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.into()).filter(|v| !v.is_empty()),
        value_from: None,
    }
}

/// Role and index of a process, in the JSON of `TF_CONFIG` and of `MX_CONFIG`.
#[derive(Debug, Serialize)]
pub struct Task {
    #[serde(rename = "type")]
    role: String,
    index: u32,
}

impl Task {
    /// Task of a replica.
    #[must_use]
    pub fn of(replica: &Replica) -> Self {
        Self {
            role: replica.id.role.lower(),
            index: replica.id.index.0,
        }
    }
}

/// Selection of containers of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Containers {
    /// All containers except init containers.
    #[default]
    All,
    /// Only the training container.
    Training,
}
