//! What differs between kinds, as data.

use crate::api::{RestartPolicy, SuccessPolicy};
use crate::names::{self, ReplicaId, ReplicaIndex, Role};

/// The role of rank 0, where a kind has one beside workers.
pub const MASTER: Role = Role("Master");

/// Those who compute.
pub const WORKER: Role = Role("Worker");

/// What differs between kinds as data.
#[derive(Debug)]
pub struct KindInfo {
    /// Kind, such as `PyTorchJob`. Prefix of every reason.
    pub kind: &'static str,
    /// API group.
    pub group: &'static str,
    /// Version that owner references name; of the framework in the registry, also the one that the operator watches.
    pub version: &'static str,
    /// Which objects are of this dialect of the kind; `None` for a kind with one meaning.
    pub stamp: Option<Stamp>,
    /// Plural, as in URLs.
    pub plural: &'static str,
    /// Value of label `operator-name`, and source of events.
    pub controller: &'static str,
    /// Values of `runPolicy.managedBy` that mean this operator.
    pub managers: &'static [&'static str],
    /// Metric label `framework`.
    pub framework: &'static str,
    /// Field of `spec` that maps roles to replicas.
    pub replicas_field: &'static str,
    /// Name that the training container must have; `None`: it is the first one. Its exit code is the pod's.
    pub container: Option<&'static str>,
    /// The port that pods find each other on, if they agree on one beforehand.
    pub port: Option<PortInfo>,
    /// Label that tells a pod's role.
    pub role_label: &'static str,
    /// How pods are given host names.
    pub host_names: HostNames,
    /// Roles in rank order.
    pub roles: &'static [RoleInfo],
    /// Roles whose success is the job's: of the first of them that the job has pods of, all must have succeeded, unless
    /// the framework says otherwise.
    pub decides: &'static [Role],
    /// Role whose scale subresource and `selector` are kept, if any.
    pub scaled_role: Option<Role>,
    /// backoffLimit of jobs that state none.
    pub default_backoff_limit: Option<u32>,
    /// Values of `spec.successPolicy` that make sense, the kind's own rule first.
    pub success_policies: &'static [SuccessPolicy],
    /// The kind's own rule of success, in words for its schema.
    pub success: &'static str,
    /// Name of a job in condition messages.
    pub message_style: MessageStyle,
    /// Whether pods that still run when the job succeeds are counted as succeeded.
    pub active_succeeds: bool,
    /// Whether `spec.cleanPodPolicy` is read where `spec.runPolicy` has none.
    pub legacy_clean_pod_policy: bool,
    /// What the framework makes beside pods and Services.
    pub makes: &'static [ExtraKind],
    /// What gang schedulers are told of its jobs.
    pub gang: GangInfo,
    /// What its generated example and reference page are made of; `None` where both are written by hand.
    pub example: Option<Example>,
}

/// A small job that runs as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// Name of the job.
    pub name: &'static str,
    /// What it does, a sentence.
    pub about: &'static str,
    /// Image of all its pods.
    pub image: &'static str,
    /// What they run.
    pub command: &'static [&'static str],
    /// Replicas by role.
    pub roles: &'static [(Role, u32)],
}

/// What differs between kinds in what gang schedulers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GangInfo {
    /// Whether pods tell Volcano their role.
    pub tells_role: bool,
    /// Annotation of the job that names its queue where the policy does not.
    pub queue_annotation: Option<&'static str>,
    /// Queue of jobs that name none.
    pub default_queue: Option<&'static str>,
    /// Whether the gang has the priority class of its first template that names one, where the policy names none.
    pub class_of_template: bool,
    /// `scheduleTimeoutSeconds` of jobs that state none.
    pub default_timeout: Option<i32>,
}

impl GangInfo {
    /// As training-operator 1.9 does (`pkg/controller.v1/common/job.go`).
    pub const COMMON: Self = Self {
        tells_role: true,
        queue_annotation: None,
        default_queue: Some("default"),
        class_of_template: false,
        default_timeout: None,
    };
}

/// How an object shows that it is of a dialect: the schema default of each API version fills in a field of `spec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Field of `spec`.
    pub field: &'static str,
    /// Its value in objects of this dialect.
    pub value: &'static str,
}

/// A port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortInfo {
    /// Name of the port of the training container that counts.
    pub name: &'static str,
    /// Number when the user names none.
    pub number: i32,
}

/// How pods are given host names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostNames {
    /// As the operator's service mode says.
    ByServiceMode,
    /// Always below the job's own Service.
    OfJob,
    /// Not at all: pods do not look each other up.
    No,
}

/// Name of a job in condition messages, as upstream's controllers of the kind write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageStyle {
    /// `Kind namespace/name` in all messages.
    Qualified,
    /// `Kind name`; `Kind namespace/name` for Running and Succeeded if the workers decide, or nobody does.
    ShortUnlessWorkersDecide,
    /// `Kind name`; `Kind namespace/name` for Running and Succeeded.
    QualifiedResult,
}

/// Kinds of objects that a framework makes beside pods and Services: what the operator needs rights for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExtraKind {
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret with a key pair.
    KeyPair,
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `rbac.authorization.k8s.io/v1` Role and RoleBinding, which allow exec into the job's own pods.
    ExecRole,
    /// `batch/v1` Job that carries a replica.
    BatchJob,
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    Autoscaler,
}

impl KindInfo {
    /// What the kinds of training-operator have in common; each writes what differs, and at least its names, the field
    /// of its replicas, its roles and what decides.
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

    /// The role of this name, in any case.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&'static RoleInfo> {
        self.roles.iter().find(|r| r.role.0.eq_ignore_ascii_case(name))
    }

    /// What is known of a role of this kind.
    #[must_use]
    pub fn of_role(&self, role: Role) -> Option<&'static RoleInfo> {
        self.roles.iter().find(|info| info.role == role)
    }

    /// Which replica of `job` the pod (or batch Job) of this name is, whether or not the job still has that replica.
    #[must_use]
    pub fn replica_of(&self, job: &str, name: &str) -> Option<ReplicaId> {
        let rest = name.strip_prefix(job)?.strip_prefix('-')?;
        self.roles.iter().find_map(|info| {
            let after = rest.strip_prefix(&info.role.lower())?;
            let index = match after.strip_prefix('-') {
                _ if info.only => after.is_empty().then_some(0),
                // Only the one way to write a number is a name of ours.
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
    /// Most replicas that the role may have.
    pub max_replicas: Option<u32>,
    /// Fewest replicas that the role may have; the role itself must be there if that is not 0.
    pub min_replicas: u32,
    /// Restart policy if the user states none.
    pub default_restart_policy: RestartPolicy,
    /// Whether its one replica has no index in its name.
    pub only: bool,
    /// What carries a replica.
    pub workload: Workload,
    /// The role whose pods this one drives: it is started anew only when all of them are ready, and if it is in trouble
    /// while one of them is not.
    pub depends_on: Option<Role>,
}

impl RoleInfo {
    /// Any number of plain pods, with restart policy `policy` by default.
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

    /// The same, but no more than `max`.
    #[must_use]
    pub const fn at_most(self, max: u32) -> Self {
        Self {
            max_replicas: Some(max),
            ..self
        }
    }

    /// The same, but no fewer than `min`.
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

/// What carries a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// A pod of ours.
    Pod,
    /// A `batch/v1` Job of ours, whose controller makes the pods and retries them.
    BatchJob,
}

/// What a failed pod means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// What the role's restart policy says.
    ByPolicy,
    /// It is replaced, whatever the policy; backoffLimit counts.
    Replace,
    /// The job goes on without it where the policy would end the job, as long as another of its role is left.
    Tolerate,
}

/// A framework's judgement of a job of which no pod has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not all pods that the job needs run yet.
    Waiting,
    /// All pods that the job needs run.
    Running,
    /// The job has ended well.
    Succeeded,
}
