//! JSON merge patches (RFC 7386).

use serde_json::{Map, Value};

/// The patch that turns `old` into `new`, or `None` if they are equal. Removed keys become explicit nulls: a merge patch cannot
/// remove them otherwise.
pub(crate) fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (_, _) if old == new => None,
        (Value::Object(old), Value::Object(new)) => Some(Value::Object(object(old, new))),
        _ => Some(new.clone()),
    }
}

fn object(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let gone = old
        .keys()
        .filter(|key| !new.contains_key(*key))
        .map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| {
        let patch = match old.get(key) {
            Some(before) => merge_patch(before, value)?,
            None => value.clone(),
        };
        Some((key.clone(), patch))
    });
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Applies a patch as the API server does.
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (key, value) in patch {
            if value.is_null() {
                target.as_object_mut().unwrap().remove(key);
            } else {
                apply(&mut target[key], value);
            }
        }
    }

    #[test]
    fn a_patch_turns_old_into_new() {
        let states = [
            json!({}),
            json!({"a": 1}),
            json!({"a": 2, "b": {"c": "x"}}),
            json!({"b": {"c": "x", "d": [1, 2]}}),
            json!({"b": {"d": [2]}}),
            json!({"b": "text"}),
        ];
        for old in &states {
            for new in &states {
                let mut got = old.clone();
                match merge_patch(old, new) {
                    Some(patch) => apply(&mut got, &patch),
                    None => assert_eq!(old, new),
                }
                assert_eq!(&got, new, "from {old}");
            }
        }
    }

    #[test]
    fn removed_keys_are_null_and_unchanged_keys_are_left_out() {
        let old = json!({"conditions": [1], "startTime": "x", "replicaStatuses": {"Worker": {"active": 3}}});
        let new = json!({"conditions": [1], "replicaStatuses": {"Worker": {}}});
        let patch = merge_patch(&old, &new);
        assert_eq!(
            patch,
            Some(json!({"startTime": null, "replicaStatuses": {"Worker": {"active": null}}}))
        );
    }

    #[test]
    fn an_absent_status_is_written_whole() {
        assert_eq!(
            merge_patch(&Value::Null, &json!({"attempt": 1})),
            Some(json!({"attempt": 1}))
        );
    }
}
