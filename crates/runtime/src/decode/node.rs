//! Nodes, pruned to their readiness.

use common::names;
use jiff::Timestamp;
use serde::Deserialize;

use crate::node_readiness::{NodeObject, NodeView};

use super::meta::{ConditionIn, DecodeError, Text, condition, version};

/// Reads a node. A node without the condition, which has just been created, counts as Ready: its pods have not started.
pub(crate) fn node(json: &[u8], seen: Timestamp) -> Result<NodeObject, DecodeError> {
    let NodeIn {
        metadata,
        spec,
        status,
    } = serde_json::from_slice(json)?;
    let conditions = status.and_then(|status| status.conditions);
    let not_ready = condition(conditions.as_ref(), "Ready").filter(|c| !c.is("True"));
    let taints = spec.and_then(|spec| spec.taints).unwrap_or_default();
    Ok(NodeObject {
        name: metadata.name.0.as_ref().into(),
        rv: version(&metadata.resource_version.0)?,
        seen,
        value: NodeView {
            // Without a time the period is unknown, and never becomes too long.
            not_ready_since: not_ready.map(|c| c.since().unwrap_or(Timestamp::MAX)),
            out_of_service: taints.iter().any(|taint| taint.key.0 == names::OUT_OF_SERVICE),
        },
    })
}

#[derive(Deserialize)]
struct NodeIn<'a> {
    #[serde(borrow)]
    metadata: MetaIn<'a>,
    #[serde(borrow, default)]
    spec: Option<SpecIn<'a>>,
    #[serde(borrow, default)]
    status: Option<StatusIn<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaIn<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    resource_version: Text<'a>,
}

#[derive(Deserialize)]
struct SpecIn<'a> {
    #[serde(borrow, default)]
    taints: Option<Vec<TaintIn<'a>>>,
}

#[derive(Deserialize)]
struct TaintIn<'a> {
    #[serde(borrow)]
    key: Text<'a>,
}

#[derive(Deserialize)]
struct StatusIn<'a> {
    #[serde(borrow, default)]
    conditions: Option<Vec<ConditionIn<'a>>>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(taints: &Value, conditions: &Value) -> (Option<i64>, bool) {
        let object = json!({
            "metadata": {"name": "n", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"podCIDR": "10.0.0.0/24", "taints": taints},
            "status": {"conditions": conditions, "images": [{"names": ["x"], "sizeBytes": 1}]},
        });
        let NodeObject { name, rv, value, .. } = node(object.to_string().as_bytes(), Timestamp::MIN).unwrap();
        assert_eq!((&*name, rv), ("n", 7));
        (
            value.not_ready_since.map(Timestamp::as_second),
            value.out_of_service,
        )
    }

    #[test]
    fn a_node_is_whether_it_answers_and_since_when_it_does_not() {
        let ready = |status: &str| {
            json!([
                {"type": "MemoryPressure", "status": "Unknown", "lastTransitionTime": "1970-01-01T00:00:01Z"},
                {"type": "Ready", "status": status, "lastHeartbeatTime": "1970-01-01T00:00:50Z",
                    "lastTransitionTime": "1970-01-01T00:00:40Z"},
            ])
        };
        let other = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
        let out = json!([{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]);
        assert_eq!(read(&Value::Null, &ready("True")), (None, false));
        assert_eq!(read(&other, &ready("Unknown")), (Some(40), false));
        assert_eq!(read(&out, &ready("False")), (Some(40), true));
        assert_eq!(read(&Value::Null, &Value::Null), (None, false), "just made");
        let timeless = json!([{"type": "Ready", "status": "Unknown"}]);
        assert!(
            read(&Value::Null, &timeless).0.unwrap() > 200_000_000_000,
            "forever is not long ago"
        );
    }
}
