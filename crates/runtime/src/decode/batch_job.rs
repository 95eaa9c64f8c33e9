//! Batch Jobs, pruned to what decisions read.

use common::Uid;
use common::observe::{BatchEnd, BatchJobView};
use serde::Deserialize;

use crate::children::ChildRecord;

use super::meta::{ConditionIn, DecodeError, Meta, condition};

/// Reads a batch Job.
pub(crate) fn batch_job(json: &[u8]) -> Result<ChildRecord<BatchJobView>, DecodeError> {
    let JobIn { metadata, status } = serde_json::from_slice(json)?;
    let status = status.unwrap_or_default();
    let view = BatchJobView {
        name: metadata.name.0.as_ref().into(),
        uid: Uid::new(&metadata.uid.0),
        attempt: metadata.attempt(),
        deleting: metadata.deletion_timestamp.is_some(),
        failed: status.failed,
        end: status.end().map(Box::new),
    };
    metadata.child(view)
}

#[derive(Deserialize)]
struct JobIn<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow, default)]
    status: Option<StatusIn<'a>>,
}

#[derive(Default, Deserialize)]
struct StatusIn<'a> {
    #[serde(default)]
    failed: u32,
    #[serde(borrow, default)]
    conditions: Option<Vec<ConditionIn<'a>>>,
}

impl StatusIn<'_> {
    /// End of the batch Job. `FailureTarget` decides it already: `Failed` follows when the last pod has terminated. A success
    /// counts only with `Complete`, when nothing runs any more.
    fn end(&self) -> Option<BatchEnd> {
        let ended = |type_: &str| {
            let found = condition(self.conditions.as_ref(), type_);
            found.filter(|c| c.is("True"))
        };
        let (succeeded, condition) = match (
            ended("Complete"),
            ended("Failed").or_else(|| ended("FailureTarget")),
        ) {
            (Some(complete), _) => (true, complete),
            (None, Some(failed)) => (false, failed),
            (None, None) => return None,
        };
        Some(BatchEnd {
            succeeded,
            reason: condition.reason().into(),
            message: condition.message().into(),
            at: condition.since(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn end(conditions: &Value) -> Option<(bool, String)> {
        let job = json!({
            "metadata": {"name": "j-launcher", "namespace": "n", "uid": "b", "resourceVersion": "3",
                "labels": {(common::names::ATTEMPT): "4"}},
            "status": {"failed": 2, "conditions": conditions}
        });
        let view = batch_job(job.to_string().as_bytes()).unwrap().value;
        assert_eq!((view.failed, view.attempt.0), (2, 4));
        view.end
            .as_ref()
            .map(|end| (end.succeeded, end.reason.to_string()))
    }

    #[test]
    fn the_verdict_is_complete_failed_or_failure_target() {
        let condition = |type_: &str, status: &str| json!({"type": type_, "status": status, "reason": "R"});
        assert_eq!(
            end(&json!([
                condition("Suspended", "True"),
                condition("Complete", "False")
            ])),
            None
        );
        assert_eq!(
            end(&json!([condition("SuccessCriteriaMet", "True")])),
            None,
            "its pods may still run"
        );
        assert_eq!(
            end(&json!([condition("Complete", "True")])),
            Some((true, "R".into()))
        );
        assert_eq!(
            end(&json!([condition("FailureTarget", "True")])),
            Some((false, "R".into()))
        );
    }
}
