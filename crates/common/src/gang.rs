//! Gangs: the pods of a job, to be placed all together or not at all. What a gang scheduler is told is a PodGroup, of one
//! of three APIs.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use serde_json::Value;

/// Scheduler of pods that name none.
const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// Volcano's own name for its scheduler.
const VOLCANO_SCHEDULER: &str = "volcano";

/// Who places the pods of a job all together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Gang {
    /// Nobody: each pod is placed by itself.
    #[default]
    None,
    /// Kubernetes' own scheduler.
    Native,
    /// Volcano.
    Volcano,
    /// A scheduler with the coscheduling plugin of the scheduler-plugins.
    Coscheduling {
        /// Its name.
        scheduler: String,
    },
}

impl Gang {
    /// The API of its PodGroups.
    #[must_use]
    pub fn api(&self) -> Option<PodGroupApi> {
        match self {
            Self::None => None,
            Self::Native => Some(PodGroupApi::Native),
            Self::Volcano => Some(PodGroupApi::Volcano),
            Self::Coscheduling { .. } => Some(PodGroupApi::Coscheduling),
        }
    }

    /// The scheduler that knows its PodGroups.
    #[must_use]
    pub fn scheduler(&self) -> &str {
        match self {
            Self::None | Self::Native => DEFAULT_SCHEDULER,
            Self::Volcano => VOLCANO_SCHEDULER,
            Self::Coscheduling { scheduler } => scheduler,
        }
    }
}

impl fmt::Display for Gang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Native => f.write_str("native"),
            Self::Volcano => f.write_str("volcano"),
            Self::Coscheduling { scheduler } => f.write_str(scheduler),
        }
    }
}

/// APIs that have PodGroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PodGroupApi {
    /// Kubernetes' own.
    Native,
    /// Volcano's.
    Volcano,
    /// That of the scheduler-plugins.
    Coscheduling,
}

impl PodGroupApi {
    /// Group and version.
    #[must_use]
    pub const fn group_version(self) -> (&'static str, &'static str) {
        match self {
            Self::Native => ("scheduling.k8s.io", "v1beta1"),
            Self::Volcano => ("scheduling.volcano.sh", "v1beta1"),
            Self::Coscheduling => ("scheduling.x-k8s.io", "v1alpha1"),
        }
    }
}

/// A PodGroup to be made. Serialized it is that object.
#[derive(Debug, Clone, PartialEq)]
pub struct PodGroup {
    /// Its API.
    pub api: PodGroupApi,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its spec.
    pub spec: Value,
}

impl Serialize for PodGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (group, version) = self.api.group_version();
        let mut object = serializer.serialize_struct("PodGroup", 4)?;
        object.serialize_field("apiVersion", &format!("{group}/{version}"))?;
        object.serialize_field("kind", "PodGroup")?;
        object.serialize_field("metadata", &self.metadata)?;
        object.serialize_field("spec", &self.spec)?;
        object.end()
    }
}

/// A PodGroup, pruned to what decisions read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodGroupView {
    /// Its spec as stored.
    pub spec: Value,
    /// Its phase, where the API has one.
    pub phase: Option<Box<str>>,
    /// What its scheduler says of its place.
    pub placement: Placement,
}

/// What a scheduler says of a gang's place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Placement {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It has none.
    Unschedulable {
        /// Reason, such as Unschedulable.
        reason: Box<str>,
        /// For people.
        message: Box<str>,
    },
    /// It has one, or had one once.
    Found,
}
