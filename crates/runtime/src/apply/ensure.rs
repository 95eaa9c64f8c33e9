//! Objects beside pods and Services, which no watch shows: made if they are missing, set right if they say something
//! else, and then taken for right until the plan wants something else, pods are made, or some time has passed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use common::plan::Extra;
use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;
use serde_json::Value;

use crate::response::RequestError;
use crate::decode;
use crate::resource::{CONFIG_MAPS, ROLE_BINDINGS, ROLES, Resource, SECRETS, SERVICE_ACCOUNTS};
use crate::secrets;

use super::ApplyContext;
use super::write::{Refused, Wanted};

/// For so long an object is taken for what it was; whoever changes it by hand sees it set right after that.
const TRUSTED: Duration = Duration::from_mins(10);
/// The same when pods are about to be made, which would wait for ever for an object that somebody has deleted.
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

/// Sees to it that the object is there and says what it should.
pub(super) async fn send(
    wanted: &Wanted<'_>,
    ctx: &ApplyContext,
    extra: &Extra,
    makes_pods: bool,
) -> Result<(), Refused> {
    let failed = |error: RequestError| wanted.refused(&error);
    let content = serde_json::to_value(extra).map_err(|e| failed(e.into()))?;
    let mut hasher = DefaultHasher::new();
    content.to_string().hash(&mut hasher);
    let digest = hasher.finish();
    let age = if makes_pods { TRUSTED_FOR_PODS } else { TRUSTED };
    if ctx
        .state
        .remember(wanted.job, |record| record.is_ensured(extra.id(), digest, age))
    {
        return Ok(());
    }
    let created = match extra {
        Extra::KeyPair(secret) => create(wanted, ctx, &with_keys(secret).map_err(failed)?).await,
        Extra::ConfigMap(_) | Extra::ServiceAccount(_) | Extra::Role(_) | Extra::RoleBinding(_) => {
            create(wanted, ctx, &content).await
        }
    };
    match created {
        Ok(()) => {}
        Err(error) if error.is_already_exists() => set_right(wanted, ctx, extra, content).await?,
        Err(error) => return Err(failed(error)),
    }
    ctx
        .state
        .remember(wanted.job, |record| record.ensured(extra.id(), digest));
    Ok(())
}

async fn create(
    wanted: &Wanted<'_>,
    ctx: &ApplyContext,
    object: &(impl Serialize + Sync),
) -> Result<(), RequestError> {
    let namespace = &wanted.name.namespace;
    ctx
        .api
        .create(wanted.resource, namespace, object)
        .await
        .map(drop)
}

/// The Secret with new keys. They go nowhere else.
fn with_keys(secret: &Secret) -> Result<Secret, RequestError> {
    let pair =
        secrets::key_pair().map_err(|error| RequestError::NoResponse(format!("no key pair: {error}")))?;
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

/// The name is taken: an object of ours is made to say what it should, any other is left alone. Of a Secret no more is
/// asked for than its metadata: its keys are in use.
async fn set_right(
    wanted: &Wanted<'_>,
    ctx: &ApplyContext,
    extra: &Extra,
    mut content: Value,
) -> Result<(), Refused> {
    let (api, resource, name) = (&ctx.api, wanted.resource, &wanted.name);
    let compared: &[&str] = match extra {
        Extra::ConfigMap(_) => &["data"],
        Extra::Role(_) => &["rules"],
        // The role that it refers to cannot be changed, and is told by its name.
        Extra::RoleBinding(_) => &["subjects"],
        Extra::KeyPair(_) | Extra::ServiceAccount(_) => &[],
    };
    let response = if compared.is_empty() {
        api.get_metadata(resource, name).await
    } else {
        api.get(resource, name).await
    };
    let response = match response {
        Err(error) if error.is_not_found() => return Err(wanted.just_gone()),
        response => response.map_err(|error| wanted.refused(&error))?,
    };
    let unreadable = |error: String| wanted.refused(&RequestError::NoResponse(error));
    let identity = decode::identity(&response).map_err(|e| unreadable(e.to_string()))?;
    if let Some((cause, message)) = wanted.judge(&identity) {
        return Err(wanted.taken(cause, message));
    }
    if compared.is_empty() {
        return Ok(());
    }
    let found: Value = serde_json::from_slice(&response).map_err(|e| unreadable(e.to_string()))?;
    // The API server may write null for a list that is absent.
    let of = |object: &Value, field: &str| object.get(field).filter(|value| !value.is_null()).cloned();
    if compared
        .iter()
        .all(|field| of(&found, field) == of(&content, field))
    {
        return Ok(());
    }
    if let Some(metadata) = content.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), identity.resource_version.into());
    }
    match api.replace(resource, name, &content).await {
        Err(error) if error.is_not_found() => return Err(wanted.just_gone()),
        replaced => replaced.map_err(|error| wanted.refused(&error))?,
    };
    tracing::debug!(resource = resource.plural, object = %name.name, "set right");
    Ok(())
}
