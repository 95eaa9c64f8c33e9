//! Counts of replicas and restarts in a [`JobStatus`].

use std::collections::BTreeSet;

use crate::api::{JobStatus, ReplicaStatus};
use crate::job::ResolvedJob;
use crate::names;
use crate::replica_states::{self, ReplicaPhase, ReplicaStates};

/// Updates the counts of a job that has not ended. Pods that are being replaced are not counted.
pub fn count_replicas(status: &mut JobStatus, replicas: &ReplicaStates, job: &ResolvedJob) {
    status.replica_statuses = job
        .roles
        .iter()
        .map(|r| {
            let mut done: BTreeSet<u32> = replicas
                .in_phase(Some(r.role), &ReplicaPhase::Succeeded)
                .map(|s| s.id().index.0)
                .collect();
            let succeeded = i32::try_from(done.len()).unwrap_or(i32::MAX);
            // After a scale-down and scale-up, a replica that had succeeded still counts as succeeded.
            let stored = status
                .replica_statuses
                .get(r.role.0)
                .and_then(|c| c.succeeded_indices.as_deref());
            done.extend(
                stored
                    .map(replica_states::parse_indices)
                    .unwrap_or_default()
                    .range(r.count..),
            );
            let counts = ReplicaStatus {
                active: to_i32(replicas.count(r.role, &ReplicaPhase::Running)),
                succeeded,
                failed: 0,
                label_selector: None,
                selector: job.info.scaled_role.map(|_| {
                    names::role_selector(job.info.controller, &job.key.name, job.info.role_label, r.role)
                }),
                succeeded_indices: replica_states::format_indices(&done),
            };
            (r.role.0.to_owned(), counts)
        })
        .collect();
    let (in_place, lost) = (
        to_i32(replicas.in_place_restarts()),
        to_i32(replicas.lost_restarts()),
    );
    if in_place > 0 || lost > 0 || status.restart_counts.is_some() {
        let counts = status.restart_counts.get_or_insert_default();
        // Restarts of a pod that no longer exists stay counted. It may have been scaled down, have vanished, have
        // succeeded and been removed, or have gone while the operator was not running.
        let gone = counts.in_place.saturating_sub(in_place).max(lost);
        counts.failures = counts.failures.saturating_add(gone);
        counts.in_place = in_place;
    }
}

/// Number of restarts that count against backoffLimit.
#[must_use]
pub fn counted_restarts(status: &JobStatus, replicas: &ReplicaStates) -> u32 {
    let stored = status
        .restart_counts
        .as_ref()
        .map_or(0, |c| u32::try_from(c.failures).unwrap_or(0));
    let known = status
        .restart_counts
        .as_ref()
        .map_or(0, |c| u32::try_from(c.in_place).unwrap_or(0));
    // Never fewer than the stored number: pods may have gone together with their counts.
    let now = replicas
        .in_place_restarts()
        .saturating_add(replicas.lost_restarts());
    stored.saturating_add(now.max(known))
}

/// Number as an API field of type int32.
#[must_use]
pub fn to_i32(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
