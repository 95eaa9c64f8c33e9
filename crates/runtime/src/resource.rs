//! Names of API resources, and the paths of requests.

use std::fmt::Write as _;
use std::sync::Arc;

use common::KindInfo;

/// A resource that this operator reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource {
    group: &'static str,
    version: &'static str,
    /// Plural, as in URLs; also the metric label.
    pub(crate) plural: &'static str,
}

/// Pods.
pub(crate) const PODS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "pods",
};
/// Services.
pub(crate) const SERVICES: Resource = Resource {
    group: "",
    version: "v1",
    plural: "services",
};
/// Config maps.
pub(crate) const CONFIG_MAPS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "configmaps",
};
/// Secrets.
pub(crate) const SECRETS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "secrets",
};
/// Service accounts.
pub(crate) const SERVICE_ACCOUNTS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "serviceaccounts",
};
/// Roles.
pub(crate) const ROLES: Resource = Resource {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    plural: "roles",
};
/// Role bindings.
pub(crate) const ROLE_BINDINGS: Resource = Resource {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    plural: "rolebindings",
};
/// Batch Jobs.
pub(crate) const BATCH_JOBS: Resource = Resource {
    group: "batch",
    version: "v1",
    plural: "jobs",
};
/// Events of the core group.
pub(crate) const EVENTS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "events",
};
/// Leases.
pub(crate) const LEASES: Resource = Resource {
    group: "coordination.k8s.io",
    version: "v1",
    plural: "leases",
};

impl Resource {
    /// The jobs of a kind.
    pub(crate) fn jobs(kind: &KindInfo) -> Self {
        Self {
            group: kind.group,
            version: kind.version,
            plural: kind.plural,
        }
    }

    /// Path of the collection; of all namespaces if none is named.
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
    /// From its parts.
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
