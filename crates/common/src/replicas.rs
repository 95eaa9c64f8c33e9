//! All replicas of a job, in rank order, with the names by which pods find each other.

use crate::kind::{RoleInfo, Workload};
use crate::names::{Rank, ReplicaId, ReplicaIndex, Role};

/// A replica with its rank and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Role and index.
    pub id: ReplicaId,
    /// Position in the job, leader first.
    pub rank: Rank,
    /// Name of the pod or batch Job of the replica. It is also its host name, and the name of its own Service if it has
    /// one.
    pub name: String,
    /// Workload that runs the replica.
    pub workload: Workload,
}

/// All replicas of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    replicas: Vec<Replica>,
}

impl Replicas {
    /// Creates `count` replicas for each role, in the given order.
    #[must_use]
    pub fn new(job: &str, roles: impl IntoIterator<Item = (&'static RoleInfo, u32)>) -> Self {
        let all = roles
            .into_iter()
            .flat_map(|(info, count)| (0..count).map(move |i| (info, ReplicaIndex(i))));
        let replicas = all
            .zip(0..)
            .map(|((info, index), rank)| Replica {
                id: ReplicaId {
                    role: info.role,
                    index,
                },
                rank: Rank(rank),
                name: info.replica_name(job, index),
                workload: info.workload,
            })
            .collect();
        Self { replicas }
    }

    /// Replicas in rank order.
    #[must_use]
    pub fn all(&self) -> &[Replica] {
        &self.replicas
    }

    /// Replicas of one role, by index.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(move |s| s.id.role == role)
    }

    /// First replica of the first of these roles that has any.
    #[must_use]
    pub fn first_of(&self, roles: &[Role]) -> Option<ReplicaId> {
        roles.iter().find_map(|role| Some(self.of(*role).next()?.id))
    }

    /// Number of replicas of one role.
    #[must_use]
    pub fn count(&self, role: Role) -> u32 {
        u32::try_from(self.of(role).count()).unwrap_or(u32::MAX)
    }

    /// Number of replicas.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.replicas.len()).unwrap_or(u32::MAX)
    }

    /// True if the job has no replicas.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }
}
