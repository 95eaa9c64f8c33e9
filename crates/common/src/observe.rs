//! The closed world of one decision: what the runtime shows to [`crate::plan`].
//!
//! Everything is as the runtime's views hold it; nothing here is fetched. A [`PodView`] is a pod pruned to what
//! decisions read, a few hundred bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::gang::{PodGroupApi, PodGroupView};
use crate::names::{Attempt, JobKey, Uid};
use crate::objects::ChildKind;

/// All that one decision may know.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The current time: the only clock of the pure half.
    pub now: Timestamp,
    /// The job.
    pub job: Arc<RawJob>,
    /// Pods whose controller is this job (by UID), in any order.
    pub pods: Vec<Arc<PodView>>,
    /// Services and other objects whose controller is this job (by UID), in any order.
    pub children: Vec<Arc<ChildView>>,
    /// Batch Jobs whose controller is this job (by UID), in any order.
    pub batch_jobs: Vec<Arc<BatchJobView>>,
    /// Pods whose controller is one of these batch Jobs, or one that is gone, by its UID.
    pub batch_pods: Vec<(Uid, Arc<PodView>)>,
    /// Values of the cluster's priority classes, by name; empty where nothing asks for them.
    pub priorities: Arc<BTreeMap<String, i32>>,
    /// Pods and batch Jobs of this job that were seen to vanish since the last acknowledged status write without a
    /// deletion of ours.
    pub vanished: Vec<Vanished>,
    /// Writes of the last pass that the API server refused; empty once they went through.
    pub refusals: Vec<Refusal>,
    /// Nodes that do not answer, of those that a pod of this job is on, by name.
    pub unreachable_nodes: BTreeMap<Box<str>, UnreachableNode>,
}

/// A node that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachableNode {
    /// Since when it is not Ready, or seen to be gone.
    pub since: Timestamp,
    /// Whether an administrator says that nothing runs there any more: taint `node.kubernetes.io/out-of-service`.
    pub out_of_service: bool,
    /// Whether there is no such node any more.
    pub gone: bool,
}

impl Observed {
    /// Children of a kind that are not on their way out.
    pub fn standing(&self, kind: ChildKind) -> impl Iterator<Item = &ChildView> {
        let of_kind = self.children.iter().filter(move |child| child.kind == kind);
        of_kind.map(|child| &**child).filter(|child| !child.deleting)
    }
}

/// A job as stored: typed metadata, untyped spec. Typing happens in [`mod@crate::resolve`], so that a poison object is
/// that job's problem and nobody else's.
#[derive(Debug, Clone)]
pub struct RawJob {
    /// Kind, namespace, name.
    pub key: JobKey,
    /// UID.
    pub uid: Uid,
    /// resourceVersion.
    pub resource_version: String,
    /// Whether deletionTimestamp is set.
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
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly; or evicted.
    Failed,
    /// The node does not answer.
    Unknown,
}

/// A pod, pruned to what decisions read.
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
    /// Whether deletionTimestamp is set.
    pub deleting: bool,
    /// Whether it was told to go without a grace period: what still holds it is somebody's finalizer.
    pub forced: bool,
    /// Condition Ready.
    pub ready: bool,
    /// Node, once bound.
    pub node: Option<Box<str>>,
    /// Of which API the PodGroup is that it belongs to, if it belongs to one.
    pub gang: Option<PodGroupApi>,
    /// Sum of restartCount over the training container and init containers; side-cars do not count.
    pub restarts: u32,
    /// What only troubled or ended pods have.
    pub detail: Option<Box<PodDetail>>,
}

impl PodView {
    /// Whether all its containers have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }
}

/// What only troubled or ended pods have.
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
    /// Containers that have ended or wait with a reason; init containers first.
    pub containers: Vec<ContainerView>,
    /// How containers that were restarted in place had ended before; init containers first.
    pub earlier: Vec<ContainerView>,
}

/// One container's noteworthy state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    /// Name.
    pub name: Box<str>,
    /// Whether it is an init container.
    pub init: bool,
    /// State.
    pub state: ContainerState,
}

/// State of a container that has ended or cannot start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// It has ended and, for now, stays so (`state.terminated`).
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

/// An object of ours that is neither a pod nor a batch Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildView {
    /// What it is.
    pub kind: ChildKind,
    /// Name.
    pub name: Box<str>,
    /// UID.
    pub uid: Uid,
    /// Whether deletionTimestamp is set.
    pub deleting: bool,
    /// Annotation [`crate::names::SPEC_DIGEST`].
    pub digest: Option<Box<str>>,
    /// What decisions read of a PodGroup.
    pub pod_group: Option<Box<PodGroupView>>,
}

/// A batch Job, pruned to what decisions read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchJobView {
    /// Name.
    pub name: Box<str>,
    /// UID.
    pub uid: Uid,
    /// Attempt label; 0 if absent.
    pub attempt: Attempt,
    /// Whether deletionTimestamp is set.
    pub deleting: bool,
    /// `status.failed`: its pods that failed.
    pub failed: u32,
    /// How it ended, once its controller has given its verdict.
    pub end: Option<Box<BatchEnd>>,
}

/// How a batch Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEnd {
    /// Condition Complete, not Failed or FailureTarget.
    pub succeeded: bool,
    /// Reason of the condition.
    pub reason: Box<str>,
    /// Message of the condition.
    pub message: Box<str>,
    /// Its transition time.
    pub at: Option<Timestamp>,
}

/// A pod or batch Job that was there and then was not, although nobody here deleted it; whether or not it was seen
/// terminating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vanished {
    /// Its name.
    pub name: Box<str>,
    /// Its attempt.
    pub attempt: Attempt,
    /// Container restarts that it had.
    pub restarts: u32,
    /// Whether it had been seen to succeed before anybody deleted it.
    pub succeeded: bool,
}

/// Why a write of ours did not go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was written, such as `Pod mw-worker-0`.
    pub object: String,
    /// Whether it was to be deleted.
    pub deletion: bool,
    /// Which class of trouble it is.
    pub cause: RefusalCause,
    /// The API server's message, or ours for name clashes.
    pub message: String,
}

/// Class of a refused write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// An object that belongs to nobody of ours has the name. It is never touched.
    Foreign,
    /// A pod or batch Job of this very job has the name, but not the label by which it would be seen: a user has to put that
    /// right.
    Unlabelled,
    /// The object belongs to an earlier job of the same name (or is a predecessor) and is going away.
    Predecessor,
    /// Quota, admission or RBAC said no (403, or a webhook's refusal).
    Forbidden,
    /// The object is not valid (422): the user's template has a mistake that only the API server sees.
    Invalid,
    /// Anything that a retry may cure.
    Transient,
}
