//! Supporting objects, which no watch shows: created if they are missing, corrected if they differ, and then trusted until
//! the plan changes, pods are created, or some time has passed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use common::objects::Extra;
use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;
use serde_json::Value;

use crate::decode;
use crate::resource::{CONFIG_MAPS, ROLE_BINDINGS, ROLES, Resource, SECRETS, SERVICE_ACCOUNTS};
use crate::response::RequestError;
use crate::secrets;

use super::context::ApplyContext;
use super::target::{FailedWrite, Target};

/// Time for which an object is trusted to be unchanged. A change by hand is corrected after that.
const TRUSTED: Duration = Duration::from_mins(10);
/// The same when pods are about to be created: they would wait forever for an object that was deleted.
const TRUSTED_FOR_PODS: Duration = Duration::from_secs(10);

/// Resource, kind and name of an object.
pub(super) fn place(extra: &Extra) -> (Resource, &'static str, &str) {
    let resource = match extra {
        Extra::ConfigMap(_) => CONFIG_MAPS,
        Extra::KeyPair(_) => SECRETS,
        Extra::ServiceAccount(_) => SERVICE_ACCOUNTS,
        Extra::Role(_) => ROLES,
        Extra::RoleBinding(_) => ROLE_BINDINGS,
    };
    let (kind, name) = extra.id();
    (resource, kind, name)
}

/// Creates the object, or corrects it.
pub(super) async fn send(
    target: &Target<'_>,
    ctx: &ApplyContext,
    extra: &Extra,
    makes_pods: bool,
) -> Result<(), FailedWrite> {
    let refused = |error: RequestError| target.refused(&error);
    let content = serde_json::to_value(extra).map_err(|e| refused(e.into()))?;
    let mut hasher = DefaultHasher::new();
    content.to_string().hash(&mut hasher);
    let digest = hasher.finish();
    let age = if makes_pods { TRUSTED_FOR_PODS } else { TRUSTED };
    if ctx
        .state
        .remember(target.job, |record| record.is_ensured(extra.id(), digest, age))
    {
        return Ok(());
    }
    let created = match extra {
        Extra::KeyPair(secret) => create(target, ctx, &with_keys(secret).map_err(refused)?).await,
        Extra::ConfigMap(_) | Extra::ServiceAccount(_) | Extra::Role(_) | Extra::RoleBinding(_) => {
            create(target, ctx, &content).await
        }
    };
    match created {
        Ok(()) => {}
        Err(error) if error.is_already_exists() => correct(target, ctx, extra, content).await?,
        Err(error) => return Err(refused(error)),
    }
    ctx.state
        .remember(target.job, |record| record.ensured(extra.id(), digest));
    Ok(())
}

async fn create(
    target: &Target<'_>,
    ctx: &ApplyContext,
    object: &(impl Serialize + Sync),
) -> Result<(), RequestError> {
    let namespace = &target.name.namespace;
    ctx.api.create(target.resource, namespace, object).await.map(drop)
}

/// The Secret with new keys, which are kept nowhere else.
fn with_keys(secret: &Secret) -> Result<Secret, RequestError> {
    let pair = secrets::key_pair().map_err(|error| RequestError::KeyPair(error.to_string()))?;
    let mut secret = secret.clone();
    secret.string_data = Some(
        [
            ("ssh-privatekey".to_owned(), pair.private().to_owned()),
            ("ssh-publickey".to_owned(), pair.public().to_owned()),
        ]
        .into(),
    );
    Ok(secret)
}

/// The name is taken: an object of the job is corrected, any other is left alone. Of a Secret only the metadata is read: its
/// keys are in use.
async fn correct(
    target: &Target<'_>,
    ctx: &ApplyContext,
    extra: &Extra,
    mut content: Value,
) -> Result<(), FailedWrite> {
    let (api, resource, name) = (&ctx.api, target.resource, &target.name);
    let compared: &[&str] = match extra {
        Extra::ConfigMap(_) => &["data"],
        Extra::Role(_) => &["rules"],
        // The role that it refers to cannot be changed, and has the name of the binding.
        Extra::RoleBinding(_) => &["subjects"],
        Extra::KeyPair(_) | Extra::ServiceAccount(_) => &[],
    };
    let response = if compared.is_empty() {
        api.get_metadata(resource, name).await
    } else {
        api.get(resource, name).await
    };
    let response = match response {
        Err(error) if error.is_not_found() => return Err(target.just_gone()),
        response => response.map_err(|error| target.refused(&error))?,
    };
    let identity = decode::identity(&response).map_err(|e| target.refused(&RequestError::unreadable(&e)))?;
    if let Some(mismatch) = target.mismatch(&identity) {
        return Err(target.taken(mismatch));
    }
    if compared.is_empty() {
        return Ok(());
    }
    let found: Value =
        serde_json::from_slice(&response).map_err(|e| target.refused(&RequestError::unreadable(&e)))?;
    if compared.iter().all(|field| is_equal(&found, &content, field)) {
        return Ok(());
    }
    if let Some(metadata) = content.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), identity.resource_version.into());
    }
    match api.replace(resource, name, &content).await {
        Err(error) if error.is_not_found() => return Err(target.just_gone()),
        replaced => replaced.map_err(|error| target.refused(&error))?,
    };
    tracing::debug!(resource = resource.plural, object = %name.name, "set right");
    Ok(())
}

/// Returns `true` if the field has the same value in both. The API server may write null for a list that is absent.
fn is_equal(found: &Value, wanted: &Value, field: &str) -> bool {
    let present = |value: &&Value| !value.is_null();
    found.get(field).filter(present) == wanted.get(field).filter(present)
}
