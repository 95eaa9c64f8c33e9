//! Contents of a store without the parts that differ in every run: UIDs, versions, times, keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::store::Store;
use crate::types::{EVENTS, LEASES, NAMESPACES, NODES, SECRETS};

/// All objects of jobs, by plural and name.
#[must_use]
pub fn snapshot(store: &Store) -> BTreeMap<String, Value> {
    let aside = [EVENTS, LEASES, NAMESPACES, NODES];
    let of_jobs = store.all().filter(|(key, _)| !aside.contains(&key.resource));
    of_jobs
        .map(|(key, object)| {
            let mut object = (**object).clone();
            if key.resource == SECRETS {
                for field in ["data", "stringData"] {
                    if let Some(Value::Object(keys)) = object.get_mut(field) {
                        keys.values_mut().for_each(|key| *key = json!("secret"));
                    }
                }
            }
            if let Some(meta) = object["metadata"].as_object_mut() {
                for field in ["uid", "resourceVersion", "creationTimestamp"] {
                    meta.remove(field);
                }
            }
            mask(&mut object);
            (format!("{}/{}", key.resource.plural, key.name), object)
        })
        .collect()
}

fn mask(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_times(text),
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => fields.values_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces times and UIDs by words.
fn without_times(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if shaped(rest, "dddd-dd-ddTdd:dd:dd") {
            out.push_str("TIME");
            let after = &rest["dddd-dd-ddTdd:dd:dd".len()..];
            rest = after
                .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit())
                .trim_start_matches('Z');
        } else if shaped(rest, "dddddddd-dddd-4ddd-8ddd-xxxxxxxxxxxx") {
            out.push_str("UID");
            rest = &rest[36..];
        } else {
            let next = rest.chars().next().unwrap_or_default();
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// True if a text begins like the pattern: `d` is a digit, `x` a hexadecimal one, any other character is itself.
fn shaped(text: &str, pattern: &str) -> bool {
    text.len() >= pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, like)| match like {
            b'd' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_hexdigit(),
            like => byte == like,
        })
}

/// Differences between two snapshots, in lines.
#[must_use]
pub fn differences(wanted: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, object) in wanted {
        match found.get(name) {
            None => lines.push(format!("{name} is missing")),
            Some(other) => compare(name, object, other, &mut lines),
        }
    }
    lines.extend(
        found
            .keys()
            .filter(|name| !wanted.contains_key(*name))
            .map(|name| format!("{name} is too much")),
    );
    lines
}

fn compare(path: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                compare(&format!("{path}.{key}"), &of(a), &of(b), lines);
            }
        }
        (a, b) if a != b => lines.push(format!("{path}: {b}, not {a}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_uids_are_masked_wherever_they_stand() {
        let text =
            "due at 2026-01-01T00:00:05Z of 00000000-0000-4000-8000-00000000001f, 2026-01-01T00:00:05.123Z!";
        assert_eq!(without_times(text), "due at TIME of UID, TIME!");
        assert_eq!(without_times("20-1"), "20-1");
    }
}
