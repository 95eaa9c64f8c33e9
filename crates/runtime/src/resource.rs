//! Names of API resources, and the paths of requests.

use std::fmt::Write as _;
use std::sync::Arc;

use common::KindInfo;
use common::gang::PodGroupApi;
use common::objects::ChildKind;

/// A resource that this operator reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource {
    group: &'static str,
    version: &'static str,
    /// Plural, as in URLs; also the metric label.
    pub(crate) plural: &'static str,
}

/// Pods.
pub(crate) const PODS: Resource = Resource::v1("", "pods");
/// Nodes, which are cluster-scoped.
pub(crate) const NODES: Resource = Resource::v1("", "nodes");
/// Services.
pub(crate) const SERVICES: Resource = Resource::v1("", "services");
/// Config maps.
pub(crate) const CONFIG_MAPS: Resource = Resource::v1("", "configmaps");
/// Secrets.
pub(crate) const SECRETS: Resource = Resource::v1("", "secrets");
/// Service accounts.
pub(crate) const SERVICE_ACCOUNTS: Resource = Resource::v1("", "serviceaccounts");
/// Roles.
pub(crate) const ROLES: Resource = Resource::v1("rbac.authorization.k8s.io", "roles");
/// Role bindings.
pub(crate) const ROLE_BINDINGS: Resource = Resource::v1("rbac.authorization.k8s.io", "rolebindings");
/// Batch Jobs.
pub(crate) const BATCH_JOBS: Resource = Resource::v1("batch", "jobs");
/// Horizontal pod autoscalers.
pub(crate) const AUTOSCALERS: Resource = Resource {
    group: "autoscaling",
    version: "v2",
    plural: "horizontalpodautoscalers",
};
/// Events of the core group.
pub(crate) const EVENTS: Resource = Resource::v1("", "events");
/// Priority classes, which are cluster-scoped.
pub(crate) const PRIORITY_CLASSES: Resource = Resource::v1("scheduling.k8s.io", "priorityclasses");
/// Leases.
pub(crate) const LEASES: Resource = Resource::v1("coordination.k8s.io", "leases");

impl Resource {
    /// A resource of Kubernetes itself, of version `v1`; the core group is empty.
    const fn v1(group: &'static str, plural: &'static str) -> Self {
        Self {
            group,
            version: "v1",
            plural,
        }
    }

    /// API group; empty for the core group.
    pub(crate) fn group(self) -> &'static str {
        self.group
    }

    /// The jobs of a kind.
    pub(crate) fn jobs(kind: &KindInfo) -> Self {
        Self {
            group: kind.group,
            version: kind.version,
            plural: kind.plural,
        }
    }

    /// The PodGroups of an API.
    pub(crate) const fn pod_groups(api: PodGroupApi) -> Self {
        let (group, version) = api.group_version();
        Self {
            group,
            version,
            plural: "podgroups",
        }
    }

    /// Path of the discovery of its group and version.
    pub(crate) fn discovery(self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }

    /// The resource of children of a kind.
    pub(crate) fn of_child(kind: ChildKind) -> Self {
        match kind {
            ChildKind::Service => SERVICES,
            ChildKind::Autoscaler => AUTOSCALERS,
            ChildKind::PodGroup(api) => Self::pod_groups(api),
        }
    }

    /// Path of the collection, in one namespace or in all.
    pub(crate) fn collection(self, namespace: Option<&str>) -> String {
        let mut path = match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if let Some(namespace) = namespace {
            let _ = write!(path, "/namespaces/{namespace}");
        }
        let _ = write!(path, "/{}", self.plural);
        path
    }

    /// Path of one object.
    pub(crate) fn object(self, name: &ObjectName) -> String {
        format!("{}/{}", self.collection(Some(&name.namespace)), name.name)
    }
}

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectName {
    /// Namespace.
    pub(crate) namespace: Arc<str>,
    /// Name.
    pub(crate) name: Arc<str>,
}

impl ObjectName {
    /// Makes a name from its parts.
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(PODS.collection(None), "/api/v1/pods");
        assert_eq!(
            PODS.object(&ObjectName::new("a", "b")),
            "/api/v1/namespaces/a/pods/b"
        );
        assert_eq!(
            LEASES.collection(Some("x")),
            "/apis/coordination.k8s.io/v1/namespaces/x/leases"
        );
    }
}
