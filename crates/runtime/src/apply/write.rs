//! One write, and what its refusal means.

use std::time::Duration;

use common::observe::{Refusal, RefusalCause};
use common::plan::{Child, ChildKind};
use common::{Attempt, KindInfo, RawJob, Uid, Write, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::response::{RequestError, RetryClass};
use crate::decode::{self, Identity};
use crate::record::Pace;
use crate::resource::{BATCH_JOBS, ObjectName, PODS, Resource};
use crate::state::Reconcile;

use super::{ApplyContext, ensure};

/// A write that did not go through.
#[derive(Debug)]
pub(super) struct Refused {
    /// For the next decision.
    pub(super) refusal: Refusal,
    /// For the metrics.
    pub(super) class: RetryClass,
    /// For the next try.
    pub(super) pace: Pace,
    /// This process must not write any more.
    pub(super) not_leader: bool,
}

/// What the object is to be.
pub(super) struct Wanted<'a> {
    pub(super) resource: Resource,
    kind: &'static str,
    pub(super) name: ObjectName,
    attempt: Option<Attempt>,
    /// Label by which it is watched.
    operator: Option<&'a str>,
    pub(super) job: &'a RawJob,
    job_kind: &'static KindInfo,
}

/// Sends one write.
pub(super) async fn send<'a>(
    ctx: &ApplyContext,
    kind: &'static KindInfo,
    reconcile: &'a Reconcile,
    write: &'a Write,
    makes_pods: bool,
) -> Result<(), Refused> {
    let job = &**reconcile.job();
    let wanted = |resource: Resource, kind_of, name: Option<&str>| Wanted {
        resource,
        kind: kind_of,
        name: ObjectName {
            namespace: job.key.namespace.clone(),
            name: name.unwrap_or_default().into(),
        },
        attempt: None,
        operator: None,
        job,
        job_kind: kind,
    };
    let made = |resource, kind_of, metadata: &'a ObjectMeta, attempt| Wanted {
        attempt: Some(attempt),
        operator: operator(metadata),
        ..wanted(resource, kind_of, metadata.name.as_deref())
    };
    let child_of = |kind: ChildKind, name| wanted(Resource::of_child(kind), kind.as_str(), Some(name));
    match write {
        Write::Ensure(extra) => {
            let (resource, kind_of, name) = ensure::place(extra);
            ensure::send(&wanted(resource, kind_of, Some(name)), ctx, extra, makes_pods).await
        }
        Write::CreateBatchJob {
            job,
            attempt,
            slot: _,
        } => {
            let carrier = made(BATCH_JOBS, "Job", &job.metadata, *attempt);
            if let Some(pod) = ctx.state.stranded(&carrier.name) {
                ctx.state.block(carrier.job, PODS, pod.clone());
                return Err(wanted(PODS, "Pod", Some(&pod.name)).stays_behind());
            }
            carrier.create(ctx, job).await
        }
        Write::DeleteBatchJob { name, uid } => {
            wanted(BATCH_JOBS, "Job", Some(name))
                .delete_owned(ctx, uid, "Foreground", None)
                .await
        }
        Write::CreateChild(child) => child_of(child.kind(), child.name()).create(ctx, child).await,
        Write::ChangeChild { to, uid } => child_of(to.kind(), to.name()).change(ctx, to, uid).await,
        Write::CreatePod {
            pod,
            attempt,
            slot: _,
        } => {
            made(PODS, "Pod", &pod.metadata, *attempt)
                .create(ctx, pod)
                .await
        }
        Write::DeleteChild { kind, name, uid } => {
            let options = json!({"preconditions": {"uid": uid.as_str()}});
            child_of(*kind, name).delete(ctx, &options).await
        }
        Write::DeletePod { name, uid, force } => {
            let grace = force.then_some(0);
            wanted(PODS, "Pod", Some(name))
                .delete_owned(ctx, uid, "Background", grace)
                .await
        }
        Write::DeleteJob {
            uid,
            resource_version,
        } => {
            let of_version = json!({"uid": uid.as_str(), "resourceVersion": resource_version});
            let options = json!({"preconditions": of_version, "propagationPolicy": "Background"});
            let name = Some(&*job.key.name);
            wanted(Resource::jobs(kind), kind.kind, name)
                .delete_job(ctx, uid, &options)
                .await
        }
    }
}

fn operator(metadata: &ObjectMeta) -> Option<&str> {
    metadata
        .labels
        .as_ref()?
        .get(names::OPERATOR_NAME)
        .map(String::as_str)
}

impl Wanted<'_> {
    async fn create(&self, ctx: &ApplyContext, object: &(impl serde::Serialize + Sync)) -> Result<(), Refused> {
        match ctx
            .api
            .create(self.resource, &self.name.namespace, object)
            .await
        {
            Ok(response) => {
                self.acknowledged(ctx, &response);
                Ok(())
            }
            Err(error) if error.is_already_exists() => self.exists(ctx).await,
            Err(error) => Err(self.refused(&error)),
        }
    }

    /// The name is taken: by this very object, whose answer was lost; by one that goes; or by somebody else's.
    async fn exists(&self, ctx: &ApplyContext) -> Result<(), Refused> {
        let response = match ctx.api.get_metadata(self.resource, &self.name).await {
            Ok(response) => response,
            Err(error) if error.is_not_found() => return Err(self.just_gone()),
            Err(error) => return Err(self.refused(&error)),
        };
        let found =
            decode::identity(&response).map_err(|e| self.refused(&RequestError::NoResponse(e.to_string())))?;
        let Some((cause, message)) = self.judge(&found) else {
            ctx
                .state
                .wrote(self.job, self.resource, self.name.clone(), found.rv);
            return Ok(());
        };
        ctx.state.block(self.job, self.resource, self.name.clone());
        Err(self.taken(cause, message))
    }

    /// Who had the name has gone between two requests: the next try is for a free name.
    pub(super) fn just_gone(&self) -> Refused {
        let message = "its name was taken until just now".to_owned();
        self.refusal(RefusalCause::Transient, message, RetryClass::Transient, PACE)
    }

    /// Two launchers must never run at a time, whoever made the first.
    fn stays_behind(&self) -> Refused {
        self.taken(
            RefusalCause::Predecessor,
            "its batch Job is gone, or not labelled any more".to_owned(),
        )
    }

    /// The name is taken, and not by the object that is wanted.
    pub(super) fn taken(&self, cause: RefusalCause, message: String) -> Refused {
        let max = if cause == RefusalCause::Predecessor {
            PREDECESSOR
        } else {
            PACE.max
        };
        self.refusal(cause, message, RetryClass::Invalid, Pace { max, ..PACE })
    }

    /// Why the object that has the name is not the one that is wanted; `None` if it is.
    pub(super) fn judge(&self, found: &Identity) -> Option<(RefusalCause, String)> {
        let ours = found.owner.as_ref().is_some_and(|(uid, ..)| *uid == self.job.uid);
        if ours && !found.deleting {
            // No watch will ever show it, nor tell when it is gone.
            if let Some(operator) = self.operator.filter(|own| found.operator.as_deref() != Some(own)) {
                let (label, kind) = (names::OPERATOR_NAME, self.kind);
                let lost =
                    format!("its label {label} is not {operator}; put that right, or delete the {kind}");
                return Some((RefusalCause::Unlabelled, lost));
            }
            if self.attempt.is_none_or(|attempt| attempt == found.attempt) {
                return None;
            }
        }
        let namesake = found
            .owner
            .as_ref()
            .is_some_and(|(_, kind, name)| kind == self.job_kind.kind && **name == *self.job.key.name);
        let predecessor = match (ours, namesake, found.deleting) {
            (true, _, false) => Some("it is of an earlier attempt"),
            (false, true, _) => Some("it is of an earlier job of this name"),
            (.., going) => going.then_some("it is on its way out"),
        };
        if let Some(why) = predecessor {
            return Some((RefusalCause::Predecessor, why.to_owned()));
        }
        let whose = match &found.owner {
            Some((_, kind, name)) => format!("it belongs to {kind} {name}"),
            None => "it has no owner".to_owned(),
        };
        Some((RefusalCause::Foreign, whose))
    }

    async fn change(&self, ctx: &ApplyContext, to: &Child, uid: &Uid) -> Result<(), Refused> {
        let patch = change(to, uid).map_err(|error| self.refused(&error.into()))?;
        match ctx.api.patch(self.resource, &self.name, &patch).await {
            Ok(response) => {
                self.acknowledged(ctx, &response);
                Ok(())
            }
            // It is gone, or another one has its name by now.
            Err(error) if error.is_not_found() || error.is_conflict() || error.is_of_other_uid() => {
                Err(self.just_gone())
            }
            Err(error) => Err(self.refused(&error)),
        }
    }

    async fn delete(&self, ctx: &ApplyContext, options: &Value) -> Result<(), Refused> {
        match ctx.api.delete(self.resource, &self.name, options).await {
            Ok(response) => {
                self.acknowledged(ctx, &response);
                Ok(())
            }
            // It is gone, or another one has its name by now.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(self.stays(&error)),
        }
    }

    /// The end of a pod or a batch Job that we delete is no news to its job. A batch Job stays until its pods are gone:
    /// the propagation policy is Foreground. Without a grace period, not even the node is waited for.
    async fn delete_owned(
        &self,
        ctx: &ApplyContext,
        uid: &Uid,
        propagation: &str,
        grace: Option<u32>,
    ) -> Result<(), Refused> {
        ctx.state.remember(self.job, |record| record.deleting(uid));
        let mut options = json!({"preconditions": {"uid": uid.as_str()}, "propagationPolicy": propagation});
        if let (Some(seconds), Some(options)) = (grace, options.as_object_mut()) {
            options.insert("gracePeriodSeconds".to_owned(), seconds.into());
        }
        let deleted = self.delete(ctx, &options).await;
        if grace.is_some() && deleted.is_ok() {
            tracing::warn!(pod = %self.name.name, %uid, "given up with its node: deleted by force");
        }
        // Without an answer it may have taken effect.
        if deleted
            .as_ref()
            .is_err_and(|refused| refused.class != RetryClass::Transient)
        {
            ctx.state.remember(self.job, |record| record.not_deleted(uid));
        }
        deleted
    }

    async fn delete_job(&self, ctx: &ApplyContext, uid: &Uid, options: &Value) -> Result<(), Refused> {
        match ctx.api.delete(self.resource, &self.name, options).await {
            Ok(_) => {
                tracing::info!(%uid, "job deleted");
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(self.stays(&error)),
        }
    }

    /// An answer without metadata (a Status) says nothing that a watch would not.
    fn acknowledged(&self, ctx: &ApplyContext, response: &[u8]) {
        if let Ok(identity) = decode::identity(response) {
            ctx
                .state
                .wrote(self.job, self.resource, self.name.clone(), identity.rv);
        }
        tracing::debug!(resource = self.resource.plural, object = %self.name.name, "written");
    }

    /// It was to be deleted, and is not.
    fn stays(&self, error: &RequestError) -> Refused {
        let mut refused = self.refused(error);
        refused.refusal.deletion = true;
        refused
    }

    pub(super) fn refused(&self, error: &RequestError) -> Refused {
        let class = error.class();
        let ending = error.is_namespace_ending() || error.is_not_found();
        let cause = match class {
            RetryClass::Transient | RetryClass::Conflict => RefusalCause::Transient,
            RetryClass::Forbidden => RefusalCause::Forbidden,
            RetryClass::Invalid => RefusalCause::Invalid,
        };
        let first = match class {
            _ if ending => PACE.max,
            RetryClass::Invalid => PACE.max,
            RetryClass::Forbidden => Duration::from_secs(1),
            RetryClass::Transient | RetryClass::Conflict => PACE.first,
        };
        let pace = Pace {
            first,
            not_before: error.retry_after().unwrap_or_default(),
            ..PACE
        };
        let not_leader = matches!(error, RequestError::NotLeader);
        let message = if error.is_not_served() {
            format!("the cluster does not serve {}", self.resource.discovery())
        } else {
            error.to_string()
        };
        Refused {
            not_leader,
            ..self.refusal(cause, message, class, pace)
        }
    }

    fn refusal(&self, cause: RefusalCause, message: String, class: RetryClass, pace: Pace) -> Refused {
        let refusal = Refusal {
            object: format!("{} {}", self.kind, self.name.name),
            deletion: false,
            cause,
            message,
        };
        Refused {
            refusal,
            class,
            pace,
            not_leader: false,
        }
    }
}

/// The merge patch that makes the object of this UID say what `to` says. Whose it is does not change.
fn change(to: &Child, uid: &Uid) -> Result<Value, serde_json::Error> {
    let mut patch = serde_json::to_value(to)?;
    if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("ownerReferences");
        metadata.insert("uid".to_owned(), uid.as_str().into());
    }
    Ok(patch)
}

/// A name that is about to become free wakes the job by itself; should that be missed, this is the longest wait.
const PREDECESSOR: Duration = Duration::from_secs(5);

/// As the queue's own back-off.
const PACE: Pace = Pace {
    first: Duration::from_millis(200),
    max: Duration::from_mins(1),
    not_before: Duration::ZERO,
};

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    #[test]
    fn a_change_names_the_uid_and_leaves_the_owners_alone() {
        let mut service = Service::default();
        service.metadata.name = Some("s".to_owned());
        service.metadata.owner_references = Some(Vec::new());
        let patch = change(&Child::Service(Box::new(service)), &Uid::new("u")).unwrap();
        assert_eq!(patch["metadata"], json!({"name": "s", "uid": "u"}));
    }
}
