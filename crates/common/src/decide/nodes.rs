//! How pods are deleted, and taken leave of, where their node does not answer.
//!
//! Invariant: a pod is deleted by force only once it is given up, and, as with every delete, after its slot's next attempt
//! (or the suspension, or the end) is stored.

use crate::nodes::Losses;
use crate::observe::{Observed, PodView};
use crate::plan::Write;
use crate::tally::SlotTally;

/// The request that takes a pod away, unless it is on its way out. One that is given up would be so for ever: it is
/// taken away by force.
pub(super) fn delete(losses: &Losses<'_>, pod: &PodView) -> Option<Write> {
    let force = losses.given_up(pod);
    let there = if force { !pod.forced } else { !pod.deleting };
    there.then(|| Write::DeletePod {
        name: pod.name.to_string(),
        uid: pod.uid.clone(),
        force,
    })
}

/// Pods of batch Jobs are their own controller's to delete; but one that is given up would hold its batch Job, whose
/// end waits for it, for ever.
pub(super) fn carried(losses: &Losses<'_>, observed: &Observed) -> impl Iterator<Item = Write> {
    let doomed = observed.batch_pods.iter().map(|(_, pod)| pod);
    let doomed = doomed.filter(|pod| pod.deleting && losses.given_up(pod));
    doomed.filter_map(|pod| delete(losses, pod))
}

/// Why a slot's pod has to be replaced although it has not failed.
pub(super) fn taken_away(losses: &Losses<'_>, slot: &SlotTally) -> String {
    let Some(pod) = slot.pod.as_deref() else {
        return format!("pod {} was deleted", slot.slot.name);
    };
    let place = losses.place(pod);
    if let Some(place) = place.as_ref().filter(|_| losses.given_up(pod) && !pod.deleting) {
        return format!("pod {} was lost with {place}", pod.name);
    }
    let place = place.map(|place| format!(" on {place}")).unwrap_or_default();
    match pod
        .detail
        .as_deref()
        .and_then(|detail| detail.disruption.as_ref())
    {
        Some(why) => format!("pod {} was taken away{place} (disruption: {why})", slot.slot.name),
        None => format!("pod {} was deleted{place}", slot.slot.name),
    }
}
