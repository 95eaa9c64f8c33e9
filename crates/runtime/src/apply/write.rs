//! Sending of one write.

use common::objects::{Child, ChildKind};
use common::{KindInfo, RawJob, Uid, Write};
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use crate::decode;
use crate::resource::{BATCH_JOBS, PODS, Resource};
use crate::response::{RequestError, RetryClass};

use super::context::ApplyContext;
use super::ensure;
use super::target::{FailedWrite, Target};

/// Sends one write for a job. `makes_pods` is `true` if the plan creates pods.
pub(super) async fn send(
    ctx: &ApplyContext,
    kind: &'static KindInfo,
    job: &RawJob,
    write: &Write,
    makes_pods: bool,
) -> Result<(), FailedWrite> {
    let target = |resource, of_kind, name: &str| Target::new(job, kind, resource, of_kind, name);
    let child = |of: ChildKind, name: &str| target(Resource::of_child(of), of.as_str(), name);
    match write {
        Write::Ensure(extra) => {
            let (resource, of_kind, name) = ensure::place(extra);
            ensure::send(&target(resource, of_kind, name), ctx, extra, makes_pods).await
        }
        Write::CreateBatchJob {
            job: batch_job,
            attempt,
            replica: _,
        } => {
            let target = Target::created(job, kind, BATCH_JOBS, "Job", &batch_job.metadata, *attempt);
            target.create_batch_job(ctx, kind, batch_job).await
        }
        Write::DeleteBatchJob { name, uid } => {
            target(BATCH_JOBS, "Job", name)
                .delete_owned(ctx, uid, "Foreground", None)
                .await
        }
        Write::CreateChild(object) => child(object.kind(), object.name()).create(ctx, object).await,
        Write::ChangeChild { to, uid } => child(to.kind(), to.name()).change(ctx, to, uid).await,
        Write::CreatePod {
            pod,
            attempt,
            replica: _,
        } => {
            let target = Target::created(job, kind, PODS, "Pod", &pod.metadata, *attempt);
            target.create(ctx, pod).await
        }
        Write::DeleteChild {
            kind: of_kind,
            name,
            uid,
        } => {
            let options = json!({"preconditions": {"uid": uid.as_str()}});
            child(*of_kind, name).delete(ctx, &options).await
        }
        Write::DeletePod { name, uid, force } => {
            let target = target(PODS, "Pod", name);
            target
                .delete_owned(ctx, uid, "Background", force.then_some(0))
                .await
        }
        Write::DeleteJob {
            uid,
            resource_version,
        } => {
            let target = target(Resource::jobs(kind), kind.kind, &job.key.name);
            target.delete_job(ctx, uid, resource_version).await
        }
    }
}

impl Target<'_> {
    async fn create(
        &self,
        ctx: &ApplyContext,
        object: &(impl serde::Serialize + Sync),
    ) -> Result<(), FailedWrite> {
        let namespace = &self.name.namespace;
        match ctx.api.create(self.resource, namespace, object).await {
            Ok(response) => {
                self.acknowledged(ctx, &response);
                Ok(())
            }
            Err(error) if error.is_already_exists() => self.exists(ctx).await,
            Err(error) => Err(self.refused(&error)),
        }
    }

    async fn create_batch_job(
        &self,
        ctx: &ApplyContext,
        job_kind: &'static KindInfo,
        batch_job: &Job,
    ) -> Result<(), FailedWrite> {
        if let Some(pod) = ctx.state.orphaned_pod(&self.name) {
            ctx.state.block(self.job, PODS, pod.clone());
            return Err(Target::new(self.job, job_kind, PODS, "Pod", &pod.name).left_behind());
        }
        self.create(ctx, batch_job).await
    }

    /// The name is taken: by this very object, if the response to its creation was lost; or by another one.
    async fn exists(&self, ctx: &ApplyContext) -> Result<(), FailedWrite> {
        let response = match ctx.api.get_metadata(self.resource, &self.name).await {
            Ok(response) => response,
            Err(error) if error.is_not_found() => return Err(self.just_gone()),
            Err(error) => return Err(self.refused(&error)),
        };
        let found = decode::identity(&response).map_err(|e| self.refused(&RequestError::unreadable(&e)))?;
        let Some(mismatch) = self.mismatch(&found) else {
            ctx.state
                .wrote(self.job, self.resource, self.name.clone(), found.rv);
            return Ok(());
        };
        ctx.state.block(self.job, self.resource, self.name.clone());
        Err(self.taken(mismatch))
    }

    async fn change(&self, ctx: &ApplyContext, to: &Child, uid: &Uid) -> Result<(), FailedWrite> {
        let patch = change(to, uid).map_err(|error| self.refused(&error.into()))?;
        match ctx.api.patch(self.resource, &self.name, &patch).await {
            Ok(response) => {
                self.acknowledged(ctx, &response);
                Ok(())
            }
            // The object is gone, or another one has its name by now.
            Err(error) if error.is_not_found() || error.is_conflict() || error.is_of_other_uid() => {
                Err(self.just_gone())
            }
            Err(error) => Err(self.refused(&error)),
        }
    }

    async fn delete(&self, ctx: &ApplyContext, options: &Value) -> Result<(), FailedWrite> {
        match ctx.api.delete(self.resource, &self.name, options).await {
            Ok(response) => {
                self.acknowledged(ctx, &response);
                Ok(())
            }
            // The object is gone, or another one has its name by now.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(self.not_deleted(&error)),
        }
    }

    /// Deletes a pod or a batch Job. The record events it first: the end of an object that we delete is no vanishing. A batch Job
    /// stays until its pods are gone, since the propagation policy is Foreground. Without a grace period not even the kubelet
    /// is waited for.
    async fn delete_owned(
        &self,
        ctx: &ApplyContext,
        uid: &Uid,
        propagation: &str,
        grace: Option<u32>,
    ) -> Result<(), FailedWrite> {
        ctx.state.remember(self.job, |record| record.deleting(uid));
        let mut options = json!({"preconditions": {"uid": uid.as_str()}, "propagationPolicy": propagation});
        if let (Some(seconds), Some(options)) = (grace, options.as_object_mut()) {
            options.insert("gracePeriodSeconds".to_owned(), seconds.into());
        }
        let deleted = self.delete(ctx, &options).await;
        if grace.is_some() && deleted.is_ok() {
            tracing::warn!(pod = %self.name.name, %uid, "given up with its node: deleted by force");
        }
        // Without a response the delete may have taken effect.
        if deleted
            .as_ref()
            .is_err_and(|failed| failed.class != RetryClass::Transient)
        {
            ctx.state.remember(self.job, |record| record.not_deleted(uid));
        }
        deleted
    }

    async fn delete_job(&self, ctx: &ApplyContext, uid: &Uid, version: &str) -> Result<(), FailedWrite> {
        let of_version = json!({"uid": uid.as_str(), "resourceVersion": version});
        let options = json!({"preconditions": of_version, "propagationPolicy": "Background"});
        match ctx.api.delete(self.resource, &self.name, &options).await {
            Ok(_) => {
                tracing::info!(%uid, "job deleted");
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(self.not_deleted(&error)),
        }
    }

    /// Notes an acknowledged write. A response without metadata (a Status) says nothing that a watch would not.
    fn acknowledged(&self, ctx: &ApplyContext, response: &[u8]) {
        if let Ok(identity) = decode::identity(response) {
            ctx.state
                .wrote(self.job, self.resource, self.name.clone(), identity.rv);
        }
        tracing::debug!(resource = self.resource.plural, object = %self.name.name, "written");
    }
}

/// The merge patch that gives the object with this UID the content of `to`. Its owner does not change.
fn change(to: &Child, uid: &Uid) -> Result<Value, serde_json::Error> {
    let mut patch = serde_json::to_value(to)?;
    if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("ownerReferences");
        metadata.insert("uid".to_owned(), uid.as_str().into());
    }
    Ok(patch)
}

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
