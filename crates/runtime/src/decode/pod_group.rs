//! PodGroups, pruned to what decisions read: their spec, and their placement by the scheduler.

use common::gang::{Placement, PodGroupApi, PodGroupView};
use serde::Deserialize;
use serde_json::Value;

use super::meta::{ConditionIn, DecodeError, Text, condition};

/// Reads a PodGroup.
pub(super) fn pod_group(api: PodGroupApi, json: &[u8]) -> Result<PodGroupView, DecodeError> {
    let GroupIn { spec, status } = serde_json::from_slice(json)?;
    let status = status.unwrap_or_default();
    Ok(PodGroupView {
        spec,
        placement: match api {
            PodGroupApi::Native => status.initially_scheduled(),
            PodGroupApi::Volcano => status.unschedulable(),
            // Conditions of the pods say why they do not fit.
            PodGroupApi::Coscheduling => Placement::Unknown,
        },
        phase: status.phase.as_ref().and_then(Text::boxed),
    })
}

#[derive(Deserialize)]
struct GroupIn<'a> {
    #[serde(default)]
    spec: Value,
    #[serde(borrow, default)]
    status: Option<StatusIn<'a>>,
}

#[derive(Default, Deserialize)]
struct StatusIn<'a> {
    #[serde(borrow, default)]
    phase: Option<Text<'a>>,
    #[serde(borrow, default)]
    conditions: Option<Vec<ConditionIn<'a>>>,
}

impl StatusIn<'_> {
    fn condition(&self, type_: &str) -> Option<&ConditionIn<'_>> {
        condition(self.conditions.as_ref(), type_)
    }

    /// Placement by Kubernetes' own scheduler (`k8s.io/api/scheduling/v1beta1`): once True, the condition stays so.
    fn initially_scheduled(&self) -> Placement {
        match self.condition("PodGroupInitiallyScheduled") {
            Some(condition) if condition.is("True") => Placement::Found,
            Some(condition) if condition.is("False") => refused(condition),
            _ => Placement::Unknown,
        }
    }

    /// Placement by Volcano (`volcano.sh/apis/pkg/apis/scheduling/v1beta1`). Of the two conditions the one of the last session
    /// counts, and an earlier one may stand beside it.
    fn unschedulable(&self) -> Placement {
        let holds = |type_: &str| self.condition(type_).filter(|c| c.is("True"));
        match (holds("Scheduled"), holds("Unschedulable")) {
            (_, Some(condition)) if !self.is_placed() => refused(condition),
            (Some(_), _) => Placement::Found,
            _ => Placement::Unknown,
        }
    }

    fn is_placed(&self) -> bool {
        self.phase
            .as_ref()
            .is_some_and(|phase| matches!(&*phase.0, "Running" | "Completed"))
    }
}

fn refused(condition: &ConditionIn<'_>) -> Placement {
    let reason = match condition.reason() {
        "" => "Unschedulable",
        reason => reason,
    };
    Placement::Unschedulable {
        reason: reason.into(),
        message: condition.message().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn placement(api: PodGroupApi, status: &Value) -> Placement {
        let group = json!({"metadata": {"name": "j"}, "spec": {"minMember": 2}, "status": status});
        let view = pod_group(api, group.to_string().as_bytes()).unwrap();
        assert_eq!(view.spec, json!({"minMember": 2}));
        view.placement
    }

    fn unplaced(reason: &str, message: &str) -> Placement {
        let (reason, message) = (reason.into(), message.into());
        Placement::Unschedulable { reason, message }
    }

    #[test]
    fn schedulers_say_in_their_own_ways_that_there_is_no_place() {
        let native = |status: &str| {
            json!({"conditions": [{"type": "PodGroupInitiallyScheduled", "status": status, "reason": "Unschedulable",
                                   "message": "minCount"}]})
        };
        let api = PodGroupApi::Native;
        assert_eq!(
            placement(api, &native("False")),
            unplaced("Unschedulable", "minCount")
        );
        assert_eq!(placement(api, &native("True")), Placement::Found);
        assert_eq!(placement(api, &Value::Null), Placement::Unknown);
        let volcano = |phase: &str| {
            json!({"phase": phase, "conditions": [
                {"type": "Unschedulable", "status": "True", "reason": "NotEnoughResources", "message": "2/3 tasks"},
                {"type": "Scheduled", "status": "True"}]})
        };
        let api = PodGroupApi::Volcano;
        assert_eq!(
            placement(api, &volcano("Inqueue")),
            unplaced("NotEnoughResources", "2/3 tasks")
        );
        assert_eq!(placement(api, &volcano("Running")), Placement::Found);
    }
}
