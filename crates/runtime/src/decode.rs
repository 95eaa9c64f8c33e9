//! Objects as the API server sends them, read only as far as decisions need.
//!
//! Texts are borrowed from the frame, `managedFields` and pod specs are skipped over, never stored. An object that
//! cannot be read costs itself only.

mod batch_job;
mod node;
mod pod;
mod pod_group;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use common::api::JobStatus;
use common::observe::ChildView;
use common::plan::ChildKind;
use common::{Attempt, JobKey, KindInfo, PodView, RawJob, Uid, names};
use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) use self::batch_job::batch_job;
pub(crate) use self::node::node;
pub(crate) use self::pod::pod;

use crate::children::ChildRecord;
use crate::resource::ObjectName;

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON of the expected shape.
    #[error("not of the expected shape: {0}")]
    Shape(#[from] serde_json::Error),
    /// resourceVersions are ordered integers; this one is not.
    #[error("resourceVersion {0:?} is not a number")]
    Version(String),
}

/// A job as the view keeps it: spec and status as text, a tenth of what they take as trees of values.
#[derive(Debug, Clone)]
pub(crate) struct JobObject {
    /// Kind, namespace, name.
    pub(crate) key: JobKey,
    /// UID.
    pub(crate) uid: Uid,
    /// Its resourceVersion.
    pub(crate) rv: u64,
    /// Whether it is on its way out.
    pub(crate) deleting: bool,
    /// Whether it has ended.
    pub(crate) finished: bool,
    resource_version: Box<str>,
    created: Option<Timestamp>,
    annotations: BTreeMap<String, String>,
    spec: Box<str>,
    status: Box<str>,
}

impl JobObject {
    /// The job as decisions read it.
    pub(crate) fn raw(&self) -> RawJob {
        // Both were read when the object came in.
        let value = |text: &str| serde_json::from_str(text).unwrap_or_default();
        RawJob {
            key: self.key.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.to_string(),
            created: self.created,
            deleting: self.deleting,
            annotations: self.annotations.clone(),
            spec: value(&self.spec),
            status: value(&self.status),
        }
    }

    /// Whether another version says the same. The API server writes equal values as equal text.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            key,
            uid,
            rv: _,
            deleting,
            finished: _,
            resource_version: _,
            created: _,
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

/// Text borrowed from the frame wherever it has no escapes.
#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    fn boxed(&self) -> Option<Box<str>> {
        (!self.0.is_empty()).then(|| self.0.as_ref().into())
    }
}

/// Metadata, as much of it as anybody here needs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    uid: Text<'a>,
    #[serde(borrow)]
    resource_version: Text<'a>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    deletion_grace_period_seconds: Option<i64>,
    #[serde(borrow, default)]
    labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
    #[serde(default)]
    annotations: Annotations,
    #[serde(borrow, default)]
    owner_references: Option<Vec<Owner<'a>>>,
}

/// What of the annotations counts; they are read through, never stored.
#[derive(Debug, Default)]
struct Annotations {
    /// Whether Volcano is told a gang.
    of_volcano: bool,
    /// Digest of what was asked for.
    digest: Option<Box<str>>,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Annotations;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("annotations")
            }
            fn visit_unit<E>(self) -> Result<Annotations, E> {
                Ok(Annotations::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut found = Annotations::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    found.of_volcano |= key.0 == names::VOLCANO_GROUP;
                    if key.0 == names::SPEC_DIGEST {
                        found.digest = map.next_value::<Text<'de>>()?.boxed();
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_any(Keys)
    }
}

/// An owner reference.
#[derive(Debug, Deserialize)]
struct Owner<'a> {
    #[serde(borrow)]
    uid: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(default)]
    controller: Option<bool>,
}

impl Meta<'_> {
    fn object_name(&self) -> ObjectName {
        ObjectName::new(self.namespace.as_ref().map_or("", |n| &n.0), &self.name.0)
    }

    fn controller(&self) -> Option<&Owner<'_>> {
        self.owner_references
            .as_ref()?
            .iter()
            .find(|o| o.controller == Some(true))
    }

    fn label(&self, key: &'static str) -> Option<&str> {
        self.labels
            .as_ref()?
            .get(&Text(Cow::Borrowed(key)))
            .map(|value| value.0.as_ref())
    }

    fn version(&self) -> Result<u64, DecodeError> {
        version(&self.resource_version.0)
    }

    fn child<T>(&self, value: T) -> Result<ChildRecord<T>, DecodeError> {
        Ok(ChildRecord {
            name: self.object_name(),
            uid: Uid::new(&self.uid.0),
            owner: self.controller().map(|o| Uid::new(&o.uid.0)),
            rv: self.version()?,
            value: Arc::new(value),
        })
    }

    fn attempt(&self) -> Attempt {
        Attempt(
            self.label(names::ATTEMPT)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        )
    }
}

/// A resourceVersion as a number. Only compared within one resource.
pub(crate) fn version(text: &str) -> Result<u64, DecodeError> {
    text.parse().map_err(|_| DecodeError::Version(text.to_owned()))
}

/// What the answer to a write, or a look-up, says about an object.
#[derive(Debug)]
pub(crate) struct Identity {
    /// resourceVersion as a number.
    pub(crate) rv: u64,
    /// resourceVersion as text.
    pub(crate) resource_version: String,
    /// Whether it is going away.
    pub(crate) deleting: bool,
    /// Attempt label.
    pub(crate) attempt: Attempt,
    /// Label by which watches find it.
    pub(crate) operator: Option<String>,
    /// Controller: UID, kind, name.
    pub(crate) owner: Option<(Uid, String, String)>,
}

/// Reads only the metadata of an object; for services, answers to writes and look-ups.
pub(crate) fn identity(json: &[u8]) -> Result<Identity, DecodeError> {
    let Envelope { metadata } = serde_json::from_slice(json)?;
    Ok(Identity {
        rv: metadata.version()?,
        resource_version: metadata.resource_version.0.to_string(),
        deleting: metadata.deletion_timestamp.is_some(),
        attempt: metadata.attempt(),
        operator: metadata.label(names::OPERATOR_NAME).map(ToString::to_string),
        owner: metadata
            .controller()
            .map(|o| (Uid::new(&o.uid.0), o.kind.0.to_string(), o.name.0.to_string())),
    })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
}

/// Reads a child of a kind, or the metadata of one.
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
    /// The higher, the sooner.
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
        finished: common::status::is_finished(&stored),
        resource_version: metadata.resource_version.into(),
        created: metadata.creation_timestamp.and_then(|text| text.parse().ok()),
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
    creation_timestamp: Option<String>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads a job that need not have been stored: one from a file has neither UID nor resourceVersion.
///
/// # Errors
/// If it has not the shape of a job.
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
/// If it has not the shape of a pod.
pub fn offline_pod(value: &Value) -> Result<Arc<PodView>, DecodeError> {
    Ok(pod(value.to_string().as_bytes())?.value)
}

#[cfg(test)]
mod tests;
