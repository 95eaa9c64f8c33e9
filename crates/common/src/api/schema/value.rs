//! Edits of a schema as a JSON value.

use serde_json::{Map, Value};

/// Sets keywords of the schema at `pointer`.
pub(super) fn set(schema: &mut Value, pointer: &str, keywords: Value) {
    let node = schema.pointer_mut(pointer).and_then(Value::as_object_mut);
    if let (Some(node), Value::Object(keywords)) = (node, keywords) {
        node.extend(keywords);
    }
}

/// An object's map, or an empty one.
pub(super) fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
