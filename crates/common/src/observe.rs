//! Input of one decision: the state that the runtime passes to [`crate::plan()`].
//!
//! All data come from the runtime's watches; nothing is fetched during a decision. A [`PodView`] is a pod reduced to
//! the data that decisions read, a few hundred bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::gang::{PodGroupApi, PodGroupView};
use crate::names::{Attempt, JobKey, Uid};
use crate::objects::ChildKind;

/// All input of one decision.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Current time. It is the only clock of this crate.
    pub now: Timestamp,
    /// The job.
    pub job: Arc<RawJob>,
    /// Pods whose controller is this job (by UID), in any order.
    pub pods: Vec<Arc<PodView>>,
    /// Services and other objects whose controller is this job (by UID), in any order.
    pub children: Vec<Arc<ChildView>>,
    /// Batch Jobs whose controller is this job (by UID), in any order.
    pub batch_jobs: Vec<Arc<BatchJobView>>,
    /// Pods whose controller is one of these batch Jobs, or one that no longer exists, with the UID of that controller.
    pub batch_pods: Vec<(Uid, Arc<PodView>)>,
    /// Values of the cluster's priority classes, by name. Empty if no setting needs them.
    pub priorities: Arc<BTreeMap<String, i32>>,
    /// Pods and batch Jobs of this job that vanished since the last acknowledged status write without having been
    /// deleted by this operator.
    pub vanished: Vec<Vanished>,
    /// Writes of the last reconcile that the API server refused. Empty after they have succeeded.
    pub refusals: Vec<Refusal>,
    /// Unreachable nodes with a pod of this job, by name.
    pub unreachable_nodes: BTreeMap<Box<str>, UnreachableNode>,
}

/// An unreachable node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachableNode {
    /// Time since which the node has been NotReady or missing.
    pub since: Timestamp,
    /// True if an administrator states that nothing runs on the node any more: taint
    /// `node.kubernetes.io/out-of-service`.
    pub out_of_service: bool,
    /// True if the node no longer exists.
    pub gone: bool,
}

impl Observed {
    /// Children of a kind that are not being deleted.
    pub fn standing(&self, kind: ChildKind) -> impl Iterator<Item = &ChildView> {
        let of_kind = self.children.iter().filter(move |child| child.kind == kind);
        of_kind.map(|child| &**child).filter(|child| !child.deleting)
    }
}

/// A job as stored, with typed metadata and an untyped spec. [`mod@crate::resolve`] does the typing, so that an
/// unreadable object affects only its own job.
#[derive(Debug, Clone)]
pub struct RawJob {
    /// Kind, namespace, name.
    pub key: JobKey,
    /// UID.
    pub uid: Uid,
    /// resourceVersion.
    pub resource_version: String,
    /// True if deletionTimestamp is set.
    pub deleting: bool,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec` as stored (JSON null if absent).
    pub spec: serde_json::Value,
    /// `status` as stored (JSON null if absent).
    pub status: serde_json::Value,
}

/// Phase of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not all containers have started; also the phase "" of a pod that was just created.
    Pending,
    /// Bound, at least one container started.
    Running,
    /// All containers ended successfully.
    Succeeded,
    /// All containers ended, at least one of them with an error; or the pod was evicted.
    Failed,
    /// The node is unreachable.
    Unknown,
}

/// A pod, reduced to the data that decisions read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Name.
    pub name: Box<str>,
    /// UID.
    pub uid: Uid,
    /// Attempt label; 0 if absent.
    pub attempt: Attempt,
    /// Phase.
    pub phase: Phase,
    /// True if deletionTimestamp is set.
    pub deleting: bool,
    /// True if it was deleted without a grace period: only a finalizer still holds it.
    pub forced: bool,
    /// Condition Ready.
    pub ready: bool,
    /// Node, if bound.
    pub node: Option<Box<str>>,
    /// API of the PodGroup that it belongs to, if any.
    pub gang: Option<PodGroupApi>,
    /// Sum of restartCount over the training container and init containers. Side-cars do not count.
    pub restarts: u32,
    /// Details that only pods with problems and ended pods have.
    pub detail: Option<Box<PodDetail>>,
}

impl PodView {
    /// True if all its containers have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }
}

/// Details that only pods with problems and ended pods have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodDetail {
    /// `status.reason`, such as Evicted.
    pub reason: Option<Box<str>>,
    /// `status.message`.
    pub message: Option<Box<str>>,
    /// Reason of condition DisruptionTarget, if it is True.
    pub disruption: Option<Box<str>>,
    /// Reason and message of PodScheduled=False.
    pub unschedulable: Option<Box<str>>,
    /// Containers that have ended, or that wait with a reason; init containers first.
    pub containers: Vec<ContainerView>,
    /// Earlier terminations of containers that were restarted in place; init containers first.
    pub earlier: Vec<ContainerView>,
}

/// A container in a notable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    /// Name.
    pub name: Box<str>,
    /// True for an init container.
    pub init: bool,
    /// State.
    pub state: ContainerState,
}

/// State of a container that has ended or cannot start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// It has ended and is not being restarted at the moment (`state.terminated`).
    Terminated {
        /// Exit code.
        exit_code: i32,
        /// Reason, such as OOMKilled or Error.
        reason: Option<Box<str>>,
        /// Termination message, at most 4 KiB, as the kubelet stored it.
        message: Option<Box<str>>,
        /// finishedAt.
        finished_at: Option<Timestamp>,
    },
    /// It waits (`state.waiting` with a reason other than ContainerCreating and PodInitializing).
    Waiting {
        /// Reason, such as ImagePullBackOff or CrashLoopBackOff.
        reason: Box<str>,
        /// Message.
        message: Option<Box<str>>,
    },
}

/// An object of this operator that is neither a pod nor a batch Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildView {
    /// Kind.
    pub kind: ChildKind,
    /// Name.
    pub name: Box<str>,
    /// UID.
    pub uid: Uid,
    /// True if deletionTimestamp is set.
    pub deleting: bool,
    /// Annotation [`crate::names::SPEC_DIGEST`].
    pub digest: Option<Box<str>>,
    /// PodGroup data that decisions read.
    pub pod_group: Option<Box<PodGroupView>>,
}

/// A batch Job, reduced to the data that decisions read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchJobView {
    /// Name.
    pub name: Box<str>,
    /// UID.
    pub uid: Uid,
    /// Attempt label; 0 if absent.
    pub attempt: Attempt,
    /// True if deletionTimestamp is set.
    pub deleting: bool,
    /// `status.failed`: number of its failed pods.
    pub failed: u32,
    /// Result, after the Job controller has set a final condition.
    pub end: Option<Box<BatchEnd>>,
}

/// Result of a batch Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEnd {
    /// True for condition Complete, false for Failed or FailureTarget.
    pub succeeded: bool,
    /// Reason of the condition.
    pub reason: Box<str>,
    /// Message of the condition.
    pub message: Box<str>,
    /// Transition time of the condition.
    pub at: Option<Timestamp>,
}

/// A pod or batch Job that existed and then disappeared without having been deleted by this operator. It may or may not
/// have been seen terminating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vanished {
    /// Its name.
    pub name: Box<str>,
    /// Its attempt.
    pub attempt: Attempt,
    /// Number of its container restarts.
    pub restarts: u32,
    /// True if it was seen to have succeeded before it was deleted.
    pub succeeded: bool,
}

/// Kind and name of an object in the job's namespace. Displayed as `Pod mw-worker-0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// Kind, such as `Pod`.
    pub kind: &'static str,
    /// Name.
    pub name: Box<str>,
}

impl ObjectRef {
    /// Reference to the object of this kind and name.
    #[must_use]
    pub fn new(kind: &'static str, name: &str) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// A write of this operator that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Object of the write.
    pub object: ObjectRef,
    /// True if the write was a deletion.
    pub deletion: bool,
    /// Class of the cause.
    pub cause: RefusalCause,
    /// Message of the API server, or of this operator for name clashes.
    pub message: String,
}

/// Class of the cause of a refused write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// The name belongs to an object that is not this operator's. That object is never touched.
    Foreign,
    /// The name belongs to a pod or batch Job of this same job, but without the label by which the operator would see
    /// it. A user must correct that.
    Unlabelled,
    /// The object belongs to an earlier job of the same name (or is a predecessor) and is being deleted.
    Predecessor,
    /// A resource quota of the namespace is used up. Other jobs can make room.
    Quota,
    /// Admission or RBAC refused the write (403, or a refusal by a webhook).
    Forbidden,
    /// The object is invalid (422): the user's template has a mistake that only the API server detects.
    Invalid,
    /// Any cause that a retry may resolve.
    Transient,
}
