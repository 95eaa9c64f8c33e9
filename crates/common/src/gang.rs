//! Gangs: pods of a job that must be placed all together or not at all. The scheduler reads a PodGroup, which belongs
//! to one of three APIs.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use serde_json::Value;

/// Scheduler of pods that name none.
const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// Volcano's own name for its scheduler.
const VOLCANO_SCHEDULER: &str = "volcano";

/// Gang scheduler.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Gang {
    /// None: each pod is placed by itself.
    #[default]
    None,
    /// Kubernetes' own scheduler.
    Native,
    /// Volcano.
    Volcano,
    /// A scheduler with the coscheduling plugin of the project scheduler-plugins.
    Coscheduling {
        /// Name of the scheduler.
        scheduler: String,
    },
}

impl Gang {
    /// API of its PodGroups.
    #[must_use]
    pub fn api(&self) -> Option<PodGroupApi> {
        match self {
            Self::None => None,
            Self::Native => Some(PodGroupApi::Native),
            Self::Volcano => Some(PodGroupApi::Volcano),
            Self::Coscheduling { .. } => Some(PodGroupApi::Coscheduling),
        }
    }

    /// Name of the scheduler that reads its PodGroups.
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
    /// API of Kubernetes itself.
    Native,
    /// API of Volcano.
    Volcano,
    /// API of the project scheduler-plugins.
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

/// A wanted PodGroup. It serializes to the object itself.
#[derive(Debug, Clone, PartialEq)]
pub struct PodGroup {
    /// API.
    pub api: PodGroupApi,
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Spec.
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

/// A PodGroup, reduced to the data that decisions read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodGroupView {
    /// Stored spec.
    pub spec: Value,
    /// Phase, in APIs that have one.
    pub phase: Option<Box<str>>,
    /// Scheduler's result for the gang.
    pub placement: Placement,
}

/// Scheduler's result for a gang.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Placement {
    /// No result yet.
    #[default]
    Unknown,
    /// The gang cannot be placed.
    Unschedulable {
        /// Reason, such as Unschedulable.
        reason: Box<str>,
        /// Text for people.
        message: Box<str>,
    },
    /// The gang has been placed, now or at an earlier time.
    Found,
}
