//! Observed pods and batch Jobs, assigned to the replicas of the job. Every decision step starts from these states.
//!
//! The phase of a pod follows from its kind's training container if possible, otherwise from the pod's own phase. A
//! side-car added by a webhook can neither fail a replica nor keep it from ending.

mod failure;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{JobStatus, RestartPolicy, RestartScope};
use crate::job::ResolvedJob;
use crate::kind::Workload;
use crate::names::{self, Attempt, ReplicaId, ReplicaIndex, Role};
use crate::observe::{BatchEnd, BatchJobView, ContainerState, Observed, Phase, PodView, Vanished};
use crate::replicas::Replica;
use crate::unreachable::UnreachableNodes;

pub use failure::Failure;
use failure::{culprit, disruption, ended_by_kubelet, failure, main_exit};

/// Reason of a batch Job that has no retries left.
pub(crate) const RETRIES_USED_UP: &str = "BackoffLimitExceeded";

/// State of all replicas of a job.
#[derive(Debug, Clone)]
pub struct ReplicaStates {
    /// In rank order.
    pub replicas: Vec<ReplicaState>,
    /// Pods of this job whose replica no longer exists (scaled down).
    pub excess: Vec<(ReplicaId, Arc<PodView>)>,
    /// Attempts of such pods that vanished before they were handled.
    pub disappeared_excess: Vec<(ReplicaId, Attempt)>,
}

/// State of one replica.
#[derive(Debug, Clone)]
pub struct ReplicaState {
    /// The replica.
    pub replica: Replica,
    /// Attempt that runs or is to run.
    pub attempt: Attempt,
    /// Restart policy of its role.
    pub policy: RestartPolicy,
    /// Phase.
    pub phase: ReplicaPhase,
    /// Its pod, of any attempt. If a batch Job has made several, the most relevant one for the current state.
    pub pod: Option<Arc<PodView>>,
    /// Its batch Job, of any attempt, if it runs as one.
    pub batch_job: Option<Arc<BatchJobView>>,
    /// Retries of the current pods that happened without this operator: container restarts, and pods that a batch Job
    /// replaced.
    pub retries: u32,
    /// Container restarts of a pod that vanished.
    pub lost_restarts: u32,
}

/// Phase of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaPhase {
    /// It has no pod.
    NotCreated,
    /// Its pod vanished, and this operator had not deleted it.
    Disappeared,
    /// A pod of an earlier attempt still exists.
    Outdated,
    /// Its pod is being deleted, but not by this operator, or it is presumed dead with its node. The replica has
    /// neither failed nor succeeded, and is to be replaced.
    Terminating,
    /// Its pod is pending.
    Pending,
    /// Its pod is running.
    Running,
    /// It has succeeded.
    Succeeded,
    /// Its pod failed.
    Failed(Failure),
}

impl ReplicaState {
    /// Role and index.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.replica.id
    }

    /// Role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.replica.id.role
    }

    /// Name of its pod or batch Job.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.replica.name
    }
}

impl ReplicaStates {
    /// Replicas in a phase.
    pub fn in_phase<'a>(
        &'a self,
        role: Option<Role>,
        wanted: &'a ReplicaPhase,
    ) -> impl Iterator<Item = &'a ReplicaState> {
        self.replicas
            .iter()
            .filter(move |s| role.is_none_or(|r| s.role() == r) && s.phase == *wanted)
    }

    /// Number of replicas of a role in a phase.
    #[must_use]
    pub fn count(&self, role: Role, wanted: &ReplicaPhase) -> u32 {
        u32::try_from(self.in_phase(Some(role), wanted).count()).unwrap_or(u32::MAX)
    }

    /// Container restarts of pods that were seen to vanish.
    #[must_use]
    pub fn lost_restarts(&self) -> u32 {
        self.replicas
            .iter()
            .fold(0_u32, |sum, replica| sum.saturating_add(replica.lost_restarts))
    }

    /// Retries in place, of all pods that exist and are of the current attempt.
    #[must_use]
    pub fn in_place_restarts(&self) -> u32 {
        let current = self.replicas.iter().filter(|s| s.phase != ReplicaPhase::Outdated);
        current.fold(0_u32, |sum, replica| sum.saturating_add(replica.retries))
    }
}

/// Assigns the observed pods and batch Jobs to the replicas of the job.
#[must_use]
pub fn replica_states(
    observed: &Observed,
    job: &ResolvedJob,
    unreachable: &UnreachableNodes<'_>,
) -> ReplicaStates {
    let done = done_replicas(&job.stored, job);
    let pods: BTreeMap<&str, &Arc<PodView>> = observed.pods.iter().map(|pod| (&*pod.name, pod)).collect();
    let of = |replica: &Replica| {
        let done = done.contains(&replica.id);
        match replica.workload {
            Workload::Pod => {
                let pod = pods.get(&*replica.name).copied();
                pod_replica(observed, job, unreachable, replica, pod, done)
            }
            Workload::BatchJob => batch_replica(observed, job, unreachable, replica, done),
        }
    };
    let replicas: Vec<ReplicaState> = job.replicas.all().iter().map(of).collect();
    // Compared by name. This excludes pods that others created with this operator's labels.
    let beyond = |name: &str| {
        let id = job.info.replica_of(&job.key.name, name)?;
        let count = job.role(id.role).map_or(0, |r| r.count);
        (id.index.0 >= count).then_some(id)
    };
    let excess = observed
        .pods
        .iter()
        .filter_map(|pod| Some((beyond(&pod.name)?, Arc::clone(pod))))
        .collect();
    let disappeared_excess = observed
        .vanished
        .iter()
        .filter_map(|v| Some((beyond(&v.name)?, v.attempt)))
        .collect();
    ReplicaStates {
        replicas,
        excess,
        disappeared_excess,
    }
}

/// Data of a replica that does not depend on its workload.
struct Known<'a> {
    attempt: Attempt,
    policy: RestartPolicy,
    container: &'a str,
    vanished: Option<&'a Vanished>,
}

impl<'a> Known<'a> {
    /// `seen` is the attempt of the replica's current pod or batch Job.
    fn of(observed: &'a Observed, job: &'a ResolvedJob, replica: &Replica, seen: Option<Attempt>) -> Self {
        // If somebody deleted the stored status, running pods must not get an attempt above the known one.
        let attempt = stored_attempt(&job.stored, replica.id).max(seen.unwrap_or_default());
        let role = job.role(replica.id.role);
        Self {
            attempt,
            policy: role.map_or(RestartPolicy::Never, |r| r.restart_policy),
            container: role.map_or("", |r| &r.container),
            vanished: observed
                .vanished
                .iter()
                .find(|v| *v.name == *replica.name && v.attempt == attempt),
        }
    }

    fn absent(&self) -> ReplicaPhase {
        match self.vanished {
            Some(v) if v.succeeded => ReplicaPhase::Succeeded,
            Some(_) => ReplicaPhase::Disappeared,
            None => ReplicaPhase::NotCreated,
        }
    }

    fn lost_restarts(&self, phase: &ReplicaPhase) -> u32 {
        let lost = self.vanished.filter(|_| *phase == ReplicaPhase::Disappeared);
        lost.map_or(0, |v| v.restarts)
    }
}

fn pod_replica(
    observed: &Observed,
    job: &ResolvedJob,
    unreachable: &UnreachableNodes<'_>,
    replica: &Replica,
    pod: Option<&Arc<PodView>>,
    done: bool,
) -> ReplicaState {
    let known = Known::of(observed, job, replica, pod.map(|pod| pod.attempt));
    let phase = match pod {
        _ if done => ReplicaPhase::Succeeded,
        Some(pod) if pod.attempt < known.attempt => ReplicaPhase::Outdated,
        Some(pod) => pod_phase(
            pod,
            known.container,
            job.kubelet_policy(known.policy),
            unreachable.presumed_dead(pod),
        ),
        None => known.absent(),
    };
    ReplicaState {
        replica: replica.clone(),
        attempt: known.attempt,
        policy: known.policy,
        lost_restarts: known.lost_restarts(&phase),
        phase,
        retries: pod.map_or(0, |pod| pod.restarts),
        pod: pod.cloned(),
        batch_job: None,
    }
}

/// State of a replica that runs as a batch Job. The batch Job makes its pods itself, under names of its own choice, and
/// retries them. The replica ends when the batch Job ends.
fn batch_replica(
    observed: &Observed,
    job: &ResolvedJob,
    unreachable: &UnreachableNodes<'_>,
    replica: &Replica,
    done: bool,
) -> ReplicaState {
    let carrier = observed.batch_jobs.iter().find(|j| *j.name == *replica.name);
    let known = Known::of(observed, job, replica, carrier.map(|j| j.attempt));
    let prefix = format!("{}-", replica.name);
    let of_carrier = |owner: &&(crate::names::Uid, Arc<PodView>)| match carrier {
        Some(carrier) => owner.0 == carrier.uid,
        None => owner.1.name.starts_with(&prefix),
    };
    let pods: Vec<&Arc<PodView>> = observed
        .batch_pods
        .iter()
        .filter(of_carrier)
        .map(|(_, pod)| pod)
        .collect();
    let pod = pods
        .iter()
        .copied()
        .max_by_key(|pod| telling(pod, known.container))
        .cloned();
    let phase = match carrier {
        _ if done => ReplicaPhase::Succeeded,
        Some(j) if j.attempt < known.attempt => ReplicaPhase::Outdated,
        Some(j) => {
            let given_up = pod.as_ref().is_some_and(|pod| unreachable.presumed_dead(pod));
            batch_phase(j, pod.as_deref(), known.container, given_up)
        }
        // The pods of a deleted batch Job continue to exist for a while, and two launchers must never run at the same
        // time.
        None if pods.iter().any(|pod| pod.attempt >= known.attempt) => match known.absent() {
            ReplicaPhase::Succeeded => ReplicaPhase::Succeeded,
            _ => ReplicaPhase::Disappeared,
        },
        None if !pods.is_empty() => ReplicaPhase::Outdated,
        None => known.absent(),
    };
    let restarts = pods
        .iter()
        .fold(0_u32, |sum, pod| sum.saturating_add(pod.restarts));
    ReplicaState {
        replica: replica.clone(),
        attempt: known.attempt,
        policy: known.policy,
        lost_restarts: known.lost_restarts(&phase),
        phase,
        retries: match job.policy.restart_scope {
            RestartScope::Pod => carrier.map_or(0, |j| own_failures(j, &pods).saturating_add(restarts)),
            // The batch Job makes only one pod. The restart of all replicas counts instead.
            RestartScope::Job => 0,
        },
        pod,
        batch_job: carrier.cloned(),
    }
}

/// Order of several pods by relevance: a live one first, otherwise the one that failed last.
fn telling(pod: &PodView, container: &str) -> (bool, bool, Option<Timestamp>) {
    let ended = matches!(pod.phase, Phase::Succeeded | Phase::Failed);
    let last = || failure(pod, container).finished_at;
    (
        !ended && !pod.deleting,
        pod.phase == Phase::Running,
        if ended { last() } else { None },
    )
}

/// Number of failed pods of a batch Job, without those that were removed, as far as these still exist.
fn own_failures(carrier: &BatchJobView, pods: &[&Arc<PodView>]) -> u32 {
    let taken = pods
        .iter()
        .filter(|pod| pod.phase == Phase::Failed && disruption(pod).is_some());
    carrier
        .failed
        .saturating_sub(u32::try_from(taken.count()).unwrap_or(u32::MAX))
}

/// A batch Job counts every end of a pod and retries by its own rules. If its pod is removed or presumed dead, this
/// operator restarts the batch Job, so that the loss does not count against the job.
fn batch_phase(
    carrier: &BatchJobView,
    pod: Option<&PodView>,
    container: &str,
    given_up_pod: bool,
) -> ReplicaPhase {
    let taken = |pod: &PodView| disruption(pod).is_some() && (pod.deleting || pod.phase == Phase::Failed);
    let may_go_on = carrier
        .end
        .as_ref()
        .is_none_or(|end| end.reason.starts_with(RETRIES_USED_UP));
    match &carrier.end {
        Some(end) if end.succeeded => ReplicaPhase::Succeeded,
        _ if carrier.deleting => ReplicaPhase::Terminating,
        _ if may_go_on && pod.is_some_and(taken) => ReplicaPhase::Terminating,
        None if given_up_pod => ReplicaPhase::Terminating,
        Some(end) => ReplicaPhase::Failed(given_up(carrier, end, pod, container)),
        None => match pod {
            Some(pod) if pod.phase == Phase::Running && !pod.deleting => ReplicaPhase::Running,
            _ => ReplicaPhase::Pending,
        },
    }
}

/// Failure of a batch Job: its own message, and the failure of its last pod. A pod whose container is restarted in
/// place is not Failed when its batch Job fails. The cause then is in the container's earlier termination.
fn given_up(carrier: &BatchJobView, end: &BatchEnd, pod: Option<&PodView>, container: &str) -> Failure {
    let mut last = pod.cloned();
    if let Some(detail) = last
        .as_mut()
        .filter(|pod| pod.phase != Phase::Failed)
        .and_then(|pod| pod.detail.as_mut())
        && !detail
            .containers
            .iter()
            .any(|c| matches!(c.state, ContainerState::Terminated { .. }))
    {
        detail.containers = std::mem::take(&mut detail.earlier);
    }
    let told = last.as_ref().and_then(|pod| {
        let culprit = culprit(pod.detail.as_deref()?, container)?;
        Some((culprit, failure(pod, container)))
    });
    let mut reason = end.reason.to_string();
    let mut text = format!("Job {}: {}", carrier.name, end.message);
    if let Some((culprit, last)) = &told {
        if let ContainerState::Terminated {
            reason: Some(word), ..
        } = &culprit.state
        {
            reason = format!("{reason}/{word}");
        }
        text = format!("{text}: {}", last.text);
    }
    let last = told.map(|(_, last)| last);
    Failure {
        disruption: None,
        exit_code: last.as_ref().and_then(|last| last.exit_code),
        finished_at: last.as_ref().and_then(|last| last.finished_at).or(end.at),
        given_up: Some(reason),
        reason: last
            .as_ref()
            .and_then(|last| last.reason.clone())
            .or_else(|| Some(end.reason.to_string())),
        container: last.as_ref().and_then(|last| last.container.clone()),
        message: last.and_then(|last| last.message),
        text,
    }
}

/// Stored attempt of a replica.
#[must_use]
pub fn stored_attempt(stored: &JobStatus, id: ReplicaId) -> Attempt {
    let own = stored
        .slots
        .get(&names::replica_key(id.role, id.index))
        .map_or(0, |s| s.attempt);
    Attempt(own.max(stored.attempt))
}

fn pod_phase(pod: &PodView, container: &str, policy: &str, given_up: bool) -> ReplicaPhase {
    if pod.deleting {
        return ReplicaPhase::Terminating;
    }
    let ended = pod.detail.as_deref().and_then(|d| main_exit(d, container));
    // Under these policies the kubelet does not start the training container again. Its end is the replica's end, even
    // if a side-car continues.
    let final_exit = match (policy, ended) {
        ("Never", exit) => exit,
        ("OnFailure", Some(0)) => Some(0),
        _ => None,
    };
    match (pod.phase, final_exit) {
        (Phase::Succeeded, _) | (Phase::Running | Phase::Unknown, Some(0)) => ReplicaPhase::Succeeded,
        // A side-car failed. If the kubelet itself ended the pod (deadline, eviction), the pod's status has a reason.
        (Phase::Failed, _) if ended == Some(0) && disruption(pod).is_none() && !ended_by_kubelet(pod) => {
            ReplicaPhase::Succeeded
        }
        (Phase::Failed, _) | (Phase::Running | Phase::Unknown, Some(_)) => {
            ReplicaPhase::Failed(failure(pod, container))
        }
        (Phase::Running | Phase::Unknown, None) | (Phase::Pending, _) if given_up => {
            ReplicaPhase::Terminating
        }
        (Phase::Running, None) => ReplicaPhase::Running,
        (Phase::Pending, _) | (Phase::Unknown, None) => ReplicaPhase::Pending,
    }
}

/// Replicas that have succeeded according to the stored status.
fn done_replicas(stored: &JobStatus, job: &ResolvedJob) -> BTreeSet<ReplicaId> {
    let roles = job.info.roles.iter().filter_map(|r| {
        let text = stored
            .replica_statuses
            .get(r.role.0)?
            .succeeded_indices
            .as_deref()?;
        Some(parse_indices(text).into_iter().map(|i| ReplicaId {
            role: r.role,
            index: ReplicaIndex(i),
        }))
    });
    roles.flatten().collect()
}

/// Parses `0-3,7`. Unreadable parts are skipped.
#[must_use]
pub fn parse_indices(text: &str) -> BTreeSet<u32> {
    let ranges = text.split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse::<u32>().ok()?..=to.parse::<u32>().ok()?.min(1_000_000))
    });
    ranges.flatten().collect()
}

/// Formats indices as `0-3,7`; `None` for no index.
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
}
