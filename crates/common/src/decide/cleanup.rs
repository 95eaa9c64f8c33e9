//! Step for a job that has ended: delete what is left of it, and the job itself after its time to live. An end is
//! final.

use crate::api::{CleanPodPolicy, JobStatus};
use crate::kind::KindInfo;
use crate::objects::ChildKind;
use crate::observe::{BatchJobView, ContainerState, ContainerView, Observed, Phase, PodView};
use crate::plan::{Counter, Plan, Write};
use crate::problems::Problems;
use crate::unreachable::UnreachableNodes;
use crate::{conditions, resolve};

use super::facts::context::{after, done, finish_plan};
use super::facts::deletes;

/// Seconds after the end of the job in which a pod with an ended container is not deleted as a running pod. The kubelet
/// reports the end of the container first and the end of the pod a moment later, and a finished pod is kept with its
/// log.
const TO_FINISH: i64 = 10;

pub(super) fn plan(
    info: &KindInfo,
    observed: &Observed,
    stored: &JobStatus,
    unreachable: &UnreachableNodes<'_>,
) -> Plan {
    let policy = resolve::run_policy(info, &observed.job, &mut Problems::default());
    let mut status = stored.clone();
    // Upstream left some jobs without a completion time, but every rule about the time after the end needs it.
    let ended = status
        .completion_time
        .get_or_insert_with(|| conditions::whole_seconds(observed.now))
        .0;
    let due = policy.ttl.map(|ttl| after(ended, ttl));
    if stored.completion_time.is_some() && due.is_some_and(|due| due <= observed.now) {
        return delete_job(observed);
    }
    let finished_by = after(ended, TO_FINISH);
    let finishing = |pod: &PodView| observed.now < finished_by && is_finishing(pod);
    let policy = stored.cleanup.unwrap_or(policy.clean_pod_policy);
    let writes = clean_up(observed, unreachable, policy, &finishing);
    let waits = policy == CleanPodPolicy::Running && observed.pods.iter().any(|pod| finishing(pod));
    Plan {
        requeue_at: due.into_iter().chain(waits.then_some(finished_by)).min(),
        ..finish_plan(stored, status, writes, Vec::new())
    }
}

fn delete_job(observed: &Observed) -> Plan {
    let job = &observed.job;
    let delete = Write::DeleteJob {
        uid: job.uid.clone(),
        resource_version: job.resource_version.clone(),
    };
    let event = done("SuccessfulDeleteJob", format!("Deleted job: {}", job.key.name));
    Plan {
        writes: vec![delete],
        events: vec![event],
        counters: vec![Counter::Deleted],
        ..Plan::default()
    }
}

/// True if a container of a running pod has ended.
fn is_finishing(pod: &PodView) -> bool {
    let ended = |c: &ContainerView| !c.init && matches!(c.state, ContainerState::Terminated { .. });
    pod.phase == Phase::Running
        && pod
            .detail
            .as_ref()
            .is_some_and(|d| d.containers.iter().any(ended))
}

fn clean_up(
    observed: &Observed,
    unreachable: &UnreachableNodes<'_>,
    policy: CleanPodPolicy,
    finishing: &dyn Fn(&PodView) -> bool,
) -> Vec<Write> {
    let doomed = |pod: &PodView| match policy {
        CleanPodPolicy::All => true,
        CleanPodPolicy::Running => !matches!(pod.phase, Phase::Succeeded | Phase::Failed) && !finishing(pod),
        CleanPodPolicy::None => false,
    };
    let pods = observed.pods.iter().filter(|pod| doomed(pod) || pod.deleting);
    let mut writes: Vec<Write> = pods.filter_map(|pod| deletes::delete(unreachable, pod)).collect();
    writes.extend(deletes::carried(unreachable, observed));
    let doomed_job = |job: &BatchJobView| match policy {
        CleanPodPolicy::All => true,
        CleanPodPolicy::Running => job.end.is_none(),
        CleanPodPolicy::None => false,
    };
    let jobs = observed
        .batch_jobs
        .iter()
        .filter(|job| doomed_job(job) && !job.deleting);
    writes.extend(jobs.map(|job| deletes::delete_batch_job(job)));
    // No other object beside the pods is needed any more. (A PodGroup of Kubernetes' own API stays as long as pods of
    // it run.)
    let others = observed.children.iter().filter(|c| c.kind != ChildKind::Service);
    writes.extend(others.filter(|c| !c.deleting).map(|c| deletes::delete_child(c)));
    // A Service of one pod is deleted with its pod. A Service of the whole job is deleted with the last pods.
    let services = observed.standing(ChildKind::Service);
    let doomed_service = |name: &str| {
        policy == CleanPodPolicy::All || observed.pods.iter().any(|pod| *pod.name == *name && doomed(pod))
    };
    writes.extend(
        services
            .filter(|s| doomed_service(&s.name))
            .map(deletes::delete_child),
    );
    writes
}
