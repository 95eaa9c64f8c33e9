//! The leader is never scaled away. Whoever takes the last replica of the role that leads a running job (or that role
//! itself) has slipped, or means to stop it: the job goes on as it is and says how that is done.

use crate::cast::Cast;
use crate::names::{Attempt, SlotId};
use crate::observe::Phase;
use crate::plan::Plan;
use crate::tally;

use super::facts::context::{Question, state_created};
use super::invalid;

pub(super) fn plan(q: &Question<'_>) -> Option<Plan> {
    let leader = lost(q)?;
    // Its time is over all the same.
    let due = q.deadline();
    if due.is_some_and(|due| due <= q.now()) {
        return None;
    }
    let (info, key) = (q.job.info, &q.job.key);
    let name = info.of_role(leader.role)?.slot_name(&key.name, leader.index);
    let message = format!(
        "{} goes on with the pods that it has: spec.{}[{}] without replicas would take away {name}, which leads the job; \
         to stop it, set spec.runPolicy.suspend to true",
        q.title(),
        info.replicas_field,
        leader.role,
    );
    // Its pods are in no slot, and yet they run.
    let mut status = q.job.stored.clone();
    state_created(&mut status, q.now(), info, key);
    let of_role = q.tally.strays.iter().filter(|(id, _)| id.role == leader.role);
    let runs = of_role.filter(|(_, pod)| pod.phase == Phase::Running && !pod.deleting);
    if let Some(counts) = status.replica_statuses.get_mut(leader.role.0) {
        counts.active = i32::try_from(runs.count()).unwrap_or(i32::MAX);
    }
    Some(Plan {
        wake: due,
        ..invalid::goes_on(info, &q.job.stored, status, message)
    })
}

/// The slot that leads the job as it runs, if it is not to be any more.
fn lost(q: &Question<'_>) -> Option<SlotId> {
    let current = |id: SlotId, attempt: Attempt| attempt >= tally::stored_attempt(&q.job.stored, id);
    let strays = q.tally.strays.iter().map(|(id, pod)| (*id, pod.attempt));
    let lost: Vec<SlotId> = strays
        .chain(q.tally.lost_strays.iter().copied())
        .filter(|(id, attempt)| current(*id, *attempt))
        .map(|(id, _)| id)
        .collect();
    if lost.is_empty() {
        return None;
    }
    let runs = q.job.info.roles.iter().map(|info| {
        let wanted = q.job.replica(info.role).map_or(0, |r| r.count);
        let there = lost.iter().filter(|id| id.role == info.role);
        let there = there.map(|id| id.index.0.saturating_add(1)).max().unwrap_or(0);
        (info, wanted.max(there))
    });
    let cast = Cast::new(&q.job.key.name, runs);
    // Where nobody leads, such as parameter servers alone, it is rank 0.
    let first = || cast.slots().first().map(|slot| slot.id);
    let leader = q.framework.leader(&cast, q.job).or_else(first);
    let leaders = [leader, q.framework.rendezvous(&cast, q.job)];
    // Whether or not it has a pod at this moment.
    let wanted = |id: &SlotId| q.job.replica(id.role).is_some_and(|r| id.index.0 < r.count);
    leaders.into_iter().flatten().find(|id| !wanted(id))
}
