//! JSON schema of a Rust type in the form that Kubernetes takes: no references, no unions, one type per node.
//!
//! Not there either: `nullable` (the API server drops a null where a field may be absent, and then `has()` in a rule
//! means that there is a value) and defaults (they are in `resolve`; a default in the schema is stored, so the few
//! that should be are set by hand).

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::{into_map, kubernetes};

/// The schema of `T`.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
    let plain = RecursiveTransform(|schema: &mut Schema| {
        schema.remove("title");
        schema.remove("default");
    });
    let generator = settings.with_transform(plain).into_generator();
    let mut schema = into_map(generator.into_root_schema_for::<T>().to_value());
    let mut definitions = into_map(schema.remove("$defs").unwrap_or_default());
    for (name, definition) in &mut definitions {
        kubernetes::adapt(name, definition);
    }
    node(schema.into(), &definitions)
}

/// One schema node, and all below it.
fn node(schema: Value, definitions: &Map<String, Value>) -> Value {
    let mut schema = resolved(into_map(schema), definitions);
    if let Some(variants) = schema.remove("oneOf") {
        schema.insert("type".to_owned(), "string".into());
        schema.insert("enum".to_owned(), constants(&variants));
    }
    if let Some(Value::Array(types)) = schema.get("type") {
        let stated = types.iter().find(|t| *t != "null").cloned();
        schema.insert("type".to_owned(), stated.unwrap_or_default());
    }
    // The API server knows signed formats only and warns of others.
    if schema
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|f| f.starts_with("uint"))
    {
        schema.insert("format".to_owned(), "int64".into());
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(child) = schema.get_mut(keyword).filter(|child| child.is_object()) {
            *child = node(child.take(), definitions);
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut() {
            *property = node(property.take(), definitions);
        }
    }
    schema.into()
}

/// Replaces a reference, or a union of one with null, by what it stands for. What is said beside it wins: the doc of
/// the field over that of its type.
fn resolved(mut schema: Map<String, Value>, definitions: &Map<String, Value>) -> Map<String, Value> {
    let target = if let Some(Value::String(path)) = schema.remove("$ref") {
        path.rsplit('/')
            .next()
            .and_then(|name| definitions.get(name))
            .cloned()
    } else if let Some(Value::Array(variants)) = schema.remove("anyOf") {
        variants
            .into_iter()
            .find(|variant| *variant != json!({ "type": "null" }))
    } else {
        return schema;
    };
    let mut target = resolved(into_map(target.unwrap_or_default()), definitions);
    target.append(&mut schema);
    target
}

/// The values of an enum whose variants have docs of their own.
fn constants(variants: &Value) -> Value {
    let variants = variants.as_array().into_iter().flatten();
    let values = variants.flat_map(|variant| {
        let listed = variant
            .get("enum")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        variant.get("const").cloned().into_iter().chain(listed)
    });
    values.collect()
}
