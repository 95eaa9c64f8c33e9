//! Decoding of objects as the API server sends them, pruned to what decisions read.
//!
//! Own code rather than `k8s-openapi`'s types, for memory: texts are borrowed from the frame; `managedFields` and pod specs are
//! skipped, never stored. An object that cannot be read is skipped alone.

mod batch_job;
mod meta;
mod node;
mod pod;
mod pod_group;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::api::JobStatus;
use common::objects::ChildKind;
use common::observe::ChildView;
use common::{Attempt, JobKey, KindInfo, PodView, RawJob, Uid, names};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) use self::batch_job::batch_job;
pub use self::meta::DecodeError;
pub(crate) use self::meta::version;
pub(crate) use self::node::node;
pub(crate) use self::pod::pod;

use self::meta::{Meta, Text};
use crate::children::ChildRecord;

/// A job in the view. Spec and status are kept as text, which takes a tenth of the memory of a tree of values.
#[derive(Debug, Clone)]
pub(crate) struct JobObject {
    /// Kind, namespace, name.
    pub(crate) key: JobKey,
    /// UID.
    pub(crate) uid: Uid,
    /// Its resourceVersion.
    pub(crate) rv: u64,
    /// `true` if it is being deleted.
    pub(crate) deleting: bool,
    /// `true` if it has finished.
    pub(crate) finished: bool,
    resource_version: Box<str>,
    annotations: BTreeMap<String, String>,
    spec: Box<str>,
    status: Box<str>,
}

impl JobObject {
    /// The job in the form that decisions read.
    pub(crate) fn raw(&self) -> RawJob {
        // Both were valid JSON when the object was decoded.
        let value = |text: &str| serde_json::from_str(text).unwrap_or_default();
        RawJob {
            key: self.key.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.to_string(),
            deleting: self.deleting,
            annotations: self.annotations.clone(),
            spec: value(&self.spec),
            status: value(&self.status),
        }
    }

    /// Returns `true` if another version has the same content. The API server writes equal values as equal text.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            key,
            uid,
            rv: _,
            deleting,
            finished: _,
            resource_version: _,
            annotations,
            spec,
            status,
        } = self;
        *key == other.key
            && *uid == other.uid
            && *deleting == other.deleting
            && *annotations == other.annotations
            && *spec == other.spec
            && *status == other.status
    }
}

/// Metadata of an object in the response to a write or look-up.
#[derive(Debug)]
pub(crate) struct Identity {
    /// resourceVersion as a number.
    pub(crate) rv: u64,
    /// resourceVersion as text.
    pub(crate) resource_version: String,
    /// `true` if it is being deleted.
    pub(crate) deleting: bool,
    /// Attempt label.
    pub(crate) attempt: Attempt,
    /// Label by which watches find it.
    pub(crate) operator: Option<String>,
    /// Controller.
    pub(crate) owner: Option<OwnerRef>,
}

/// Controller of an object.
#[derive(Debug)]
pub(crate) struct OwnerRef {
    /// UID.
    pub(crate) uid: Uid,
    /// Kind.
    pub(crate) kind: String,
    /// Name.
    pub(crate) name: String,
}

/// Reads the metadata of an object in a response.
pub(crate) fn identity(json: &[u8]) -> Result<Identity, DecodeError> {
    let Envelope { metadata } = serde_json::from_slice(json)?;
    Ok(Identity {
        rv: metadata.version()?,
        resource_version: metadata.resource_version.0.to_string(),
        deleting: metadata.deletion_timestamp.is_some(),
        attempt: metadata.attempt(),
        operator: metadata.label(names::OPERATOR_NAME).map(ToString::to_string),
        owner: metadata.controller().map(|o| OwnerRef {
            uid: Uid::new(&o.uid.0),
            kind: o.kind.0.to_string(),
            name: o.name.0.to_string(),
        }),
    })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
}

/// Reads a Service or another object beside pods, or its metadata.
pub(crate) fn child(kind: ChildKind, json: &[u8]) -> Result<ChildRecord<ChildView>, DecodeError> {
    let Envelope { metadata } = serde_json::from_slice(json)?;
    let view = ChildView {
        kind,
        name: metadata.name.0.as_ref().into(),
        uid: Uid::new(&metadata.uid.0),
        deleting: metadata.deletion_timestamp.is_some(),
        digest: metadata.annotations.digest.clone(),
        pod_group: match kind {
            ChildKind::PodGroup(api) => Some(Box::new(pod_group::pod_group(api, json)?)),
            ChildKind::Service | ChildKind::Autoscaler => None,
        },
    };
    metadata.child(view)
}

/// Reads a priority class: its name, value and version.
pub(crate) fn priority_class(json: &[u8]) -> Result<PriorityClass, DecodeError> {
    #[derive(Deserialize)]
    struct ClassIn<'a> {
        #[serde(borrow)]
        metadata: ClassMeta<'a>,
        #[serde(default)]
        value: i32,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ClassMeta<'a> {
        #[serde(borrow)]
        name: Text<'a>,
        #[serde(borrow)]
        resource_version: Text<'a>,
    }
    let ClassIn { metadata, value } = serde_json::from_slice(json)?;
    Ok(PriorityClass {
        name: metadata.name.0.to_string(),
        rv: version(&metadata.resource_version.0)?,
        value,
    })
}

/// A priority class.
#[derive(Debug, Clone)]
pub(crate) struct PriorityClass {
    /// Name.
    pub(crate) name: String,
    /// resourceVersion.
    pub(crate) rv: u64,
    /// Priority; higher goes first.
    pub(crate) value: i32,
}

/// Reads a job of a kind.
pub(crate) fn job(kind: &'static KindInfo, json: &[u8]) -> Result<JobObject, DecodeError> {
    let JobIn {
        metadata,
        spec,
        status,
    } = serde_json::from_slice(json)?;
    let text = |raw: Option<&RawValue>| raw.map_or("null", RawValue::get).into();
    let stored = status.map(|raw| match serde_json::from_str::<JobStatus>(raw.get()) {
        Ok(whole) => whole,
        Err(_) => serde_json::from_str(raw.get())
            .map(|value| common::resolve::readable_status(&value))
            .unwrap_or_default(),
    });
    let stored = stored.unwrap_or_default();
    Ok(JobObject {
        key: JobKey {
            kind: kind.kind,
            namespace: metadata.namespace.into(),
            name: metadata.name.into(),
        },
        uid: Uid::new(&metadata.uid),
        rv: version(&metadata.resource_version)?,
        deleting: metadata.deletion_timestamp.is_some(),
        finished: common::conditions::is_finished(&stored),
        resource_version: metadata.resource_version.into(),
        annotations: metadata.annotations.unwrap_or_default(),
        spec: text(spec),
        status: text(status),
    })
}

#[derive(Deserialize)]
struct JobIn<'a> {
    metadata: JobMeta,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobMeta {
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads a job from a file, which has neither UID nor resourceVersion.
///
/// # Errors
/// If it does not have the shape of a job.
pub fn offline_job(kind: &'static KindInfo, value: &Value) -> Result<RawJob, DecodeError> {
    let mut value = value.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.entry("resourceVersion").or_insert_with(|| "0".into());
        metadata.entry("namespace").or_insert_with(|| "default".into());
    }
    Ok(job(kind, value.to_string().as_bytes())?.raw())
}

/// Reads a pod from a file.
///
/// # Errors
/// If it does not have the shape of a pod.
pub fn offline_pod(value: &Value) -> Result<Arc<PodView>, DecodeError> {
    Ok(pod(value.to_string().as_bytes())?.value)
}

#[cfg(test)]
mod tests;
