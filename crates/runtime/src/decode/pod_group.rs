//! PodGroups, pruned to what decisions read: their spec, and what their scheduler says.

use common::gang::{Placement, PodGroupApi, PodGroupView};
use serde::Deserialize;
use serde_json::Value;

use super::{DecodeError, Text};

/// Reads what decisions read of a PodGroup.
pub(super) fn pod_group(api: PodGroupApi, json: &[u8]) -> Result<PodGroupView, DecodeError> {
    let GroupIn { spec, status } = serde_json::from_slice(json)?;
    let status = status.unwrap_or_default();
    Ok(PodGroupView {
        spec,
        placement: match api {
            PodGroupApi::Native => status.initially_scheduled(),
            PodGroupApi::Volcano => status.unschedulable(),
            // Its pods say why they do not fit.
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

#[derive(Deserialize)]
struct ConditionIn<'a> {
    #[serde(borrow, rename = "type")]
    type_: Text<'a>,
    #[serde(borrow, default)]
    status: Option<Text<'a>>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
}

impl StatusIn<'_> {
    fn condition(&self, type_: &str) -> Option<(&ConditionIn<'_>, &str)> {
        let found = self.conditions.iter().flatten().find(|c| c.type_.0 == type_)?;
        Some((found, found.status.as_ref().map_or("", |status| &status.0)))
    }

    /// Kubernetes' own (`k8s.io/api/scheduling/v1beta1`): once True, it stays so.
    fn initially_scheduled(&self) -> Placement {
        match self.condition("PodGroupInitiallyScheduled") {
            Some((_, "True")) => Placement::Found,
            Some((why, "False")) => why.refused(),
            _ => Placement::Unknown,
        }
    }

    /// Volcano's (`volcano.sh/apis/pkg/apis/scheduling/v1beta1`): of the two, the one of the last session counts, and an
    /// earlier one may stand beside it.
    fn unschedulable(&self) -> Placement {
        match (self.condition("Scheduled"), self.condition("Unschedulable")) {
            (_, Some((why, "True"))) if !self.is_placed() => why.refused(),
            (Some((_, "True")), _) => Placement::Found,
            _ => Placement::Unknown,
        }
    }

    fn is_placed(&self) -> bool {
        self.phase
            .as_ref()
            .is_some_and(|phase| matches!(&*phase.0, "Running" | "Completed"))
    }
}

impl ConditionIn<'_> {
    fn refused(&self) -> Placement {
        let text = |text: &Option<Text<'_>>| text.as_ref().map_or("", |t| &t.0).to_owned();
        let reason = Some(text(&self.reason)).filter(|reason| !reason.is_empty());
        Placement::Refused {
            reason: reason.unwrap_or_else(|| "Unschedulable".to_owned()).into(),
            message: text(&self.message).into(),
        }
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

    fn refused(reason: &str, message: &str) -> Placement {
        let (reason, message) = (reason.into(), message.into());
        Placement::Refused { reason, message }
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
            refused("Unschedulable", "minCount")
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
            refused("NotEnoughResources", "2/3 tasks")
        );
        assert_eq!(placement(api, &volcano("Running")), Placement::Found);
    }
}
