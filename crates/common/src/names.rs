//! All label keys, annotation keys and rules for object names, and the newtypes for them.
//!
//! Invariant: no other file of the workspace contains a label key or an object name (`cargo xtask tidy`). The wire
//! names are those of Kubeflow's training-operator 1.9 (`pkg/apis/kubeflow.org/v1/common_types.go`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Maximum length of the name of a Service, and of a pod whose name is its host name (RFC 1035 label).
pub const MAX_LABEL: usize = 63;

/// Controller that made the object: `<kind lower>-controller`. All watches of children select by it.
pub const OPERATOR_NAME: &str = "training.kubeflow.org/operator-name";
/// Name of the job.
pub const JOB_NAME: &str = "training.kubeflow.org/job-name";
/// Role of the replica in lower case.
pub const REPLICA_TYPE: &str = "training.kubeflow.org/replica-type";
/// Decimal index of the replica within its role.
pub const REPLICA_INDEX: &str = "training.kubeflow.org/replica-index";
/// `master` on the one pod whose log stands for the job.
pub const JOB_ROLE: &str = "training.kubeflow.org/job-role";
/// Value of [`JOB_ROLE`].
pub const JOB_ROLE_MASTER: &str = "master";
/// Attempt of the pod's replica, from 0. Trainyard's own, additional label: it makes restarts exact across crashes.
pub const ATTEMPT: &str = "trainyard.dev/attempt";
/// Labels that identify the replica and job of a pod. The values of a template are ignored.
pub const RESERVED: [&str; 6] = [
    OPERATOR_NAME,
    JOB_NAME,
    REPLICA_TYPE,
    REPLICA_INDEX,
    JOB_ROLE,
    ATTEMPT,
];
/// Annotation of synced children: a digest of the last requested spec. The stored spec cannot be compared, because the
/// API server adds defaults and normalizes quantities.
pub const SPEC_DIGEST: &str = "trainyard.dev/spec-digest";
/// Label of objects that serve a whole MPIJob, with the job's name as its value (upstream's key).
pub const APP: &str = "app";
/// Taint by which an administrator states that nothing runs on a node any more (a key of Kubernetes).
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// `runPolicy.managedBy` of jobs of this operator. An absent value means the same.
pub const MANAGED_BY_US: &str = "kubeflow.org/training-operator";
/// The same for MPIJobs of version `v2beta1`, which have a different controller upstream.
pub const MANAGED_BY_MPI_OPERATOR: &str = "kubeflow.org/mpi-operator";
/// `runPolicy.managedBy` of jobs that belong to MultiKueue.
pub const MANAGED_BY_MULTIKUEUE: &str = "kueue.x-k8s.io/multikueue";

/// Label by which a scheduler of the scheduler-plugins finds the gang of a pod; the value is the name of its PodGroup.
pub const COSCHEDULING_GROUP: &str = "scheduling.x-k8s.io/pod-group";
/// Annotation by which Volcano finds the gang of a pod; the value is the name of its PodGroup.
pub const VOLCANO_GROUP: &str = "scheduling.k8s.io/group-name";
/// Annotation with the role of a pod for Volcano, in lower case.
pub const VOLCANO_TASK: &str = "volcano.sh/task-spec";
/// Annotation of an MPIJob of version `v2beta1` that names its queue in Volcano.
pub const VOLCANO_QUEUE: &str = "scheduling.volcano.sh/queue-name";
/// Annotation in which kubectl stores the last applied object. It describes that object only.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Known names of training containers, in all kinds (Katib and others rely on them). In a pod without any of these
/// names, the first container is the training container.
pub const TRAINING_CONTAINERS: [&str; 7] = [
    "tensorflow",
    "pytorch",
    "mpi",
    "xgboost",
    "paddle",
    "jax",
    "mxnet",
];

/// UID of an API object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(pub Arc<str>);

impl Uid {
    /// Wraps the UID as the API server wrote it.
    #[must_use]
    pub fn new(uid: &str) -> Self {
        Self(uid.into())
    }
    /// The UID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Kind, namespace and name of a job. A record about one incarnation of the job stores the [`Uid`] beside the key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey {
    /// Kind, such as `PyTorchJob`.
    pub kind: &'static str,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A replica role in its canonical spelling, such as `Master` or `Worker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role(pub &'static str);

impl Role {
    /// Spelling in names and labels.
    #[must_use]
    pub fn lower(self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Index of a replica within its role, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaIndex(pub u32);

/// Identity of a replica in its job: role and index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId {
    /// Role.
    pub role: Role,
    /// Index within the role.
    pub index: ReplicaIndex,
}

/// Position of a replica in the whole job, from 0: leader first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rank(pub u32);

/// Number of the incarnation of a replica, from 0. It only grows, and it is stored before the old pod is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Attempt(pub u32);

impl Attempt {
    /// Next attempt.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Name of the pod of a replica, and of its own Service: `<job>-<role lower>-<index>`.
#[must_use]
pub fn replica(job: &str, role: Role, index: ReplicaIndex) -> String {
    format!("{job}-{}-{}", role.lower(), index.0)
}

/// Name of the single replica of a role that has at most one: `<job>-<role lower>`.
#[must_use]
pub fn only_replica(job: &str, role: Role) -> String {
    format!("{job}-{}", role.lower())
}

/// Name of the ConfigMap with a job's host lists and scripts.
#[must_use]
pub fn config_map(job: &str) -> String {
    format!("{job}-config")
}

/// Name of the Secret with a job's key pair.
#[must_use]
pub fn ssh_secret(job: &str) -> String {
    format!("{job}-ssh")
}

/// Name of the headless Service of the whole job.
#[must_use]
pub fn job_service(job: &str) -> String {
    job.to_owned()
}

/// Name of the HorizontalPodAutoscaler of a job.
#[must_use]
pub fn autoscaler(job: &str) -> String {
    job.to_owned()
}

/// Name of the PodGroup of a job.
#[must_use]
pub fn pod_group(job: &str) -> String {
    job.to_owned()
}

/// Key of a replica in `status.slots`, and the part of a pod's name after the job's: `worker-3`.
#[must_use]
pub fn replica_key(role: Role, index: ReplicaIndex) -> String {
    format!("{}-{}", role.lower(), index.0)
}

/// Labels that select all pods of a job.
#[must_use]
pub fn job_labels(controller: &str, job: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (OPERATOR_NAME.to_owned(), controller.to_owned()),
        (JOB_NAME.to_owned(), job.to_owned()),
    ])
}

/// Labels that select all pods of one role.
#[must_use]
pub fn role_labels(controller: &str, job: &str, role: Role) -> BTreeMap<String, String> {
    let mut labels = job_labels(controller, job);
    labels.insert(REPLICA_TYPE.to_owned(), role.lower());
    labels
}

/// Labels that select the pod of one replica.
#[must_use]
pub fn replica_labels(
    controller: &str,
    job: &str,
    role: Role,
    index: ReplicaIndex,
) -> BTreeMap<String, String> {
    let mut labels = role_labels(controller, job, role);
    labels.insert(REPLICA_INDEX.to_owned(), index.0.to_string());
    labels
}

/// Selector of one role for the scale subresource, as upstream writes it into `replicaStatuses[].selector`. `label` is
/// the key of the role label.
#[must_use]
pub fn role_selector(controller: &str, job: &str, label: &str, role: Role) -> String {
    format!(
        "{JOB_NAME}={job},{OPERATOR_NAME}={controller},{label}={}",
        role.lower()
    )
}

/// Reason why `name` cannot be the name of a job, or `None` if it can. The name becomes a Service's name (RFC 1035
/// label).
#[must_use]
pub fn job_name_problem(name: &str) -> Option<&'static str> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let last = name
        .bytes()
        .last()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let all = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (!(first && last && all)).then_some(
        "must consist of lower case letters, digits or '-', start with a letter and end with a letter or digit \
         (it becomes the name of a Service)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams() {
        assert_eq!(replica("mw", Role("Worker"), ReplicaIndex(11)), "mw-worker-11");
        assert_eq!(
            role_selector("pytorchjob-controller", "j", REPLICA_TYPE, Role("Worker")),
            "training.kubeflow.org/job-name=j,training.kubeflow.org/operator-name=pytorchjob-controller,\
             training.kubeflow.org/replica-type=worker"
        );
    }

    #[test]
    fn job_names_are_rfc1035_labels() {
        for good in ["a", "a-1", "digits"] {
            assert_eq!(job_name_problem(good), None, "{good}");
        }
        for bad in ["", "1a", "a.b", "A", "a-", "-a"] {
            assert!(job_name_problem(bad).is_some(), "{bad}");
        }
    }
}
