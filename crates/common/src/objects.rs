//! Wanted objects beside the pods.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role as RbacRole, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use crate::gang::{PodGroup, PodGroupApi};
use crate::names;

/// A synced child: an object beside the pods that the runtime watches, so that plans know its state. It serializes to
/// the object itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Child {
    /// A headless Service.
    Service(Box<Service>),
    /// Autoscaler of the job.
    Autoscaler(Box<HorizontalPodAutoscaler>),
    /// Input of a gang scheduler.
    PodGroup(Box<PodGroup>),
}

impl Child {
    /// Kind.
    #[must_use]
    pub fn kind(&self) -> ChildKind {
        match self {
            Self::Service(_) => ChildKind::Service,
            Self::Autoscaler(_) => ChildKind::Autoscaler,
            Self::PodGroup(o) => ChildKind::PodGroup(o.api),
        }
    }

    fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Service(o) => &o.metadata,
            Self::Autoscaler(o) => &o.metadata,
            Self::PodGroup(o) => &o.metadata,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Digest of the requested spec, if the object has one.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        let annotations = self.metadata().annotations.as_ref()?;
        annotations.get(names::SPEC_DIGEST).map(String::as_str)
    }
}

/// Kinds of [`Child`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChildKind {
    /// `v1` Service.
    Service,
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    Autoscaler,
    /// A PodGroup of this API.
    PodGroup(PodGroupApi),
}

impl ChildKind {
    /// The kind's name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Autoscaler => "HorizontalPodAutoscaler",
            Self::PodGroup(_) => "PodGroup",
        }
    }
}

/// A supporting object, beside pods and Services. It serializes to the object itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Extra {
    /// Its data are kept up to date.
    ConfigMap(Box<ConfigMap>),
    /// Secret with an ssh key pair, given here without data. The keys are generated when it is created and never
    /// changed.
    KeyPair(Box<Secret>),
    /// Created if missing.
    ServiceAccount(Box<ServiceAccount>),
    /// Its rules are kept up to date.
    Role(Box<RbacRole>),
    /// Created if missing.
    RoleBinding(Box<RoleBinding>),
}

impl Extra {
    /// Kind and name.
    #[must_use]
    pub fn id(&self) -> (&'static str, &str) {
        let (kind, name) = match self {
            Self::ConfigMap(o) => ("ConfigMap", &o.metadata.name),
            Self::KeyPair(o) => ("Secret", &o.metadata.name),
            Self::ServiceAccount(o) => ("ServiceAccount", &o.metadata.name),
            Self::Role(o) => ("Role", &o.metadata.name),
            Self::RoleBinding(o) => ("RoleBinding", &o.metadata.name),
        };
        (kind, name.as_deref().unwrap_or_default())
    }
}
