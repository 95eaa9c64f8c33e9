//! Differences between kinds, as data.

use crate::api::{RestartPolicy, SuccessPolicy};
use crate::names::{self, ReplicaId, ReplicaIndex, Role};

/// Role of rank 0, in kinds that have one beside the workers.
pub const MASTER: Role = Role("Master");

/// Role of the replicas that do the training.
pub const WORKER: Role = Role("Worker");

/// Differences between kinds, as data.
#[derive(Debug)]
pub struct KindInfo {
    /// Kind, such as `PyTorchJob`. It is the prefix of every reason.
    pub kind: &'static str,
    /// API group.
    pub group: &'static str,
    /// Version in owner references. For a framework in the registry, also the version that the operator watches.
    pub version: &'static str,
    /// Stamp of the objects of this dialect of the kind; `None` for a kind with only one meaning.
    pub stamp: Option<Stamp>,
    /// Plural, as in URLs.
    pub plural: &'static str,
    /// Value of the label `operator-name`, and source of events.
    pub controller: &'static str,
    /// Values of `runPolicy.managedBy` that stand for this operator.
    pub managers: &'static [&'static str],
    /// Metric label `framework`.
    pub framework: &'static str,
    /// Field of `spec` that maps roles to replicas.
    pub replicas_field: &'static str,
    /// Required name of the training container; `None` if it is the first container. Its exit code is the pod's.
    pub container: Option<&'static str>,
    /// Port on which pods find each other, if it is agreed on beforehand.
    pub port: Option<PortInfo>,
    /// Key of the label with a pod's role.
    pub role_label: &'static str,
    /// Rule for the host names of pods.
    pub host_names: HostNames,
    /// Roles in rank order.
    pub roles: &'static [RoleInfo],
    /// Roles whose success is the job's success. Of the first of them that has pods in the job, all pods must have
    /// succeeded, unless the framework has its own rule.
    pub decides: &'static [Role],
    /// Role whose scale subresource and `selector` are maintained, if any.
    pub scaled_role: Option<Role>,
    /// backoffLimit of jobs that do not set one.
    pub default_backoff_limit: Option<u32>,
    /// Values of `spec.successPolicy` that the kind supports, its own rule first.
    pub success_policies: &'static [SuccessPolicy],
    /// The kind's own success rule, as text for its schema.
    pub success: &'static str,
    /// Form of a job's name in condition messages.
    pub message_style: MessageStyle,
    /// True if pods that still run when the job succeeds are counted as succeeded.
    pub active_succeeds: bool,
    /// True if `spec.cleanPodPolicy` is read for jobs without `spec.runPolicy.cleanPodPolicy`.
    pub legacy_clean_pod_policy: bool,
    /// Kinds of objects that the framework creates beside pods and Services.
    pub makes: &'static [ExtraKind],
    /// Differences in gang scheduling.
    pub gang: GangInfo,
    /// Source of the generated example and reference page; `None` if both are written by hand.
    pub example: Option<Example>,
}

/// A small job that runs without changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// Name of the job.
    pub name: &'static str,
    /// Description of the job in one sentence.
    pub about: &'static str,
    /// Image of all its pods.
    pub image: &'static str,
    /// Command of all its pods.
    pub command: &'static [&'static str],
    /// Replicas by role.
    pub roles: &'static [(Role, u32)],
}

/// Differences between kinds in gang scheduling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GangInfo {
    /// True if pods have an annotation with their role for Volcano.
    pub tells_role: bool,
    /// Annotation of the job that names its queue if the scheduling policy does not.
    pub queue_annotation: Option<&'static str>,
    /// Queue of jobs that do not name one.
    pub default_queue: Option<&'static str>,
    /// True if the gang gets the priority class of the job's first template that names one, if the scheduling policy
    /// names none.
    pub class_of_template: bool,
    /// `scheduleTimeoutSeconds` of jobs that do not set it.
    pub default_timeout: Option<i32>,
}

impl GangInfo {
    /// Values of training-operator 1.9 (`pkg/controller.v1/common/job.go`).
    pub const COMMON: Self = Self {
        tells_role: true,
        queue_annotation: None,
        default_queue: Some("default"),
        class_of_template: false,
        default_timeout: None,
    };
}

/// Field value that marks an object as one of a dialect. The schema of each API version has its own default for this
/// field of `spec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Field of `spec`.
    pub field: &'static str,
    /// Value of the field in objects of this dialect.
    pub value: &'static str,
}

/// A port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortInfo {
    /// Name of the relevant port of the training container.
    pub name: &'static str,
    /// Number of the port if the user does not name it.
    pub number: i32,
}

/// Rule for the host names of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostNames {
    /// Follow the operator's service mode.
    ByServiceMode,
    /// Always a host name below the job's own Service.
    OfJob,
    /// No host names: pods do not look each other up.
    No,
}

/// Form of a job's name in condition messages, as upstream's controllers of the kind write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageStyle {
    /// `Kind namespace/name` in all messages.
    Qualified,
    /// `Kind name`; `Kind namespace/name` for Running and Succeeded if the workers decide the success, or no role does.
    ShortUnlessWorkersDecide,
    /// `Kind name`; `Kind namespace/name` for Running and Succeeded.
    QualifiedResult,
}

/// Kinds of objects that a framework creates beside pods and Services. The operator needs rights for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExtraKind {
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret with a key pair.
    KeyPair,
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `rbac.authorization.k8s.io/v1` Role and RoleBinding that allow exec into the job's own pods.
    ExecRole,
    /// `batch/v1` Job that runs a replica.
    BatchJob,
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    Autoscaler,
}

impl KindInfo {
    /// Common values of training-operator's kinds. Each kind sets the fields that differ: at least its names, the field
    /// of its replicas, its roles and the roles that decide.
    pub const COMMON: Self = Self {
        kind: "",
        group: "kubeflow.org",
        version: "v1",
        stamp: None,
        plural: "",
        controller: "",
        managers: &[names::MANAGED_BY_US],
        framework: "",
        replicas_field: "",
        container: None,
        port: None,
        role_label: names::REPLICA_TYPE,
        host_names: HostNames::ByServiceMode,
        roles: &[],
        decides: &[],
        scaled_role: Some(WORKER),
        default_backoff_limit: None,
        success_policies: &[
            SuccessPolicy::OfKind,
            SuccessPolicy::AllWorkers,
            SuccessPolicy::Leader,
        ],
        success: "",
        message_style: MessageStyle::ShortUnlessWorkersDecide,
        active_succeeds: true,
        legacy_clean_pod_policy: false,
        makes: &[],
        gang: GangInfo::COMMON,
        example: None,
    };

    /// `apiVersion` of the kind.
    #[must_use]
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// Role of this name, in any case.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&'static RoleInfo> {
        self.roles.iter().find(|r| r.role.0.eq_ignore_ascii_case(name))
    }

    /// Data of a role of this kind.
    #[must_use]
    pub fn of_role(&self, role: Role) -> Option<&'static RoleInfo> {
        self.roles.iter().find(|info| info.role == role)
    }

    /// Replica of `job` that the pod or batch Job of this name belongs to, even if the job no longer has that replica.
    #[must_use]
    pub fn replica_of(&self, job: &str, name: &str) -> Option<ReplicaId> {
        let rest = name.strip_prefix(job)?.strip_prefix('-')?;
        self.roles.iter().find_map(|info| {
            let after = rest.strip_prefix(&info.role.lower())?;
            let index = match after.strip_prefix('-') {
                _ if info.only => after.is_empty().then_some(0),
                // Names contain numbers only in their canonical form: `worker-01` is not a name of this operator.
                Some(digits) => digits.parse::<u32>().ok().filter(|n| n.to_string() == digits),
                None => None,
            };
            Some(ReplicaId {
                role: info.role,
                index: ReplicaIndex(index?),
            })
        })
    }
}

/// One role of a kind.
#[derive(Debug)]
pub struct RoleInfo {
    /// Canonical name.
    pub role: Role,
    /// Maximum number of replicas of the role.
    pub max_replicas: Option<u32>,
    /// Minimum number of replicas of the role. If it is not 0, the role must be present.
    pub min_replicas: u32,
    /// Restart policy if the user does not set one.
    pub default_restart_policy: RestartPolicy,
    /// True if the role has a single replica whose name has no index.
    pub only: bool,
    /// Workload that runs a replica.
    pub workload: Workload,
    /// Role that this one depends on. A pod of this role is restarted only when all pods of the other role are ready.
    /// It is also restarted if it is failing while one of them is not ready.
    pub depends_on: Option<Role>,
}

impl RoleInfo {
    /// Role with any number of plain pods and the default restart policy `policy`.
    #[must_use]
    pub const fn pods(role: Role, policy: RestartPolicy) -> Self {
        Self {
            role,
            max_replicas: None,
            min_replicas: 0,
            default_restart_policy: policy,
            only: false,
            workload: Workload::Pod,
            depends_on: None,
        }
    }

    /// The same role with at most `max` replicas.
    #[must_use]
    pub const fn at_most(self, max: u32) -> Self {
        Self {
            max_replicas: Some(max),
            ..self
        }
    }

    /// The same role with at least `min` replicas.
    #[must_use]
    pub const fn at_least(self, min: u32) -> Self {
        Self {
            min_replicas: min,
            ..self
        }
    }

    /// Name of a replica of this role.
    #[must_use]
    pub fn replica_name(&self, job: &str, index: ReplicaIndex) -> String {
        if self.only {
            names::only_replica(job, self.role)
        } else {
            names::replica(job, self.role, index)
        }
    }
}

/// Workload that runs a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// A pod created by this operator.
    Pod,
    /// A `batch/v1` Job created by this operator. The Job controller creates and retries the pods.
    BatchJob,
}

/// Effect of a failed pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The role's restart policy decides.
    ByPolicy,
    /// The pod is replaced, regardless of the policy; backoffLimit applies.
    Replace,
    /// Where the policy would fail the job, the job continues without the pod, as long as another pod of the role is
    /// left.
    Tolerate,
}

/// Progress of a job without permanently failed pods, according to its framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not all pods that the job needs run yet.
    Waiting,
    /// All pods that the job needs run.
    Running,
    /// The job has succeeded.
    Succeeded,
}
