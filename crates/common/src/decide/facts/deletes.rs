//! Delete requests, and how they differ for pods on an unreachable node.
//!
//! Invariant: a pod is deleted by force only after it is presumed dead. As with every delete, the next attempt of its
//! replica (or the suspension, or the end) is stored first.

use crate::kind::Workload;
use crate::observe::{BatchJobView, ChildView, Observed, PodView};
use crate::plan::Write;
use crate::replica_states::ReplicaState;
use crate::unreachable::UnreachableNodes;

use super::context::Context;

/// Delete request for a pod, unless it is already being deleted. A pod that is presumed dead is deleted by force: its
/// deletion would never complete otherwise.
pub(crate) fn delete(unreachable: &UnreachableNodes<'_>, pod: &PodView) -> Option<Write> {
    let force = unreachable.presumed_dead(pod);
    let there = if force { !pod.forced } else { !pod.deleting };
    there.then(|| Write::DeletePod {
        name: pod.name.to_string(),
        uid: pod.uid.clone(),
        force,
    })
}

/// Forced deletes of pods of batch Jobs. Their own controller deletes these pods. But a pod that is presumed dead would
/// block its batch Job forever, because the Job's deletion waits for the end of its pods.
pub(crate) fn carried(
    unreachable: &UnreachableNodes<'_>,
    observed: &Observed,
) -> impl Iterator<Item = Write> {
    let doomed = observed.batch_pods.iter().map(|(_, pod)| pod);
    let doomed = doomed.filter(|pod| pod.deleting && unreachable.presumed_dead(pod));
    doomed.filter_map(|pod| delete(unreachable, pod))
}

/// Reason why a replica's pod must be replaced although it has not failed.
pub(crate) fn removal(unreachable: &UnreachableNodes<'_>, replica: &ReplicaState) -> String {
    let Some(pod) = replica.pod.as_deref() else {
        return format!("pod {} was deleted", replica.name());
    };
    let place = unreachable.place(pod);
    if let Some(place) = place
        .as_ref()
        .filter(|_| unreachable.presumed_dead(pod) && !pod.deleting)
    {
        return format!("pod {} was lost with {place}", pod.name);
    }
    let place = place.map(|place| format!(" on {place}")).unwrap_or_default();
    match pod
        .detail
        .as_deref()
        .and_then(|detail| detail.disruption.as_ref())
    {
        Some(why) => format!("pod {} was taken away{place} (disruption: {why})", replica.name()),
        None => format!("pod {} was deleted{place}", replica.name()),
    }
}

pub(crate) fn delete_batch_job(job: &BatchJobView) -> Write {
    Write::DeleteBatchJob {
        name: job.name.to_string(),
        uid: job.uid.clone(),
    }
}

pub(crate) fn delete_child(child: &ChildView) -> Write {
    Write::DeleteChild {
        kind: child.kind,
        name: child.name.to_string(),
        uid: child.uid.clone(),
    }
}

/// Delete request for the pod or batch Job of a replica, unless it is already being deleted.
pub(crate) fn delete_replica(ctx: &Context<'_>, replica: &ReplicaState) -> Option<Write> {
    match (replica.replica.workload, &replica.batch_job) {
        (Workload::BatchJob, Some(job)) => (!job.deleting).then(|| delete_batch_job(job)),
        (Workload::BatchJob, None) => None,
        (Workload::Pod, _) => replica
            .pod
            .as_deref()
            .and_then(|pod| delete(&ctx.unreachable, pod)),
    }
}

/// Deletes of all existing pods and batch Jobs.
pub(crate) fn carriers<'a>(ctx: &Context<'a>) -> impl Iterator<Item = Write> + use<'a> {
    let (unreachable, observed) = (ctx.unreachable, ctx.observed);
    let pods = observed
        .pods
        .iter()
        .filter_map(move |pod| delete(&unreachable, pod));
    let jobs = observed.batch_jobs.iter().filter(|job| !job.deleting);
    let carried: Vec<Write> = carried(&unreachable, observed).collect();
    pods.chain(jobs.map(|job| delete_batch_job(job))).chain(carried)
}
