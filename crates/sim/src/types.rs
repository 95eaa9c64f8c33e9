//! Resources that the API server serves, and differences between them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use common::Framework;
use common::gang::PodGroupApi;
use serde_json::Value;

/// A resource: its group (empty for the core group) and its plural.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group.
    pub group: &'static str,
    /// Plural, as in URLs.
    pub plural: &'static str,
}

impl Resource {
    /// A resource of a group.
    #[must_use]
    pub const fn new(group: &'static str, plural: &'static str) -> Self {
        Self { group, plural }
    }

    /// `pods`, `pytorchjobs.kubeflow.org`: the form in messages.
    #[must_use]
    pub fn qualified(self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

/// Pods.
pub const PODS: Resource = Resource::new("", "pods");
/// Services.
pub const SERVICES: Resource = Resource::new("", "services");
/// Nodes.
pub const NODES: Resource = Resource::new("", "nodes");
/// Events.
pub const EVENTS: Resource = Resource::new("", "events");
/// Secrets.
pub const SECRETS: Resource = Resource::new("", "secrets");
/// Config maps.
pub const CONFIG_MAPS: Resource = Resource::new("", "configmaps");
/// Namespaces.
pub const NAMESPACES: Resource = Resource::new("", "namespaces");
/// Batch Jobs.
pub const BATCH_JOBS: Resource = Resource::new("batch", "jobs");
/// Leases.
pub const LEASES: Resource = Resource::new("coordination.k8s.io", "leases");

/// Type of a resource.
#[expect(clippy::struct_excessive_bools, reason = "each one is a fact by itself")]
#[derive(Debug, Clone)]
pub struct Type {
    /// Resource.
    pub resource: Resource,
    /// Kind.
    pub kind: &'static str,
    /// Versions that are served, the stored one first.
    pub versions: Vec<String>,
    /// True if its objects are in namespaces.
    pub namespaced: bool,
    /// True if the status is a subresource; if not, it is written with the rest.
    pub status: bool,
    /// True if `DELETE` answers with the object even if it is gone at once, not with a Status.
    pub returns_deleted: bool,
    /// True if updates without a resourceVersion are allowed.
    pub unconditional: bool,
    /// Schemas of a custom resource, by version.
    pub schemas: BTreeMap<String, Value>,
}

impl Type {
    fn builtin(resource: Resource, version: &str, kind: &'static str) -> Self {
        Self {
            resource,
            kind,
            versions: vec![version.to_owned()],
            namespaced: true,
            status: false,
            returns_deleted: false,
            unconditional: true,
            schemas: BTreeMap::new(),
        }
    }

    fn cluster(self) -> Self {
        Self {
            namespaced: false,
            ..self
        }
    }

    fn with_status(self) -> Self {
        Self { status: true, ..self }
    }

    fn returning(self) -> Self {
        Self {
            returns_deleted: true,
            ..self
        }
    }

    /// True if a CRD defines it.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        !self.schemas.is_empty()
    }

    /// `group/version`, or `version`.
    #[must_use]
    pub fn api_version(&self, version: &str) -> String {
        match self.resource.group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }
}

/// Kubernetes' own resources, as far as the operator and the simulation use them.
#[must_use]
pub fn builtin() -> Vec<Type> {
    let rbac = "rbac.authorization.k8s.io";
    let of = Type::builtin;
    vec![
        of(PODS, "v1", "Pod").with_status().returning(),
        of(SERVICES, "v1", "Service").with_status().returning(),
        of(NODES, "v1", "Node").with_status().cluster(),
        of(NAMESPACES, "v1", "Namespace").with_status().cluster(),
        of(EVENTS, "v1", "Event"),
        of(SECRETS, "v1", "Secret"),
        of(CONFIG_MAPS, "v1", "ConfigMap"),
        of(Resource::new("", "serviceaccounts"), "v1", "ServiceAccount").returning(),
        of(Resource::new(rbac, "roles"), "v1", "Role"),
        of(Resource::new(rbac, "rolebindings"), "v1", "RoleBinding"),
        of(BATCH_JOBS, "v1", "Job").with_status(),
        of(
            Resource::new("autoscaling", "horizontalpodautoscalers"),
            "v2",
            "HorizontalPodAutoscaler",
        )
        .with_status(),
        Type {
            unconditional: false,
            ..of(LEASES, "v1", "Lease")
        },
        of(
            Resource::new("scheduling.k8s.io", "priorityclasses"),
            "v1",
            "PriorityClass",
        )
        .cluster(),
    ]
}

/// PodGroups of an API.
#[must_use]
pub fn pod_groups(api: PodGroupApi) -> Type {
    let (group, version) = api.group_version();
    Type::builtin(Resource::new(group, "podgroups"), version, "PodGroup").with_status()
}

thread_local! {
    /// Schemas are large, and built once.
    static JOBS: RefCell<BTreeMap<&'static str, Arc<Type>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Jobs of a framework, by its CRD.
#[must_use]
pub fn jobs(framework: &'static dyn Framework) -> Arc<Type> {
    let made = || Arc::new(of_crd(framework));
    JOBS.with_borrow_mut(|known| Arc::clone(known.entry(framework.kind().kind).or_insert_with(made)))
}

fn of_crd(framework: &'static dyn Framework) -> Type {
    let info = framework.kind();
    let crd = framework.crd();
    let mut versions: Vec<_> = crd.spec.versions.iter().filter(|v| v.served).collect();
    versions.sort_by_key(|version| !version.storage);
    let schema = |v: &&k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion| {
        let schema = v.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
        (v.name.clone(), serde_json::to_value(schema).expect("a schema"))
    };
    Type {
        resource: Resource::new(info.group, info.plural),
        kind: info.kind,
        namespaced: true,
        status: true,
        returns_deleted: false,
        unconditional: false,
        schemas: versions.iter().map(schema).collect(),
        versions: versions.iter().map(|v| v.name.clone()).collect(),
    }
}
