//! Pods, pruned to what decisions read.

use common::gang::PodGroupApi;
use common::observe::{ContainerState, ContainerView, Phase, PodDetail};
use common::{PodView, Uid, names};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::children::ChildRecord;

use super::meta::{ConditionIn, DecodeError, Meta, Text, condition};

/// Reads a pod.
pub(crate) fn pod(json: &[u8]) -> Result<ChildRecord<PodView>, DecodeError> {
    let PodIn {
        metadata,
        spec,
        status,
    } = serde_json::from_slice(json)?;
    let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
    let view = PodView {
        name: metadata.name.0.as_ref().into(),
        uid: Uid::new(&metadata.uid.0),
        attempt: metadata.attempt(),
        phase: phase(status.phase.as_ref().map_or("", |p| &p.0)),
        deleting: metadata.deletion_timestamp.is_some(),
        forced: metadata.deletion_timestamp.is_some() && metadata.deletion_grace_period_seconds == Some(0),
        ready: status.condition("Ready").is_some_and(|c| c.is("True")),
        node: spec.node_name.as_ref().and_then(Text::boxed),
        gang: gang(&metadata, &spec),
        restarts: status.restarts(&spec),
        detail: status.detail().map(Box::new),
    };
    metadata.child(view)
}

/// API of the PodGroup that a pod belongs to.
fn gang(metadata: &Meta<'_>, spec: &SpecIn<'_>) -> Option<PodGroupApi> {
    if spec.scheduling_group.is_some() {
        Some(PodGroupApi::Native)
    } else if metadata.annotations.of_volcano {
        Some(PodGroupApi::Volcano)
    } else {
        let label = metadata.label(names::COSCHEDULING_GROUP);
        label.map(|_| PodGroupApi::Coscheduling)
    }
}

fn phase(text: &str) -> Phase {
    match text {
        "Running" => Phase::Running,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        "Unknown" => Phase::Unknown,
        _ => Phase::Pending,
    }
}

#[derive(Deserialize)]
struct PodIn<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow, default)]
    spec: Option<SpecIn<'a>>,
    #[serde(borrow, default)]
    status: Option<StatusIn<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecIn<'a> {
    #[serde(borrow, default)]
    node_name: Option<Text<'a>>,
    #[serde(default)]
    scheduling_group: Option<IgnoredAny>,
    #[serde(borrow, default)]
    containers: Vec<ContainerSpecIn<'a>>,
    #[serde(borrow, default)]
    init_containers: Option<Vec<ContainerSpecIn<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerSpecIn<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    restart_policy: Option<Text<'a>>,
}

impl SpecIn<'_> {
    /// Name of the training container: one of the known names, else the first container.
    fn training_container(&self) -> Option<&str> {
        let mut names = self.containers.iter().map(|c| &*c.name.0);
        let known = names
            .clone()
            .find(|name| names::TRAINING_CONTAINERS.contains(name));
        known.or_else(|| names.next())
    }

    /// Returns `true` if an init container is a side-car, which runs beside the others.
    fn is_sidecar(&self, name: &str) -> bool {
        let of_name = self.init_containers.iter().flatten().find(|c| c.name.0 == name);
        of_name.is_some_and(|c| {
            c.restart_policy
                .as_ref()
                .is_some_and(|policy| policy.0 == "Always")
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusIn<'a> {
    #[serde(borrow, default)]
    phase: Option<Text<'a>>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
    #[serde(borrow, default)]
    conditions: Option<Vec<ConditionIn<'a>>>,
    #[serde(borrow, default)]
    container_statuses: Option<Vec<ContainerIn<'a>>>,
    #[serde(borrow, default)]
    init_container_statuses: Option<Vec<ContainerIn<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerIn<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(default)]
    restart_count: u32,
    #[serde(borrow, default)]
    state: StateIn<'a>,
    #[serde(borrow, default)]
    last_state: StateIn<'a>,
}

#[derive(Default, Deserialize)]
struct StateIn<'a> {
    #[serde(borrow, default)]
    terminated: Option<TerminatedIn<'a>>,
    #[serde(borrow, default)]
    waiting: Option<WaitingIn<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TerminatedIn<'a> {
    #[serde(default)]
    exit_code: i32,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
    #[serde(borrow, default)]
    finished_at: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct WaitingIn<'a> {
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
}

impl StatusIn<'_> {
    /// Restarts of the training container and of init containers, side-cars left out.
    fn restarts(&self, spec: &SpecIn<'_>) -> u32 {
        let training = spec.training_container();
        let main = self.container_statuses.iter().flatten();
        let main = main.filter(|c| training.is_none_or(|name| c.name.0 == name));
        let init = self.init_container_statuses.iter().flatten();
        let init = init.filter(|c| !spec.is_sidecar(&c.name.0));
        main.chain(init)
            .fold(0, |sum, c| sum.saturating_add(c.restart_count))
    }

    fn condition(&self, type_: &str) -> Option<&ConditionIn<'_>> {
        condition(self.conditions.as_ref(), type_)
    }

    /// Details of a pod; `None` for most pods, of which there are none.
    fn detail(&self) -> Option<PodDetail> {
        let init = self.init_container_statuses.iter().flatten().map(|c| (c, true));
        let main = self.container_statuses.iter().flatten().map(|c| (c, false));
        let all: Vec<(&ContainerIn<'_>, bool)> = init.chain(main).collect();
        let views = all
            .iter()
            .filter_map(|(c, init)| c.view(&c.state, *init))
            .collect();
        let before = all.iter().filter(|(c, _)| c.state.terminated.is_none());
        let before = before
            .filter_map(|(c, init)| c.view(&c.last_state, *init))
            .collect();
        let disrupted = self.condition("DisruptionTarget").filter(|c| c.is("True"));
        let unscheduled = self.condition("PodScheduled").filter(|c| c.is("False"));
        let detail = PodDetail {
            reason: boxed(self.reason.as_ref()),
            message: boxed(self.message.as_ref()),
            disruption: disrupted.map(|c| match c.reason() {
                "" => c.type_.0.as_ref().into(),
                reason => reason.into(),
            }),
            unschedulable: unscheduled.map(why_unscheduled),
            containers: views,
            earlier: before,
        };
        (detail != PodDetail::default()).then_some(detail)
    }
}

fn boxed(text: Option<&Text<'_>>) -> Option<Box<str>> {
    text.and_then(Text::boxed)
}

fn why_unscheduled(condition: &ConditionIn<'_>) -> Box<str> {
    match (condition.reason(), condition.message()) {
        ("" | "Unschedulable", message) if !message.is_empty() => message.into(),
        (reason, "") => reason.into(),
        (reason, message) => format!("{reason}: {message}").into(),
    }
}

impl ContainerIn<'_> {
    fn view(&self, state: &StateIn<'_>, init: bool) -> Option<ContainerView> {
        let state = match (&state.terminated, &state.waiting) {
            (Some(ended), _) => ContainerState::Terminated {
                exit_code: ended.exit_code,
                reason: boxed(ended.reason.as_ref()),
                message: boxed(ended.message.as_ref()),
                finished_at: ended
                    .finished_at
                    .as_ref()
                    .and_then(|t| t.0.parse::<Timestamp>().ok()),
            },
            (None, Some(waiting)) => ContainerState::Waiting {
                reason: boxed(waiting.reason.as_ref()).filter(|r| !is_start(r))?,
                message: boxed(waiting.message.as_ref()),
            },
            (None, None) => return None,
        };
        Some(ContainerView {
            name: self.name.0.as_ref().into(),
            init,
            state,
        })
    }
}

/// Returns `true` for reasons that every container waits for once.
fn is_start(reason: &str) -> bool {
    matches!(reason, "ContainerCreating" | "PodInitializing")
}
