//! The cast of a job: every slot in rank order, with the names by which pods find each other.

use crate::kind::{RoleInfo, Workload};
use crate::names::{Rank, ReplicaIndex, Role, SlotId};

/// A slot with its rank and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Role and index.
    pub id: SlotId,
    /// Position in the job, leader first.
    pub rank: Rank,
    /// Name of what carries the slot, its host name, and name of the Service that reaches it alone where there is one.
    pub name: String,
    /// What carries it.
    pub workload: Workload,
}

/// All slots of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    slots: Vec<Slot>,
}

impl Cast {
    /// Lines up `count` slots for each role, in the order given.
    #[must_use]
    pub fn new(job: &str, roles: impl IntoIterator<Item = (&'static RoleInfo, u32)>) -> Self {
        let all = roles
            .into_iter()
            .flat_map(|(info, count)| (0..count).map(move |i| (info, ReplicaIndex(i))));
        let slots = all
            .zip(0..)
            .map(|((info, index), rank)| Slot {
                id: SlotId {
                    role: info.role,
                    index,
                },
                rank: Rank(rank),
                name: info.slot_name(job, index),
                workload: info.workload,
            })
            .collect();
        Self { slots }
    }

    /// Slots in rank order.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Slots of one role, by index.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(move |s| s.id.role == role)
    }

    /// The first slot of the first of these roles that has any.
    #[must_use]
    pub fn first_of(&self, roles: &[Role]) -> Option<SlotId> {
        roles.iter().find_map(|role| Some(self.of(*role).next()?.id))
    }

    /// Number of slots of one role.
    #[must_use]
    pub fn count(&self, role: Role) -> u32 {
        u32::try_from(self.of(role).count()).unwrap_or(u32::MAX)
    }

    /// Number of slots.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Whether the job has no slot at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}
