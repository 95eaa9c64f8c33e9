//! Roles that depend on another role, such as a launcher on its workers: when such a replica waits, and when its failure is
//! the dependency's.

use super::context::Question;
use crate::names::{self, Role};
use crate::observe::{ContainerState, ContainerView, PodView};
use crate::status;
use crate::tally::{SlotState, SlotTally};

/// So often a launcher is forgiven; after that its failures are its own, whatever its workers do.
pub(crate) const MOST_IN_VAIN: u32 = 10;

/// A launcher that fails while a worker is not there does so for that reason: rather than let it try again and again
/// in vain, it is begun anew when all workers are ready. One that goes on (an elastic run) is left alone.
pub(crate) fn drives_in_vain(q: &Question<'_>, slot: &SlotTally) -> bool {
    let begun_anew = slot.attempt.0.saturating_sub(q.job.stored.attempt);
    let missing = |needed| not_ready(q, needed).next().is_some();
    needs(q, slot)
        .is_some_and(|needed| begun_anew < MOST_IN_VAIN && is_in_trouble(q, slot) && missing(needed))
}

/// Retries that are not held against the job: what failed because of another did so once, and the other counts.
pub(crate) fn forgiven(q: &Question<'_>) -> u32 {
    let in_vain = q.tally.slots.iter().filter(|slot| drives_in_vain(q, slot));
    in_vain.fold(0, |sum, slot| sum.saturating_add(slot.retries.min(1)))
}

/// The role whose pods this slot drives.
pub(crate) fn needs(q: &Question<'_>, slot: &SlotTally) -> Option<Role> {
    q.job.info.of_role(slot.slot.id.role)?.needs
}

pub(crate) fn is_in_trouble(q: &Question<'_>, slot: &SlotTally) -> bool {
    let known = q
        .job
        .stored
        .restart_counts
        .as_ref()
        .map_or(0, |counts| counts.in_place);
    let retried = status::to_i32(slot.retries) > known;
    let down = |pod: &PodView| {
        pod.detail
            .as_ref()
            .is_some_and(|d| d.containers.iter().any(|c| is_down(c, slot)))
    };
    match slot.state {
        SlotState::Failed(_) => true,
        SlotState::Running | SlotState::Pending => retried || slot.pod.as_deref().is_some_and(down),
        SlotState::Missing
        | SlotState::Lost
        | SlotState::Previous
        | SlotState::Terminating
        | SlotState::Succeeded => false,
    }
}

/// Whether the container has ended badly at least once and does not run now.
pub(crate) fn is_down(container: &ContainerView, slot: &SlotTally) -> bool {
    match &container.state {
        ContainerState::Terminated { exit_code, .. } => *exit_code != 0,
        ContainerState::Waiting { .. } => slot.retries > 0,
    }
}

/// A first start need not wait unless the job says so.
pub(crate) fn must_wait(q: &Question<'_>, slot: &SlotTally, needed: Role) -> bool {
    let key = names::slot_key(slot.slot.id.role, slot.slot.id.index);
    let again = q.job.stored.slots.contains_key(&key);
    (again || q.framework.waits_for_needed(q.job)) && not_ready(q, needed).next().is_some()
}

/// Slots of a role that are not there for those that drive them.
pub(crate) fn not_ready<'a>(q: &'a Question<'_>, role: Role) -> impl Iterator<Item = &'a SlotTally> {
    let of_role = q.tally.slots.iter().filter(move |s| s.slot.id.role == role);
    of_role.filter(|slot| match &slot.state {
        SlotState::Running => slot.pod.as_ref().is_none_or(|pod| !pod.ready),
        // Whoever lets a worker end knows why.
        SlotState::Succeeded => false,
        SlotState::Missing
        | SlotState::Lost
        | SlotState::Previous
        | SlotState::Terminating
        | SlotState::Pending
        | SlotState::Failed(_) => true,
    })
}
