//! Structural schemas, as far as stored objects depend on them: defaults are filled in, unknown fields are dropped, and
//! values of a wrong type, out of range or missing are refused. Rules (CEL) are left to the real API server.

use serde_json::{Map, Value};

/// Turns an object that was sent into one that is stored. `metadata` is not covered by the schema.
pub fn apply(schema: &Value, object: &mut Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let kept: Vec<(String, Option<Value>)> = ["apiVersion", "kind", "metadata"]
        .iter()
        .map(|key| ((*key).to_owned(), fields.remove(*key)))
        .collect();
    prune(schema, object);
    default(schema, object);
    if let Some(fields) = object.as_object_mut() {
        fields.extend(kept.into_iter().filter_map(|(key, value)| Some((key, value?))));
    }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// Drops fields that the schema does not have, and nulls of fields with a default.
fn prune(schema: &Value, value: &mut Value) {
    let keeps = flag(schema, "x-kubernetes-preserve-unknown-fields");
    match value {
        Value::Object(fields) => {
            let known = schema.get("properties").and_then(Value::as_object);
            let others = schema.get("additionalProperties").filter(|s| s.is_object());
            let any = schema.get("additionalProperties") == Some(&Value::Bool(true));
            fields.retain(|key, _| {
                keeps || any || others.is_some() || known.is_some_and(|known| known.contains_key(key))
            });
            fields.retain(|key, value| !(value.is_null() && has_default(known, key)));
            for (key, value) in fields.iter_mut() {
                if let Some(schema) = known.and_then(|known| known.get(key)).or(others) {
                    prune(schema, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| prune(schema, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn has_default(known: Option<&Map<String, Value>>, key: &str) -> bool {
    known
        .and_then(|known| known.get(key))
        .is_some_and(|schema| schema.get("default").is_some() && !flag(schema, "nullable"))
}

fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let known = schema.get("properties").and_then(Value::as_object);
            for (key, of) in known.into_iter().flatten() {
                if let Some(default) = of.get("default") {
                    fields.entry(key.clone()).or_insert_with(|| default.clone());
                }
            }
            let others = schema.get("additionalProperties").filter(|s| s.is_object());
            for (key, value) in fields.iter_mut() {
                if let Some(schema) = known.and_then(|known| known.get(key)).or(others) {
                    default(schema, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| default(schema, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Paths at which a value does not match its schema.
#[must_use]
pub fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "", &mut found);
    found
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    if flag(schema, "x-kubernetes-int-or-string") {
        return;
    }
    let type_ = schema.get("type").and_then(Value::as_str);
    let fits = match type_ {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    };
    if !fits {
        found.push(format!("{path}: must be of type {}", type_.unwrap_or_default()));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        found.push(format!("{path}: unsupported value"));
    }
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    if let Some(number) = value.as_f64() {
        if limit("minimum").is_some_and(|least| number < least) {
            found.push(format!("{path}: too small"));
        }
        if limit("maximum").is_some_and(|most| number > most) {
            found.push(format!("{path}: too large"));
        }
    }
    match value {
        Value::Object(fields) => {
            let required = schema.get("required").and_then(Value::as_array);
            for key in required.into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(key) {
                    found.push(format!("{path}.{key}: required value"));
                }
            }
            let known = schema.get("properties").and_then(Value::as_object);
            let others = schema.get("additionalProperties").filter(|s| s.is_object());
            for (key, value) in fields {
                // The schema does not cover metadata.
                if path.is_empty() && key == "metadata" {
                    continue;
                }
                if let Some(schema) = known.and_then(|known| known.get(key)).or(others) {
                    check(schema, value, &format!("{path}.{key}"), found);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (n, item) in items.iter().enumerate() {
                    check(schema, item, &format!("{path}[{n}]"), found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_go_defaults_come_and_nulls_count_as_absent() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "default": {}, "properties": {
            "a": {"type": "integer", "default": 1},
            "b": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "string", "default": "x"}}}},
            "d": {"type": "object", "additionalProperties": {"type": "string"}},
            "e": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}});
        let mut object = json!({"kind": "K", "metadata": {"anything": 1}, "other": 2, "spec":
            {"a": null, "z": 1, "b": [{}, {"c": "y", "z": 1}], "d": {"k": "v"}, "e": {"f": {"g": 1}}}});
        apply(&schema, &mut object);
        let wanted = json!({"kind": "K", "metadata": {"anything": 1}, "spec":
            {"a": 1, "b": [{"c": "x"}, {"c": "y"}], "d": {"k": "v"}, "e": {"f": {"g": 1}}}});
        assert_eq!(object, wanted);
        let mut empty = json!({"kind": "K"});
        apply(&schema, &mut empty);
        assert_eq!(empty, json!({"kind": "K", "spec": {"a": 1}}));
        assert_eq!(problems(&schema, &object), [""; 0]);
        object["spec"]["a"] = json!("one");
        assert_eq!(problems(&schema, &object), [".spec.a: must be of type integer"]);
    }
}
