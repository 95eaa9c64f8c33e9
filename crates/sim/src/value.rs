//! Small helpers on objects as JSON.

use serde_json::{Map, Value, json};

/// A text at a JSON pointer; empty if there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A number at a JSON pointer; 0 if there is none.
#[must_use]
pub fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Name of an object.
#[must_use]
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// UID of an object.
#[must_use]
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// resourceVersion of an object, as a number.
#[must_use]
pub fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().unwrap_or(0)
}

/// True if it has a deletion timestamp.
#[must_use]
pub fn deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// A label.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

/// The owner reference with `controller: true`.
#[must_use]
pub fn controller(object: &Value) -> Option<&Value> {
    owners(object).find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// UID of the controller; empty if there is none.
#[must_use]
pub fn controller_uid(object: &Value) -> &str {
    controller(object).map_or("", |owner| text(owner, "/uid"))
}

/// All owner references.
pub fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    let owners = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    owners.into_iter().flatten()
}

/// Finalizers.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let all = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str)
}

/// Metadata, mutable.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"].as_object_mut().expect("an object")
}

/// Phase of a pod.
#[must_use]
pub fn phase(pod: &Value) -> &str {
    text(pod, "/status/phase")
}

/// True if a pod has ended.
#[must_use]
pub fn has_ended(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// True if the condition of this type is True.
#[must_use]
pub fn is_true(object: &Value, type_: &str) -> bool {
    condition(object, type_).is_some_and(|c| text(c, "/status") == "True")
}

/// A condition.
#[must_use]
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let all = object.pointer("/status/conditions").and_then(Value::as_array)?;
    all.iter().find(|c| text(c, "/type") == type_)
}

/// Sets a condition. If its status and reason are the same already, it stays unchanged.
pub fn set_condition(object: &mut Value, type_: &str, status: &str, reason: &str, message: &str, now: &str) {
    if condition(object, type_).is_some_and(|c| text(c, "/status") == status && text(c, "/reason") == reason)
    {
        return;
    }
    let new = json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": now});
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    let conditions = &mut object["status"]["conditions"];
    match conditions.as_array_mut() {
        Some(all) => match all.iter_mut().find(|c| text(c, "/type") == type_) {
            Some(old) => *old = new,
            None => all.push(new),
        },
        None => *conditions = json!([new]),
    }
}
