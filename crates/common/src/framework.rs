//! The seam: what one framework contributes. No I/O, no clock, no async, object-safe.

use k8s_openapi::api::core::v1::{Container, EnvVar};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::api::RestartPolicy;
use crate::cast::{Cast, Slot, SlotId};
use crate::names::Role;
use crate::resolve::{Problems, ResolvedJob, Settings};
use crate::tally::Tally;

/// One framework. Implementations are stateless statics, listed once in the operator's registry.
pub trait Framework: Send + Sync {
    /// What differs between kinds as data.
    fn kind(&self) -> &'static KindInfo;

    /// The CRD, complete: schema, rules, subresources, columns.
    fn crd(&self) -> CustomResourceDefinition;

    /// How the pod of `slot` finds the others.
    fn wiring(&self, slot: &Slot, cast: &Cast, job: &ResolvedJob, settings: &Settings) -> Wiring;

    /// Succeeded, running, or neither yet. Failures and restarts are decided before it is asked.
    fn outcome(&self, tally: &Tally, job: &ResolvedJob) -> Outcome;

    /// The slot whose log stands for the job and whose name others are told.
    fn leader(&self, cast: &Cast, job: &ResolvedJob) -> Option<SlotId>;

    /// Whether the leader's end is the job's end (a Master, a Chief); messages then call the job by its short name.
    fn leader_decides(&self, job: &ResolvedJob) -> bool;

    /// Slots that are reached by their short name and so need a Service of their own in every service mode.
    fn addressed(&self, cast: &Cast, job: &ResolvedJob) -> Vec<SlotId>;

    /// Checks that the schema's rules cannot say. Called after the common checks passed.
    fn check(&self, job: &ResolvedJob, problems: &mut Problems);
}

/// What differs between kinds as data.
#[derive(Debug)]
pub struct KindInfo {
    /// Kind, such as `PyTorchJob`. Prefix of every reason.
    pub kind: &'static str,
    /// API group.
    pub group: &'static str,
    /// Version that the operator watches.
    pub version: &'static str,
    /// Plural, as in URLs.
    pub plural: &'static str,
    /// Value of label `operator-name`, and source of events.
    pub controller: &'static str,
    /// Metric label `framework`.
    pub framework: &'static str,
    /// Field of `spec` that maps roles to replicas.
    pub replicas_field: &'static str,
    /// Name of the training container; its exit code is the pod's.
    pub container: &'static str,
    /// Name of the port that pods find each other on.
    pub port_name: &'static str,
    /// Its number when the user names none.
    pub port: i32,
    /// Roles in rank order.
    pub roles: &'static [RoleInfo],
    /// Restart policy of roles that state none.
    pub default_restart_policy: RestartPolicy,
    /// Role whose scale subresource and `selector` are kept, if any.
    pub scaled_role: Option<Role>,
}

impl KindInfo {
    /// `apiVersion` of the kind.
    #[must_use]
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

/// One role of a kind.
#[derive(Debug)]
pub struct RoleInfo {
    /// Canonical name.
    pub role: Role,
    /// Most replicas that the role may have.
    pub max_replicas: Option<u32>,
}

/// How one pod finds the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wiring {
    /// Variables appended, in this order, to every container (not init containers).
    pub env: Vec<EnvVar>,
    /// Init containers appended to the user's.
    pub init_containers: Vec<Container>,
}

/// A framework's judgement of a job of which no pod has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not all pods that the job needs run yet.
    Waiting,
    /// All pods that the job needs run.
    Running,
    /// The job has ended well.
    Succeeded,
}
