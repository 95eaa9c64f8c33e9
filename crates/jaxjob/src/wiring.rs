//! The environment of one pod. Names, values and order are upstream's (training-operator 1.9,
//! `pkg/controller.v1/jax/envvar.go`), and after them what Kubeflow's Trainer calls the same.

use common::wiring::variable as var;
use common::{Replica, Replicas, ResolvedJob, Wiring};

/// The wiring of one replica.
pub(crate) fn wiring(replica: &Replica, replicas: &Replicas, job: &ResolvedJob) -> Wiring {
    // Process 0 leads, and so has a Service of its own.
    let coordinator = replicas.all().first().unwrap_or(replica);
    let port = job.port(coordinator.id.role);
    let (processes, process) = (replicas.len().to_string(), replica.rank.0.to_string());
    Wiring {
        env: vec![
            var("PYTHONUNBUFFERED", "1"),
            var("COORDINATOR_PORT", port.to_string()),
            var("COORDINATOR_ADDRESS", &coordinator.name),
            var("NUM_PROCESSES", &processes),
            var("PROCESS_ID", &process),
        ],
        more_env: vec![
            // JAX reads this one by itself, and fails on one without a port.
            var("JAX_COORDINATOR_ADDRESS", format!("{}:{port}", coordinator.name)),
            var("JAX_NUM_PROCESSES", processes),
            var("JAX_PROCESS_ID", process),
        ],
        ..Wiring::default()
    }
}
