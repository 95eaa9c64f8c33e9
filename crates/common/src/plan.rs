//! Result of [`crate::plan()`]: the writes for one job and their order, as data.

use crate::objects::{Child, ChildKind, Extra};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use crate::api::JobStatus;
use crate::names::{Attempt, ReplicaId, Uid};

/// Writes and status for one job. The runtime applies them in this order and stops at the first class that fails:
/// `intent`, then `writes` class by class (see [`Write::class`]), then `status`, then `events`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Status that must be stored before any write is sent, conditional on the observed resourceVersion.
    pub intent: Option<JobStatus>,
    /// Writes, sorted by class; pods in rank order.
    pub writes: Vec<Write>,
    /// Status to store at the end, conditional on the resourceVersion, if it differs from the stored one. `None` if
    /// this operator must not write the status.
    pub status: Option<JobStatus>,
    /// True if the plan was made without looking at [`crate::Observed::vanished`]. The runtime must then show these
    /// objects again.
    pub keeps_vanished: bool,
    /// True if `status` differs from the stored one in more than pod counts. Otherwise the write may wait, so that at
    /// most one such write is sent per job and second.
    pub status_is_urgent: bool,
    /// Events to send after everything above was acknowledged.
    pub events: Vec<Event>,
    /// Counters to increment after the status was acknowledged, even if some writes failed.
    pub counters: Vec<Counter>,
    /// Time of the next decision, even if nothing happens until then.
    pub requeue_at: Option<Timestamp>,
}

/// One request to the API server.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Make sure that an object exists and has the wanted content. Planned again in every reconcile; the runtime sends
    /// nothing if the object is known to be correct.
    Ensure(Extra),
    /// Create a synced child.
    CreateChild(Child),
    /// Change a synced child, only if it still has this UID. The fields in `to` are set and all others stay as they
    /// are. Lists are replaced as a whole.
    ChangeChild {
        /// Wanted object.
        to: Child,
        /// Precondition.
        uid: Uid,
    },
    /// Delete a synced child, only if it still has this UID.
    DeleteChild {
        /// Kind of the child.
        kind: ChildKind,
        /// Name.
        name: String,
        /// Precondition.
        uid: Uid,
    },
    /// Delete a pod, only if it still has this UID.
    DeletePod {
        /// Name.
        name: String,
        /// Precondition.
        uid: Uid,
        /// True if the deletion does not wait for the kubelet to report the end of the pod, because the node is
        /// unreachable.
        force: bool,
    },
    /// Create the pod of a replica.
    CreatePod {
        /// Replica.
        replica: ReplicaId,
        /// Attempt, as in the pod's label.
        attempt: Attempt,
        /// The pod.
        pod: Box<Pod>,
    },
    /// Create the batch Job of a replica.
    CreateBatchJob {
        /// Replica.
        replica: ReplicaId,
        /// Attempt, as in the batch Job's label.
        attempt: Attempt,
        /// The batch Job.
        job: Box<Job>,
    },
    /// Delete a batch Job, only if it still has this UID. It stays until its pods are gone.
    DeleteBatchJob {
        /// Name.
        name: String,
        /// Precondition.
        uid: Uid,
    },
    /// Delete the job itself because its time to live has passed, only if it still has this UID and resourceVersion.
    DeleteJob {
        /// Precondition.
        uid: Uid,
        /// Precondition.
        resource_version: String,
    },
}

/// Order of requests within a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriteClass {
    /// Service accounts and roles.
    Identity,
    /// Role bindings, which need their role first; config maps and key pairs; PodGroups.
    Inputs,
    /// Services.
    Services,
    /// Deletes of children.
    Deletes,
    /// Pods, in rank order and in slow-start batches; batch Jobs.
    Pods,
    /// Autoscaler of the job. Pods need not wait for it.
    Scaling,
    /// The job itself.
    Job,
}

impl Write {
    /// Class of the write, which decides when it is sent.
    #[must_use]
    pub fn class(&self) -> WriteClass {
        match self {
            Self::Ensure(Extra::ServiceAccount(_) | Extra::Role(_)) => WriteClass::Identity,
            Self::Ensure(Extra::RoleBinding(_) | Extra::ConfigMap(_) | Extra::KeyPair(_)) => {
                WriteClass::Inputs
            }
            Self::CreateChild(child) | Self::ChangeChild { to: child, .. } => match child {
                Child::PodGroup(_) => WriteClass::Inputs,
                Child::Service(_) => WriteClass::Services,
                Child::Autoscaler(_) => WriteClass::Scaling,
            },
            Self::DeleteChild { .. } | Self::DeletePod { .. } | Self::DeleteBatchJob { .. } => {
                WriteClass::Deletes
            }
            Self::CreatePod { .. } | Self::CreateBatchJob { .. } => WriteClass::Pods,
            Self::DeleteJob { .. } => WriteClass::Job,
        }
    }
}

/// Severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// Normal.
    Normal,
    /// Warning.
    Warning,
}

/// An event on the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Severity.
    pub kind: EventType,
    /// Reason, such as `PyTorchJobSucceeded` or `SuccessfulCreatePod`.
    pub reason: String,
    /// Message.
    pub message: String,
    /// True if the event reports the plan's writes: it is sent only if all of them succeeded. Otherwise the event goes
    /// with the status.
    pub of_writes: bool,
}

/// Counters with the names that clients know from upstream (`training_operator_jobs_*_total`). Each is incremented once
/// per transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// First status of a job.
    Created,
    /// A job succeeded.
    Succeeded,
    /// A job failed, for any reason.
    Failed,
    /// A restart of one or more pods.
    Restarted,
    /// A job was deleted after its time to live.
    Deleted,
}
