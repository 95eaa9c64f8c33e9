//! Verbs of the API server: create, replace, patch, delete; and their refusals.

use common::testing::merge_patch;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::schema;
use crate::store::{Key, Object, Store, Who};
use crate::types::{NAMESPACES, PODS, Type};
use crate::value::{self, metadata, text};

/// Finalizer of an owner that waits for its dependents.
pub const FOREGROUND: &str = "foregroundDeletion";

/// Part of an object that a request changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but the status, where the status is a subresource.
    Whole,
    /// The status only.
    Status,
}

/// Options of a delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Precondition: UID.
    pub uid: Option<String>,
    /// Precondition: version.
    pub version: Option<String>,
    /// Grace period in seconds.
    pub grace: Option<i64>,
    /// `Foreground`, `Background` or `Orphan`.
    pub propagation: Option<String>,
}

impl DeleteOptions {
    /// Options in the body of a request.
    #[must_use]
    pub fn read(body: &Value) -> Self {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            uid: text("/preconditions/uid"),
            version: text("/preconditions/resourceVersion"),
            grace: body.pointer("/gracePeriodSeconds").and_then(Value::as_i64),
            propagation: text("/propagationPolicy"),
        }
    }
}

/// Result of a delete.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// The object is gone at once.
    Gone(Object),
    /// The object has a deletion timestamp.
    Going(Object),
}

const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

impl Store {
    /// Creates an object.
    ///
    /// # Errors
    /// If it is not valid, or exists already.
    pub fn create(
        &mut self,
        by: Who,
        of: &Type,
        version: &str,
        namespace: &str,
        mut object: Value,
    ) -> Result<Object, Refusal> {
        check_kind(of, version, &object)?;
        let stated = text(&object, "/metadata/namespace").to_owned();
        if !stated.is_empty() && stated != namespace {
            return Err(Refusal::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if !value::text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(Refusal::has_version());
        }
        let name = match value::name(&object) {
            "" => self.generated_name(of, &object)?,
            name => name.to_owned(),
        };
        let key = Key::new(of.resource, namespace, &name);
        if of.namespaced && self.get(&Key::new(NAMESPACES, "", namespace)).is_none() {
            return Err(Refusal::not_found(NAMESPACES, namespace));
        }
        prepare(of, version, &mut object);
        if let Some(fields) = object.as_object_mut().filter(|_| of.status) {
            fields.remove("status");
        }
        if of.resource == PODS {
            object["status"] = json!({"phase": "Pending"});
        }
        validate(of, version, &object)?;
        if self.get(&key).is_some() {
            return Err(Refusal::exists(of.resource, &name));
        }
        let (uid, time) = (self.uid(), self.time());
        let meta = metadata(&mut object);
        for field in [
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
        ] {
            meta.remove(field);
        }
        meta.insert("name".to_owned(), json!(name));
        if of.namespaced {
            meta.insert("namespace".to_owned(), json!(namespace));
        }
        meta.insert("uid".to_owned(), json!(uid));
        meta.insert("creationTimestamp".to_owned(), json!(time));
        if of.is_custom() {
            meta.insert("generation".to_owned(), json!(1));
        }
        object["apiVersion"] = json!(of.api_version(&of.versions[0]));
        object["kind"] = json!(of.kind);
        Ok(self.put(by, &key, object))
    }

    fn generated_name(&mut self, of: &Type, object: &Value) -> Result<String, Refusal> {
        match text(object, "/metadata/generateName") {
            "" => Err(Refusal::invalid(
                of.kind,
                "",
                "metadata.name: Required value: name or generateName is required",
            )),
            prefix => {
                let n = self.version();
                Ok(format!("{prefix}{n:05}"))
            }
        }
    }

    /// Replaces an object, or its status.
    ///
    /// # Errors
    /// If it does not exist, is not valid, or is not of the stored version.
    pub fn replace(
        &mut self,
        by: Who,
        of: &Type,
        version: &str,
        key: &Key,
        part: Part,
        mut object: Value,
    ) -> Result<Object, Refusal> {
        check_kind(of, version, &object)?;
        if value::name(&object) != key.name {
            return Err(Refusal::bad_request(
                "the name of the object does not match the name on the URL",
            ));
        }
        let old = self.existing(key)?;
        let uid = value::uid(&object);
        if !uid.is_empty() && uid != value::uid(&old) {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                value::uid(&old)
            );
            return Err(Refusal::conflict(key.resource, &key.name, &why));
        }
        if text(&object, "/metadata/resourceVersion").is_empty() && !of.unconditional {
            let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
            return Err(Refusal::invalid(of.kind, &key.name, why));
        }
        prepare(of, version, &mut object);
        self.update(by, of, version, key, part, &old, object)
    }

    /// Applies a merge patch to an object, or to its status.
    ///
    /// # Errors
    /// If it does not exist, the result is not valid, or the patch names another version.
    pub fn merge_patch(
        &mut self,
        by: Who,
        of: &Type,
        version: &str,
        key: &Key,
        part: Part,
        patch: &Value,
    ) -> Result<Object, Refusal> {
        let old = self.existing(key)?;
        let mut object = shown(of, version, &old);
        merge_patch(&mut object, patch);
        if value::name(&object) != key.name {
            return Err(Refusal::bad_request(
                "the name of the object does not match the name on the URL",
            ));
        }
        prepare(of, version, &mut object);
        let immutable = |field: &str| text(&object, field) != text(&old, field);
        if part == Part::Whole && immutable("/metadata/uid") {
            let why = "metadata.uid: Invalid value: field is immutable";
            Self::check_version(key, &old, &object)?;
            return Err(Refusal::invalid(of.kind, &key.name, why));
        }
        self.update(by, of, version, key, part, &old, object)
    }

    fn existing(&self, key: &Key) -> Result<Object, Refusal> {
        let found = self.get(key).cloned();
        found.ok_or_else(|| Refusal::not_found(key.resource, &key.name))
    }

    fn check_version(key: &Key, old: &Value, new: &Value) -> Result<(), Refusal> {
        let stated = text(new, "/metadata/resourceVersion");
        if stated.is_empty() || stated == text(old, "/metadata/resourceVersion") {
            return Ok(());
        }
        Err(Refusal::conflict(key.resource, &key.name, MODIFIED))
    }

    #[expect(clippy::too_many_arguments, reason = "all parts of one request")]
    fn update(
        &mut self,
        by: Who,
        of: &Type,
        version: &str,
        key: &Key,
        part: Part,
        old: &Object,
        new: Value,
    ) -> Result<Object, Refusal> {
        Self::check_version(key, old, &new)?;
        let mut object = match part {
            Part::Status => {
                let mut object = (**old).clone();
                match new.get("status") {
                    Some(status) => object["status"] = status.clone(),
                    None => drop(object.as_object_mut().and_then(|o| o.remove("status"))),
                }
                object
            }
            Part::Whole => {
                let mut object = new;
                if of.status {
                    match old.get("status") {
                        Some(status) => object["status"] = status.clone(),
                        None => drop(object.as_object_mut().and_then(|o| o.remove("status"))),
                    }
                }
                keep_metadata(old, &mut object);
                object
            }
        };
        object["apiVersion"] = old["apiVersion"].clone();
        object["kind"] = old["kind"].clone();
        validate(of, version, &object)?;
        if of.is_custom() && part == Part::Whole && object.get("spec") != old.get("spec") {
            let generation = value::number(old, "/metadata/generation") + 1;
            metadata(&mut object).insert("generation".to_owned(), json!(generation));
        }
        let held: Vec<&str> = value::finalizers(old).collect();
        if value::deleting(old) && !value::finalizers(&object).all(|finalizer| held.contains(&finalizer)) {
            let why = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
            return Err(Refusal::invalid(of.kind, &key.name, why));
        }
        // The last finalizer of a deleted object was removed.
        let graceless = value::number(&object, "/metadata/deletionGracePeriodSeconds") == 0;
        if value::deleting(&object) && graceless && value::finalizers(&object).next().is_none() {
            let last = self.put(by, key, object);
            return Ok(self.remove(by, key).unwrap_or(last));
        }
        Ok(self.put(by, key, object))
    }

    /// Deletes an object, or sets its deletion timestamp.
    ///
    /// # Errors
    /// If it does not exist, or a precondition does not hold.
    pub fn delete(&mut self, by: Who, key: &Key, options: &DeleteOptions) -> Result<Deleted, Refusal> {
        let old = self.existing(key)?;
        for (name, stated, is) in [
            ("UID", &options.uid, value::uid(&old)),
            (
                "ResourceVersion",
                &options.version,
                text(&old, "/metadata/resourceVersion"),
            ),
        ] {
            if let Some(stated) = stated
                && stated != is
            {
                let why = format!(
                    "Precondition failed: {name} in precondition: {stated}, {name} in object meta: {is}"
                );
                return Err(Refusal::conflict(key.resource, &key.name, &why));
            }
        }
        let grace = grace_of(key, &old, options.grace);
        let mut object = (*old).clone();
        let mut finalizers: Vec<String> = value::finalizers(&old).map(str::to_owned).collect();
        if options.propagation.as_deref() == Some("Foreground") && !finalizers.iter().any(|f| f == FOREGROUND)
        {
            finalizers.push(FOREGROUND.to_owned());
        }
        if options.propagation.as_deref() == Some("Background") {
            finalizers.retain(|f| f != FOREGROUND);
        }
        if grace == 0 && finalizers.is_empty() {
            return match self.remove(by, key) {
                Some(last) => Ok(Deleted::Gone(last)),
                None => Err(Refusal::not_found(key.resource, &key.name)),
            };
        }
        let known =
            value::deleting(&old).then(|| value::number(&old, "/metadata/deletionGracePeriodSeconds"));
        let grace = known.map_or(grace, |known| known.min(grace));
        let time = if known == Some(grace) {
            text(&old, "/metadata/deletionTimestamp").to_owned()
        } else {
            let at = self.now() + std::time::Duration::from_secs(grace.unsigned_abs());
            jiff::Timestamp::from_second(at.as_second())
                .map(|at| at.to_string())
                .unwrap_or_default()
        };
        let meta = metadata(&mut object);
        meta.insert("deletionTimestamp".to_owned(), json!(time));
        if known.is_none() {
            // A deletion counts as a change of the spec.
            meta.entry("generation").and_modify(|generation| {
                *generation = json!(generation.as_i64().unwrap_or(0) + 1);
            });
        }
        meta.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        if !finalizers.is_empty() {
            meta.insert("finalizers".to_owned(), json!(finalizers));
        }
        Ok(Deleted::Going(self.put(by, key, object)))
    }
}

/// Grace period of a pod in seconds: none if it has no node, or has ended.
fn grace_of(key: &Key, old: &Value, asked: Option<i64>) -> i64 {
    if key.resource != PODS || text(old, "/spec/nodeName").is_empty() || value::has_ended(old) {
        return 0;
    }
    let own = old
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    asked.or(own).unwrap_or(30)
}

/// An object in a version.
#[must_use]
pub fn shown(of: &Type, version: &str, object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(of.api_version(version));
    object
}

fn check_kind(of: &Type, version: &str, object: &Value) -> Result<(), Refusal> {
    if !object.is_object() {
        return Err(Refusal::bad_request("the body of the request is not an object"));
    }
    for (pointer, wanted) in [
        ("/kind", of.kind.to_owned()),
        ("/apiVersion", of.api_version(version)),
    ] {
        let stated = text(object, pointer);
        if stated != wanted && (of.is_custom() || !stated.is_empty()) {
            let why = format!("the object provided is unrecognized: {pointer} is {stated:?}, not {wanted:?}");
            return Err(Refusal::bad_request(&why));
        }
    }
    Ok(())
}

/// Applies the schema: fills in defaults, drops unknown fields and nulls.
fn prepare(of: &Type, version: &str, object: &mut Value) {
    if let Some(schema) = of.schemas.get(version) {
        schema::apply(schema, object);
    } else {
        drop_nulls(object);
    }
}

/// Typed objects have no nulls.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Longest name of an object.
const LONGEST_NAME: usize = 253;

fn validate(of: &Type, version: &str, object: &Value) -> Result<(), Refusal> {
    if value::name(object).len() > LONGEST_NAME {
        let why = "metadata.name: Invalid value: must be no more than 253 characters";
        return Err(Refusal::invalid(of.kind, value::name(object), why));
    }
    let containers = object.pointer("/spec/containers").and_then(Value::as_array);
    if of.resource == PODS && containers.is_none_or(Vec::is_empty) {
        let why = "spec.containers: Required value";
        return Err(Refusal::invalid(of.kind, value::name(object), why));
    }
    let Some(schema) = of.schemas.get(version) else {
        return Ok(());
    };
    let problems = schema::problems(schema, object);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(
        of.kind,
        value::name(object),
        &problems.join(", "),
    ))
}

/// Keeps the metadata that clients cannot change.
fn keep_metadata(old: &Value, new: &mut Value) {
    let meta = metadata(new);
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        match old["metadata"].get(field) {
            Some(value) => drop(meta.insert(field.to_owned(), value.clone())),
            None => drop(meta.remove(field)),
        }
    }
    meta.remove("managedFields");
    if meta
        .get("finalizers")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty)
    {
        meta.remove("finalizers");
    }
}
