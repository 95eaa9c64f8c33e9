//! Observed pods sorted into the slots of the cast. Every question of `decide` starts from here.
//!
//! A pod is judged by the training container of its kind, else by its phase: a side-car that somebody's webhook
//! added can neither fail nor hold up a slot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{JobStatus, RestartPolicy};
use crate::cast::{Slot, SlotId};
use crate::names::{self, Attempt, ReplicaIndex, Role};
use crate::observe::{ContainerState, ContainerView, Observed, Phase, PodDetail, PodView};
use crate::resolve::ResolvedJob;

/// All slots of a job with what is known about each.
#[derive(Debug, Clone)]
pub struct Tally {
    /// In rank order.
    pub slots: Vec<SlotTally>,
    /// Pods of this job whose slot no longer exists (scaled down).
    pub strays: Vec<(SlotId, Arc<PodView>)>,
    /// Attempts of such pods that vanished before they were dealt with.
    pub lost_strays: Vec<(SlotId, Attempt)>,
}

/// One slot with what is known about it.
#[derive(Debug, Clone)]
pub struct SlotTally {
    /// The slot.
    pub slot: Slot,
    /// The attempt that runs or is to run.
    pub attempt: Attempt,
    /// Restart policy of its role.
    pub policy: RestartPolicy,
    /// What it is doing.
    pub state: SlotState,
    /// Its pod, of whatever attempt.
    pub pod: Option<Arc<PodView>>,
    /// Container restarts of a pod that vanished.
    pub lost_restarts: u32,
}

/// What a slot is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// No pod.
    Missing,
    /// Its pod vanished without our doing.
    Lost,
    /// A pod of an earlier attempt is still there.
    Previous,
    /// Its pod is being deleted, not by us. Neither failed nor done: to be replaced.
    Terminating,
    /// Its pod waits.
    Pending,
    /// Its pod runs.
    Running,
    /// It has done its work.
    Succeeded,
    /// Its pod failed.
    Failed(Failure),
}

/// How a pod failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whether somebody took the pod away (preemption, eviction, drain, node shutdown), by the reason given.
    pub disruption: Option<String>,
    /// Exit code of the training container, or of the init container that failed.
    pub exit_code: Option<i32>,
    /// When its container ended.
    pub finished_at: Option<Timestamp>,
    /// Sentence for people: pod, container, exit code or reason, node, last line of the termination message.
    pub text: String,
}

impl Tally {
    /// Slots in a state.
    pub fn in_state<'a>(
        &'a self,
        role: Option<Role>,
        wanted: &'a SlotState,
    ) -> impl Iterator<Item = &'a SlotTally> {
        self.slots
            .iter()
            .filter(move |s| role.is_none_or(|r| s.slot.id.role == r) && s.state == *wanted)
    }

    /// Number of slots of a role in a state.
    #[must_use]
    pub fn count(&self, role: Role, wanted: &SlotState) -> u32 {
        u32::try_from(self.in_state(Some(role), wanted).count()).unwrap_or(u32::MAX)
    }

    /// Container restarts in place of the pods that exist and are of the current attempt.
    #[must_use]
    pub fn in_place_restarts(&self) -> u32 {
        let current = self.slots.iter().filter(|s| s.state != SlotState::Previous);
        current
            .filter_map(|s| s.pod.as_ref())
            .fold(0_u32, |sum, pod| sum.saturating_add(pod.restarts))
    }
}

/// Sorts what was observed into the slots of the cast.
#[must_use]
pub fn tally(observed: &Observed, job: &ResolvedJob) -> Tally {
    let mut by_slot: BTreeMap<(String, u32), Arc<PodView>> = BTreeMap::new();
    for pod in &observed.pods {
        if let Some(index) = pod.index {
            by_slot.insert((pod.role.to_string(), index), Arc::clone(pod));
        }
    }
    let done = done_slots(&job.stored, job);
    let mut slots = Vec::with_capacity(job.cast.slots().len());
    for slot in job.cast.slots() {
        let key = (slot.id.role.lower(), slot.id.index.0);
        let pod = by_slot.remove(&key).filter(|pod| *pod.name == *slot.name);
        slots.push(slot_tally(observed, job, slot, pod, done.contains(&slot.id)));
    }
    let strays = by_slot.into_iter().filter_map(|((role, index), pod)| {
        let id = slot_id(job, &role, index)?;
        (*pod.name == *names::replica(&job.key.name, id.role, id.index)).then_some((id, pod))
    });
    let strays = strays.collect();
    let lost = observed
        .vanished
        .iter()
        .filter_map(|v| Some((slot_id(job, &v.role, v.index)?, v.attempt)));
    let lost_strays = lost
        .filter(|(id, _)| !slots.iter().any(|s| s.slot.id == *id))
        .collect();
    Tally {
        slots,
        strays,
        lost_strays,
    }
}

fn slot_id(job: &ResolvedJob, role: &str, index: u32) -> Option<SlotId> {
    let role = job.info.roles.iter().find(|r| r.role.lower() == role)?.role;
    Some(SlotId {
        role,
        index: ReplicaIndex(index),
    })
}

fn slot_tally(
    observed: &Observed,
    job: &ResolvedJob,
    slot: &Slot,
    pod: Option<Arc<PodView>>,
    done: bool,
) -> SlotTally {
    let stored = stored_attempt(&job.stored, slot.id);
    // A status that somebody wiped must not turn live pods into pods of the future.
    let attempt = pod.as_ref().map_or(stored, |pod| stored.max(pod.attempt));
    let policy = job
        .replica(slot.id.role)
        .map_or(job.info.default_restart_policy, |r| r.restart_policy);
    let vanished = observed
        .vanished
        .iter()
        .find(|v| *v.role == *slot.id.role.lower() && v.index == slot.id.index.0 && v.attempt == attempt);
    let state = match (&pod, done) {
        (_, true) => SlotState::Succeeded,
        (Some(pod), _) if pod.attempt < attempt => SlotState::Previous,
        (Some(pod), _) => pod_state(pod, job.info.container, policy),
        (None, _) => match vanished {
            Some(v) if v.succeeded => SlotState::Succeeded,
            Some(_) => SlotState::Lost,
            None => SlotState::Missing,
        },
    };
    let lost_restarts = if state == SlotState::Lost {
        vanished.map_or(0, |v| v.restarts)
    } else {
        0
    };
    SlotTally {
        slot: slot.clone(),
        attempt,
        policy,
        state,
        pod,
        lost_restarts,
    }
}

/// The attempt that status holds for a slot.
#[must_use]
pub fn stored_attempt(stored: &JobStatus, id: SlotId) -> Attempt {
    let own = stored
        .slots
        .get(&names::slot_key(id.role, id.index))
        .map_or(0, |s| s.attempt);
    Attempt(own.max(stored.attempt))
}

fn pod_state(pod: &PodView, container: &str, policy: RestartPolicy) -> SlotState {
    if pod.deleting {
        return SlotState::Terminating;
    }
    let ended = pod.detail.as_deref().and_then(|d| main_exit(d, container));
    // The kubelet does not start the training container again under these policies, so its end is the slot's end even
    // while a side-car goes on.
    let final_exit = match (policy, ended) {
        (RestartPolicy::Never | RestartPolicy::ExitCode, exit) => exit,
        (RestartPolicy::OnFailure, Some(0)) => Some(0),
        (RestartPolicy::OnFailure | RestartPolicy::Always, _) => None,
    };
    match (pod.phase, final_exit) {
        (Phase::Succeeded, _) | (Phase::Running | Phase::Unknown, Some(0)) => SlotState::Succeeded,
        (Phase::Failed, _) if ended == Some(0) && disruption(pod).is_none() => SlotState::Succeeded,
        (Phase::Failed, _) | (Phase::Running | Phase::Unknown, Some(_)) => {
            SlotState::Failed(failure(pod, container))
        }
        (Phase::Running, None) => SlotState::Running,
        (Phase::Pending, _) | (Phase::Unknown, None) => SlotState::Pending,
    }
}

fn main_exit(detail: &PodDetail, container: &str) -> Option<i32> {
    detail
        .containers
        .iter()
        .find(|c| !c.init && *c.name == *container)
        .and_then(exit_code)
}

fn exit_code(container: &ContainerView) -> Option<i32> {
    match &container.state {
        ContainerState::Terminated { exit_code, .. } => Some(*exit_code),
        ContainerState::Waiting { .. } => None,
    }
}

fn disruption(pod: &PodView) -> Option<String> {
    pod.detail
        .as_deref()?
        .disruption
        .as_ref()
        .map(ToString::to_string)
}

/// The container that tells why the pod failed: the training container, else an init container, else any that failed.
fn culprit<'a>(detail: &'a PodDetail, container: &str) -> Option<&'a ContainerView> {
    let failed = |c: &&ContainerView| exit_code(c).is_some_and(|code| code != 0);
    let mut all = detail.containers.iter().filter(failed);
    let main = detail
        .containers
        .iter()
        .filter(failed)
        .find(|c| !c.init && *c.name == *container);
    main.or_else(|| all.next())
}

fn failure(pod: &PodView, container: &str) -> Failure {
    let none = PodDetail::default();
    let detail = pod.detail.as_deref().unwrap_or(&none);
    let mut words = vec![format!("pod {}", pod.name)];
    let (mut code, mut at) = (None, None);
    let mut last = detail.message.as_deref().and_then(last_line);
    let culprit = culprit(detail, container);
    if let Some(ContainerView { name, init, state }) = culprit
        && let ContainerState::Terminated {
            exit_code,
            reason,
            message,
            finished_at,
        } = state
    {
        (code, at) = (Some(*exit_code), *finished_at);
        let init = if *init { "init container" } else { "container" };
        words.push(format!("{init} {name} exited with code {exit_code}"));
        words.extend(reason.as_ref().map(|reason| format!("({reason})")));
        last = message.as_deref().and_then(last_line).or(last);
    }
    match (&detail.reason, culprit) {
        (Some(reason), Some(_)) => words.push(format!("and was {reason}")),
        (Some(reason), None) => words.push(format!("was {reason}")),
        (None, None) => words.push("failed without a container status".to_owned()),
        (None, Some(_)) => {}
    }
    words.extend(
        detail
            .disruption
            .as_ref()
            .map(|reason| format!("(disruption: {reason})")),
    );
    words.extend(pod.node.as_ref().map(|node| format!("on node {node}")));
    let mut text = words.join(" ");
    if let Some(last) = last {
        text.push_str(": ");
        text.push_str(&last);
    }
    Failure {
        disruption: disruption(pod),
        exit_code: code,
        finished_at: at,
        text,
    }
}

/// Last line with anything on it, cut to 256 characters so that a status stays small.
fn last_line(message: &str) -> Option<String> {
    let line = message
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())?;
    Some(line.chars().take(256).collect())
}

/// Slots that status remembers as done.
fn done_slots(stored: &JobStatus, job: &ResolvedJob) -> BTreeSet<SlotId> {
    let roles = job.info.roles.iter().filter_map(|r| {
        let text = stored
            .replica_statuses
            .get(r.role.0)?
            .succeeded_indices
            .as_deref()?;
        Some(parse_indices(text).into_iter().map(|i| SlotId {
            role: r.role,
            index: ReplicaIndex(i),
        }))
    });
    roles.flatten().collect()
}

/// Reads `0-3,7`. What cannot be read is left out.
#[must_use]
pub fn parse_indices(text: &str) -> BTreeSet<u32> {
    let ranges = text.split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse::<u32>().ok()?..=to.parse::<u32>().ok()?.min(1_000_000))
    });
    ranges.flatten().collect()
}

/// Writes `0-3,7`; `None` for no index.
#[must_use]
pub fn format_indices(indices: &BTreeSet<u32>) -> Option<String> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &index in indices {
        match ranges.last_mut() {
            Some((_, to)) if to.checked_add(1) == Some(index) => *to = index,
            _ => ranges.push((index, index)),
        }
    }
    let text = |(from, to): (u32, u32)| {
        if from == to {
            from.to_string()
        } else {
            format!("{from}-{to}")
        }
    };
    (!ranges.is_empty()).then(|| ranges.into_iter().map(text).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_round_trip() {
        for text in ["0", "0-3,7", "2,4-5,9"] {
            assert_eq!(format_indices(&parse_indices(text)).as_deref(), Some(text));
        }
        assert_eq!(format_indices(&BTreeSet::new()), None);
        assert_eq!(parse_indices("x,1"), BTreeSet::from([1]));
    }

    #[test]
    fn last_line_skips_blank_ends() {
        assert_eq!(last_line("a\nboom \n\n").as_deref(), Some("boom"));
        assert_eq!(last_line(" \n"), None);
    }
}
