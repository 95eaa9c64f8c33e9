//! What the operator asks of the API server: the one table from which the RBAC manifests are made.
//!
//! Invariant: whoever adds a request elsewhere in this crate adds it here. Not there, on purpose: secrets, writes to
//! the jobs themselves, anything of the cluster as a whole.

use std::borrow::Cow;

use common::KindInfo;

/// One line: these verbs on this resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural, with a subresource behind a slash.
    pub resource: Cow<'static, str>,
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// In which namespaces.
    pub place: Place,
}

/// Namespaces in which a line of the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Those whose jobs the operator runs.
    Jobs,
    /// The one that the operator itself runs in.
    Own,
}

/// Verbs on the children that the operator makes, watches and deletes, and never changes.
const CHILD: &[&str] = &["create", "delete", "get", "list", "watch"];
/// Told once, at a transition.
const EVENT: &[&str] = &["create"];
/// Leader election.
const LEASE: &[&str] = &["create", "get", "update"];
/// Jobs are deleted at the end of their time to live.
const JOB: &[&str] = &["delete", "get", "list", "watch"];
/// Their status is all that is ever written of them.
const STATUS: &[&str] = &["patch"];
/// Never called. Where the admission plugin `OwnerReferencesPermissionEnforcement` is on (OpenShift), only who may do
/// this may make a pod whose owner reference says `blockOwnerDeletion`.
const FINALIZERS: &[&str] = &["update"];

/// The whole table for an operator of these kinds.
pub fn table<'a>(kinds: impl IntoIterator<Item = &'a KindInfo>) -> Vec<Access> {
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
        line("coordination.k8s.io", "leases", LEASE, Place::Own),
    ];
    for kind in kinds {
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
