//! Requests of the operator to the API server: the one table from which the RBAC manifests are made.
//!
//! Invariant: a request that is added elsewhere in this crate is added here. Left out on purpose:
//! * lists and watches of secrets, and writes to the jobs themselves;
//! * resources of the cluster as a whole, except reads of nodes (to see which are lost) and priority classes;
//! * discovery of an API group (`/apis/GROUP/VERSION`, for PodGroups): it is about no resource, and Kubernetes' own ClusterRole
//!   `system:discovery` allows it to every account.

use std::borrow::Cow;
use std::collections::BTreeSet;

use common::kind::ExtraKind;
use common::{Framework, KindInfo};

use crate::gang_discovery::{self, GangChoice};

/// One line of the table: verbs on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural, with a subresource behind a slash.
    pub resource: Cow<'static, str>,
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// Namespaces in which the line holds.
    pub place: Place,
}

/// Namespaces in which a line of the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The namespaces whose jobs the operator runs.
    Jobs,
    /// The namespace of the operator itself.
    Own,
    /// The cluster as a whole. An operator of one namespace does without this line.
    Cluster,
}

/// Verbs on children that the operator creates, watches and deletes, and never changes.
const CHILD: &[&str] = &["create", "delete", "get", "list", "watch"];
/// Verbs on children that it changes as well.
const CHANGED_CHILD: &[&str] = &["create", "delete", "get", "list", "patch", "watch"];
/// Verbs on resources that are only read.
const READ: &[&str] = &["list", "watch"];
/// Verbs on objects that the operator creates once.
const ONCE: &[&str] = &["create", "get"];
/// Verbs on objects that the operator creates and corrects.
const KEPT: &[&str] = &["create", "get", "update"];
/// Verbs on events, which are sent once, at a transition.
const EVENT: &[&str] = &["create"];
/// Verbs on the lease of the leader election.
const LEASE: &[&str] = &["create", "get", "update"];
/// Verbs on jobs, which are deleted at the end of their time to live.
const JOB: &[&str] = &["delete", "get", "list", "watch"];
/// Verbs on the status of jobs, the only part that is written.
const STATUS: &[&str] = &["patch"];
/// Verbs on finalizers of jobs; never called. With the admission plugin `OwnerReferencesPermissionEnforcement` (OpenShift), only an
/// account with this right may create a pod whose owner reference says `blockOwnerDeletion`.
const FINALIZERS: &[&str] = &["update"];

/// All dialects (API versions of creation) of all kinds.
pub fn all_dialects(frameworks: &[&'static dyn Framework]) -> Vec<&'static KindInfo> {
    let of = |f: &&'static dyn Framework| match f.dialects() {
        [] => vec![f.kind()],
        dialects => dialects.iter().map(|d| d.kind()).collect(),
    };
    frameworks.iter().flat_map(of).collect()
}

/// The table for an operator of these kinds, with this gang scheduler.
pub fn table(frameworks: &[&'static dyn Framework], gang: &GangChoice) -> Vec<Access> {
    let line = |group, resource: &'static str, verbs, place| Access {
        group,
        resource: resource.into(),
        verbs,
        place,
    };
    let mut table = vec![
        line("", "pods", CHILD, Place::Jobs),
        line("", "services", CHILD, Place::Jobs),
        line("", "events", EVENT, Place::Jobs),
        line("", "nodes", READ, Place::Cluster),
        line("coordination.k8s.io", "leases", LEASE, Place::Own),
    ];
    let makes: BTreeSet<ExtraKind> = all_dialects(frameworks)
        .iter()
        .flat_map(|k| k.makes)
        .copied()
        .collect();
    let rbac = "rbac.authorization.k8s.io";
    for made in makes {
        match made {
            ExtraKind::ConfigMap => table.push(line("", "configmaps", KEPT, Place::Jobs)),
            // Only metadata is read.
            ExtraKind::KeyPair => table.push(line("", "secrets", ONCE, Place::Jobs)),
            ExtraKind::ServiceAccount => table.push(line("", "serviceaccounts", ONCE, Place::Jobs)),
            // An account may grant only rights that it has: hence exec, which the operator itself never calls.
            ExtraKind::ExecRole => table.extend([
                line(rbac, "roles", KEPT, Place::Jobs),
                line(rbac, "rolebindings", KEPT, Place::Jobs),
                line("", "pods/exec", ONCE, Place::Jobs),
            ]),
            ExtraKind::BatchJob => table.push(line("batch", "jobs", CHILD, Place::Jobs)),
            ExtraKind::Autoscaler => table.push(line(
                "autoscaling",
                "horizontalpodautoscalers",
                CHANGED_CHILD,
                Place::Jobs,
            )),
        }
    }
    if let Some(api) = gang.api() {
        let (group, _) = api.group_version();
        table.push(line(group, "podgroups", CHANGED_CHILD, Place::Jobs));
        if gang_discovery::reads_priorities(api) {
            table.push(line("scheduling.k8s.io", "priorityclasses", READ, Place::Cluster));
        }
    }
    for kind in frameworks.iter().map(|f| f.kind()) {
        table.extend(
            [("", JOB), ("/status", STATUS), ("/finalizers", FINALIZERS)].map(|(part, verbs)| Access {
                group: kind.group,
                resource: format!("{}{part}", kind.plural).into(),
                verbs,
                place: Place::Jobs,
            }),
        );
    }
    table
}
