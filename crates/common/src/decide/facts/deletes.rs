//! Delete requests, and how they differ for pods on an unreachable node.
//!
//! Invariant: a pod is deleted by force only once it is presumed dead, and, as with every delete, after the next attempt of its
//! replica (or the suspension, or the end) is stored.

use crate::kind::Workload;
use crate::observe::{BatchJobView, ChildView, Observed, PodView};
use crate::plan::Write;
use crate::replica_states::ReplicaState;
use crate::unreachable::UnreachableNodes;

use super::context::Context;

/// The request that takes a pod away, unless it is on its way out. One that is given up would be so for ever: it is
/// taken away by force.
pub(crate) fn delete(unreachable: &UnreachableNodes<'_>, pod: &PodView) -> Option<Write> {
    let force = unreachable.presumed_dead(pod);
    let there = if force { !pod.forced } else { !pod.deleting };
    there.then(|| Write::DeletePod {
        name: pod.name.to_string(),
        uid: pod.uid.clone(),
        force,
    })
}

/// Pods of batch Jobs are their own controller's to delete; but one that is given up would hold its batch Job, whose
/// end waits for it, for ever.
pub(crate) fn carried(
    unreachable: &UnreachableNodes<'_>,
    observed: &Observed,
) -> impl Iterator<Item = Write> {
    let doomed = observed.batch_pods.iter().map(|(_, pod)| pod);
    let doomed = doomed.filter(|pod| pod.deleting && unreachable.presumed_dead(pod));
    doomed.filter_map(|pod| delete(unreachable, pod))
}

/// Why a replica's pod has to be replaced although it has not failed.
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

/// The request that takes away what carries a replica, unless it is on its way out.
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

/// Deletes of all pods and batch Jobs that stand.
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
