//! The answer of [`crate::plan`]: what to write, in which order, as data.

use crate::objects::{Child, ChildKind, Extra};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use crate::api::JobStatus;
use crate::names::{Attempt, ReplicaId, Uid};

/// What to do for one job now. Carried out in this order, stopping at the first class that fails:
/// `intent`, then `writes` class by class (see [`Write::class`]), then `status`, then `events`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Status that must be stored, conditional on the observed resourceVersion, before any write is sent.
    pub intent: Option<JobStatus>,
    /// Writes, sorted by class; pods in rank order.
    pub writes: Vec<Write>,
    /// Status to store at the end, conditional on the resourceVersion, if it differs from what is stored;
    /// `None` means: not ours to write.
    pub status: Option<JobStatus>,
    /// Whether the plan was made without a look at what has vanished, which must be shown again then.
    pub keeps_vanished: bool,
    /// Whether `status` differs from the stored one in more than pod counts. If not, the write may wait so that at most
    /// one such write per job and second is sent.
    pub status_is_urgent: bool,
    /// Events to send once everything above was acknowledged.
    pub events: Vec<Event>,
    /// Counters to raise once the status was acknowledged, whether or not all writes went through.
    pub counters: Vec<Counter>,
    /// Decide again at this time even if nothing happens.
    pub requeue_at: Option<Timestamp>,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// See to it that an object is there and says what it should. Planned again in every pass; what is known to be so
    /// is not sent again.
    Ensure(Extra),
    /// Create an object beside the pods.
    CreateChild(Child),
    /// Change such an object, only if it still has this UID: what `to` states becomes so, what it leaves out stays as it
    /// is. Lists are replaced as a whole.
    ChangeChild {
        /// What it is to be.
        to: Child,
        /// Precondition.
        uid: Uid,
    },
    /// Delete such an object, only if it still has this UID.
    DeleteChild {
        /// What it is.
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
        /// Without waiting for its node, which is lost, to say that it has ended.
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
        /// Attempt, as in its label.
        attempt: Attempt,
        /// The batch Job.
        job: Box<Job>,
    },
    /// Delete a batch Job, only if it still has this UID; it stays until its pods are gone.
    DeleteBatchJob {
        /// Name.
        name: String,
        /// Precondition.
        uid: Uid,
    },
    /// Delete the job itself (time to live is over), only if it is still this very version.
    DeleteJob {
        /// Precondition.
        uid: Uid,
        /// Precondition.
        resource_version: String,
    },
}

/// Order of requests within a plan (DESIGN: 2 identity, 3 inputs, 4 services, 5 deletes, 6 pods; what scales them; the job itself last).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriteClass {
    /// Service accounts and roles.
    Identity,
    /// Role bindings, which need their role first; config maps and key pairs; what gang schedulers are told.
    Inputs,
    /// Services.
    Services,
    /// Deletes of children.
    Deletes,
    /// Pods, in rank order, by slow-start batches; batch Jobs.
    Pods,
    /// What scales the job: the pods need not wait for it.
    Scaling,
    /// The job.
    Job,
}

impl Write {
    /// The class that decides when the write is sent.
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
    /// Whether it tells of the plan's writes, and so is true only if all of them went through; if not, it goes with the
    /// status.
    pub of_writes: bool,
}

/// Counters that clients know from upstream (`training_operator_jobs_*_total`), each raised once per transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// First status of a job.
    Created,
    /// A job succeeded.
    Succeeded,
    /// A job failed, for whatever reason.
    Failed,
    /// A restart of one or more pods.
    Restarted,
    /// A job was deleted by its time to live.
    Deleted,
}
