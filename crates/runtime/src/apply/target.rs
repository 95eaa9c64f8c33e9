//! The object that a write is about, and the refusal of a write.

use std::time::Duration;

use common::observe::{ObjectRef, Refusal, RefusalCause};
use common::{Attempt, KindInfo, RawJob, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::decode::{Identity, OwnerRef};
use crate::record::Pace;
use crate::resource::{ObjectName, Resource};
use crate::response::{RequestError, RetryClass};

/// Longest wait for a name that is about to become free. The removal of the object requeues the job anyway; this is for the
/// case that it is missed.
const PREDECESSOR: Duration = Duration::from_secs(5);

/// Pace of retries: that of the queue.
const PACE: Pace = Pace {
    first: Duration::from_millis(200),
    max: Duration::from_mins(1),
    not_before: Duration::ZERO,
};

/// A write that did not succeed.
#[derive(Debug)]
pub(super) struct FailedWrite {
    /// For the next decision.
    pub(super) refusal: Refusal,
    /// For the metrics.
    pub(super) class: RetryClass,
    /// For the next try.
    pub(super) pace: Pace,
    /// `true` if this process must not write any more.
    pub(super) not_leader: bool,
}

/// Difference between the object that has a name and the object that is to have it.
#[derive(Debug)]
pub(super) struct Mismatch {
    cause: RefusalCause,
    message: String,
}

/// The object that a write is about.
pub(super) struct Target<'a> {
    pub(super) resource: Resource,
    kind: &'static str,
    pub(super) name: ObjectName,
    /// Attempt that the object must have.
    attempt: Option<Attempt>,
    /// Value of the label by which the object is watched.
    operator: Option<&'a str>,
    pub(super) job: &'a RawJob,
    job_kind: &'static KindInfo,
}

impl<'a> Target<'a> {
    /// An object in the job's namespace.
    pub(super) fn new(
        job: &'a RawJob,
        job_kind: &'static KindInfo,
        resource: Resource,
        kind: &'static str,
        name: &str,
    ) -> Self {
        Self {
            resource,
            kind,
            name: ObjectName {
                namespace: job.key.namespace.clone(),
                name: name.into(),
            },
            attempt: None,
            operator: None,
            job,
            job_kind,
        }
    }

    /// An object to be created with this metadata: it must have the attempt, and the label by which it is watched.
    pub(super) fn created(
        job: &'a RawJob,
        job_kind: &'static KindInfo,
        resource: Resource,
        kind: &'static str,
        metadata: &'a ObjectMeta,
        attempt: Attempt,
    ) -> Self {
        let name = metadata.name.as_deref().unwrap_or_default();
        let labels = metadata.labels.as_ref();
        let operator = labels.and_then(|labels| labels.get(names::OPERATOR_NAME));
        Self {
            attempt: Some(attempt),
            operator: operator.map(String::as_str),
            ..Self::new(job, job_kind, resource, kind, name)
        }
    }

    /// Difference between the object that has the name and this one; `None` if it is this one.
    pub(super) fn mismatch(&self, found: &Identity) -> Option<Mismatch> {
        let ours = found
            .owner
            .as_ref()
            .is_some_and(|owner| owner.uid == self.job.uid);
        if ours && !found.deleting {
            // No watch will ever show the object, nor its deletion.
            if let Some(operator) = self.operator.filter(|own| found.operator.as_deref() != Some(own)) {
                let (label, kind) = (names::OPERATOR_NAME, self.kind);
                return Some(Mismatch {
                    cause: RefusalCause::Unlabelled,
                    message: format!(
                        "its label {label} is not {operator}; put that right, or delete the {kind}"
                    ),
                });
            }
            if self.attempt.is_none_or(|attempt| attempt == found.attempt) {
                return None;
            }
        }
        let predecessor = match (ours, self.is_of_namesake(found.owner.as_ref()), found.deleting) {
            (true, _, false) => Some("it is of an earlier attempt"),
            (false, true, _) => Some("it is of an earlier job of this name"),
            (.., deleting) => deleting.then_some("it is on its way out"),
        };
        if let Some(message) = predecessor {
            return Some(Mismatch {
                cause: RefusalCause::Predecessor,
                message: message.to_owned(),
            });
        }
        Some(Mismatch {
            cause: RefusalCause::Foreign,
            message: match &found.owner {
                Some(OwnerRef { kind, name, .. }) => format!("it belongs to {kind} {name}"),
                None => "it has no owner".to_owned(),
            },
        })
    }

    /// Returns `true` if the owner has the job's kind and name.
    fn is_of_namesake(&self, owner: Option<&OwnerRef>) -> bool {
        owner.is_some_and(|owner| owner.kind == self.job_kind.kind && *owner.name == *self.job.key.name)
    }

    /// Failure of a write by the response to it.
    pub(super) fn refused(&self, error: &RequestError) -> FailedWrite {
        let class = error.class();
        let cause = match class {
            RetryClass::Transient | RetryClass::Conflict => RefusalCause::Transient,
            RetryClass::Forbidden if error.is_quota() => RefusalCause::Quota,
            RetryClass::Forbidden => RefusalCause::Forbidden,
            RetryClass::Invalid => RefusalCause::Invalid,
        };
        let first = match class {
            _ if error.is_namespace_ending() || error.is_not_found() => PACE.max,
            RetryClass::Invalid => PACE.max,
            RetryClass::Forbidden => Duration::from_secs(1),
            RetryClass::Transient | RetryClass::Conflict => PACE.first,
        };
        let pace = Pace {
            first,
            not_before: error.retry_after().unwrap_or_default(),
            ..PACE
        };
        let message = if error.is_not_served() {
            format!("the cluster does not serve {}", self.resource.discovery())
        } else {
            error.to_string()
        };
        FailedWrite {
            not_leader: matches!(error, RequestError::NotLeader),
            ..self.failed(cause, message, class, pace)
        }
    }

    /// Failure of a delete by the response to it.
    pub(super) fn not_deleted(&self, error: &RequestError) -> FailedWrite {
        let mut failed = self.refused(error);
        failed.refusal.deletion = true;
        failed
    }

    /// Failure of a create because another object has the name.
    pub(super) fn taken(&self, Mismatch { cause, message }: Mismatch) -> FailedWrite {
        let max = if cause == RefusalCause::Predecessor {
            PREDECESSOR
        } else {
            PACE.max
        };
        self.failed(cause, message, RetryClass::Invalid, Pace { max, ..PACE })
    }

    /// Failure because of a pod of an earlier batch Job: two launchers must never run at the same time, even if
    /// another operator created the first.
    pub(super) fn left_behind(&self) -> FailedWrite {
        self.taken(Mismatch {
            cause: RefusalCause::Predecessor,
            message: "its batch Job is gone, or not labelled any more".to_owned(),
        })
    }

    /// Failure because the object that had the name was removed between two requests. The next try finds the name free.
    pub(super) fn just_gone(&self) -> FailedWrite {
        let message = "its name was taken until just now".to_owned();
        self.failed(RefusalCause::Transient, message, RetryClass::Transient, PACE)
    }

    fn failed(&self, cause: RefusalCause, message: String, class: RetryClass, pace: Pace) -> FailedWrite {
        let refusal = Refusal {
            object: ObjectRef::new(self.kind, &self.name.name),
            deletion: false,
            cause,
            message,
        };
        FailedWrite {
            refusal,
            class,
            pace,
            not_leader: false,
        }
    }
}
