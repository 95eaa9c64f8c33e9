//! Sources of the watches: resources, the shape of their objects, and the paths of lists and watches.

use std::collections::BTreeMap;
use std::time::Duration;

use common::gang::PodGroupApi;
use common::kind::ExtraKind;
use common::objects::ChildKind;
use common::{Framework, KindInfo, names};
use jiff::Timestamp;

use crate::decode::{self, DecodeError};
use crate::object::Object;
use crate::resource::{AUTOSCALERS, BATCH_JOBS, NODES, PODS, PRIORITY_CLASSES, Resource, SERVICES};
use crate::{access, backoff, gang_discovery};

/// Objects per page of a list.
const PAGE: u32 = 500;
/// Time after which the API server ends a watch, plus or minus 20%: less than load balancers allow for idle connections.
const TIMEOUT: Duration = Duration::from_secs(200);

/// Shape of the objects of a resource, by which they are decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Jobs of a kind.
    Job(&'static KindInfo),
    /// Pods.
    Pod,
    /// Services or other objects beside pods.
    Child(ChildKind),
    /// Batch Jobs.
    BatchJob,
    /// Nodes. Start-up does not wait for them: without the right to read them, lost nodes are left to Kubernetes.
    Node,
    /// Priority classes. Without the right to read them, all roles have the same priority.
    PriorityClass,
}

impl Shape {
    /// Reads an object of this shape. The clock is asked for nodes only.
    pub(crate) fn read(self, json: &[u8], now: impl FnOnce() -> Timestamp) -> Result<Object, DecodeError> {
        match self {
            Self::Job(kind) => decode::job(kind, json).map(|job| Object::Job(Box::new(job))),
            Self::Pod => decode::pod(json).map(Object::Pod),
            Self::Child(kind) => decode::child(kind, json).map(Object::Child),
            Self::BatchJob => decode::batch_job(json).map(Object::BatchJob),
            Self::Node => decode::node(json, now()).map(Object::Node),
            Self::PriorityClass => decode::priority_class(json).map(Object::PriorityClass),
        }
    }

    /// Warning for an operator that may not read such objects; `None` if it cannot have been installed so on purpose.
    pub(crate) fn warning_if_forbidden(self) -> Option<&'static str> {
        match self {
            Self::Node => Some("nodes may not be read: pods on lost nodes are not replaced"),
            Self::PriorityClass => Some("priority classes may not be read: all roles count the same"),
            Self::Job(_) | Self::Pod | Self::Child(_) | Self::BatchJob => None,
        }
    }

    /// Returns `true` if start-up must not wait for a resource that is absent or forbidden: a kind of jobs that is not installed,
    /// for instance, must not block the others.
    pub(crate) fn is_optional(self) -> bool {
        match self {
            Self::Job(_)
            | Self::Child(ChildKind::Autoscaler | ChildKind::PodGroup(_))
            | Self::PriorityClass => true,
            Self::Pod | Self::Child(ChildKind::Service) | Self::BatchJob | Self::Node => false,
        }
    }

    /// Returns `true` if decisions read only the metadata of the objects.
    pub(crate) fn is_metadata_only(self) -> bool {
        matches!(self, Self::Child(ChildKind::Service | ChildKind::Autoscaler))
    }
}

/// Source of a watch.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Resource.
    pub(crate) resource: Resource,
    /// Shape of its objects.
    pub(crate) shape: Shape,
    /// Namespace, or all.
    pub(crate) namespace: Option<String>,
    /// Label selector, encoded for a URL.
    pub(crate) selector: Option<String>,
}

impl Source {
    /// Objects of the cluster as a whole.
    fn of_cluster(resource: Resource, shape: Shape) -> Self {
        Self {
            resource,
            shape,
            namespace: None,
            selector: None,
        }
    }

    fn base(&self) -> String {
        let path = self.resource.collection(self.namespace.as_deref());
        let selector = self
            .selector
            .as_ref()
            .map(|s| format!("&labelSelector={s}"))
            .unwrap_or_default();
        format!("{path}?{}", selector.trim_start_matches('&'))
    }

    /// Path of a page of a list; `next` is the token of the page, empty for the first.
    pub(crate) fn list_path(&self, next: &str) -> String {
        let next = if next.is_empty() {
            String::new()
        } else {
            format!("&continue={next}")
        };
        format!("{}&limit={PAGE}{next}", self.base()).replace("?&", "?")
    }

    /// Path of a watch for events after a version.
    pub(crate) fn watch_path(&self, from: &str) -> String {
        let seconds = backoff::jitter(TIMEOUT).as_secs();
        let watch =
            format!("&watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={from}");
        format!("{}{watch}", self.base()).replace("?&", "?")
    }
}

/// Selector of the operator's objects, encoded for a URL: "name in (a,b)".
fn selector(frameworks: &[&'static dyn Framework]) -> String {
    let kinds = access::all_dialects(frameworks);
    let controllers: Vec<_> = kinds.iter().map(|kind| kind.controller).collect();
    let key = names::OPERATOR_NAME.replace('/', "%2F");
    format!("{key}%20in%20%28{}%29", controllers.join("%2C"))
}

/// Sources for all frameworks: the jobs of each kind; pods, Services, batch Jobs and autoscalers of all kinds together; and, if
/// asked for, nodes.
pub(crate) fn sources(
    frameworks: &[&'static dyn Framework],
    namespace: Option<&str>,
    with_nodes: bool,
) -> BTreeMap<Resource, Source> {
    let kinds = access::all_dialects(frameworks);
    let ours = selector(frameworks);
    let source = |resource, shape, selector| Source {
        resource,
        shape,
        namespace: namespace.map(str::to_owned),
        selector,
    };
    let jobs = frameworks
        .iter()
        .map(|f| source(Resource::jobs(f.kind()), Shape::Job(f.kind()), None));
    let children = [
        source(PODS, Shape::Pod, Some(ours.clone())),
        source(SERVICES, Shape::Child(ChildKind::Service), Some(ours.clone())),
    ];
    let optional = [
        (ExtraKind::BatchJob, BATCH_JOBS, Shape::BatchJob),
        (
            ExtraKind::Autoscaler,
            AUTOSCALERS,
            Shape::Child(ChildKind::Autoscaler),
        ),
    ];
    let made = optional
        .into_iter()
        .filter(|(made, ..)| kinds.iter().any(|kind| kind.makes.contains(made)));
    let made = made.map(|(_, resource, shape)| source(resource, shape, Some(ours.clone())));
    let nodes = with_nodes.then(|| Source::of_cluster(NODES, Shape::Node));
    let all = jobs.chain(children).chain(made).chain(nodes);
    all.map(|source| (source.resource, source)).collect()
}

/// Sources for gangs of an API.
pub(crate) fn gang_sources(
    api: PodGroupApi,
    frameworks: &[&'static dyn Framework],
    namespace: Option<&str>,
) -> Vec<Source> {
    let groups = Source {
        resource: Resource::pod_groups(api),
        shape: Shape::Child(ChildKind::PodGroup(api)),
        namespace: namespace.map(str::to_owned),
        selector: Some(selector(frameworks)),
    };
    let classes = gang_discovery::reads_priorities(api)
        .then(|| Source::of_cluster(PRIORITY_CLASSES, Shape::PriorityClass));
    std::iter::once(groups).chain(classes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_paged_and_never_old_and_watches_go_on() {
        let source = |selector: Option<&str>| Source {
            resource: PODS,
            shape: Shape::Pod,
            namespace: None,
            selector: selector.map(str::to_owned),
        };
        assert_eq!(source(None).list_path(""), "/api/v1/pods?limit=500");
        assert_eq!(
            source(Some("a")).list_path("t"),
            "/api/v1/pods?labelSelector=a&limit=500&continue=t"
        );
        assert!(
            source(None)
                .watch_path("7")
                .starts_with("/api/v1/pods?watch=true&allowWatchBookmarks=true&timeout")
        );
        assert!(source(Some("a")).watch_path("7").ends_with("&resourceVersion=7"));
    }
}
