//! Parts that many objects have in common: metadata, owners, conditions, versions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Attempt, Uid, names};
use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::children::ChildRecord;
use crate::resource::ObjectName;

/// Error of reading an object.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The object is not JSON of the expected shape.
    #[error("not of the expected shape: {0}")]
    Shape(#[from] serde_json::Error),
    /// resourceVersions are ordered integers; this one is not.
    #[error("resourceVersion {0:?} is not a number")]
    Version(String),
}

/// Text borrowed from the frame wherever it has no escapes.
#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Text<'_> {
    /// The text, or `None` if it is empty.
    pub(super) fn boxed(&self) -> Option<Box<str>> {
        (!self.0.is_empty()).then(|| self.0.as_ref().into())
    }
}

/// Metadata, pruned to what decisions read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow, default)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) uid: Text<'a>,
    #[serde(borrow)]
    pub(super) resource_version: Text<'a>,
    #[serde(default)]
    pub(super) deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) deletion_grace_period_seconds: Option<i64>,
    #[serde(borrow, default)]
    labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
    #[serde(default)]
    pub(super) annotations: Annotations,
    #[serde(borrow, default)]
    owner_references: Option<Vec<Owner<'a>>>,
}

/// Facts in the annotations that decisions read. The annotations themselves are not stored.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    /// `true` with the annotation by which Volcano finds the PodGroup of a pod.
    pub(super) of_volcano: bool,
    /// Digest of the spec that was planned.
    pub(super) digest: Option<Box<str>>,
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
pub(super) struct Owner<'a> {
    #[serde(borrow)]
    pub(super) uid: Text<'a>,
    #[serde(borrow)]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(default)]
    controller: Option<bool>,
}

impl Meta<'_> {
    pub(super) fn object_name(&self) -> ObjectName {
        ObjectName::new(self.namespace.as_ref().map_or("", |n| &n.0), &self.name.0)
    }

    pub(super) fn controller(&self) -> Option<&Owner<'_>> {
        self.owner_references
            .as_ref()?
            .iter()
            .find(|o| o.controller == Some(true))
    }

    pub(super) fn label(&self, key: &'static str) -> Option<&str> {
        self.labels
            .as_ref()?
            .get(&Text(Cow::Borrowed(key)))
            .map(|value| value.0.as_ref())
    }

    pub(super) fn version(&self) -> Result<u64, DecodeError> {
        version(&self.resource_version.0)
    }

    pub(super) fn child<T>(&self, value: T) -> Result<ChildRecord<T>, DecodeError> {
        Ok(ChildRecord {
            name: self.object_name(),
            uid: Uid::new(&self.uid.0),
            owner: self.controller().map(|o| Uid::new(&o.uid.0)),
            rv: self.version()?,
            value: Arc::new(value),
        })
    }

    pub(super) fn attempt(&self) -> Attempt {
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

/// A condition in the status of an object.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConditionIn<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) type_: Text<'a>,
    #[serde(borrow, default)]
    status: Option<Text<'a>>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
    #[serde(borrow, default)]
    last_transition_time: Option<Text<'a>>,
}

impl ConditionIn<'_> {
    /// Returns `true` if this is the status; absent is empty.
    pub(super) fn is(&self, status: &str) -> bool {
        text(self.status.as_ref()) == status
    }

    /// Reason; empty if absent.
    pub(super) fn reason(&self) -> &str {
        text(self.reason.as_ref())
    }

    /// Message; empty if absent.
    pub(super) fn message(&self) -> &str {
        text(self.message.as_ref())
    }

    /// Time of the last transition, if there is a readable one.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.last_transition_time.as_ref()?.0.parse().ok()
    }
}

/// The condition of a type.
pub(super) fn condition<'a, 'de>(
    conditions: Option<&'a Vec<ConditionIn<'de>>>,
    type_: &str,
) -> Option<&'a ConditionIn<'de>> {
    conditions?.iter().find(|c| c.type_.0 == type_)
}

fn text<'a>(text: Option<&'a Text<'_>>) -> &'a str {
    text.map_or("", |text| &text.0)
}
