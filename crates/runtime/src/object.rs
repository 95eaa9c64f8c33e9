//! Decoded objects of the watched resources.

use common::PodView;
use common::observe::{BatchJobView, ChildView};

use crate::children::ChildRecord;
use crate::decode::{JobObject, PriorityClass};
use crate::node_readiness::NodeObject;

/// A decoded object of a watched resource.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// A job.
    Job(Box<JobObject>),
    /// A pod.
    Pod(ChildRecord<PodView>),
    /// A Service, or another object beside pods.
    Child(ChildRecord<ChildView>),
    /// A batch Job.
    BatchJob(ChildRecord<BatchJobView>),
    /// A node.
    Node(NodeObject),
    /// A priority class.
    PriorityClass(PriorityClass),
}

impl Object {
    /// Its resourceVersion.
    pub(crate) fn rv(&self) -> u64 {
        match self {
            Self::Job(job) => job.rv,
            Self::Pod(pod) => pod.rv,
            Self::Child(child) => child.rv,
            Self::BatchJob(job) => job.rv,
            Self::Node(node) => node.rv,
            Self::PriorityClass(class) => class.rv,
        }
    }
}
