//! The environment of one pod. Names, values and order are upstream's (training-operator 1.9,
//! `pkg/controller.v1/xgboost/xgboost.go`), and after them what XGBoost 2.1 and later calls the same.

use common::kind::WORKER;
use common::wiring::variable as var;
use common::{Replica, Replicas, ResolvedJob, Settings, Wiring, build};

/// The wiring of one replica.
pub(crate) fn wiring(
    replica: &Replica,
    replicas: &Replicas,
    job: &ResolvedJob,
    settings: &Settings,
) -> Wiring {
    let master = replicas.all().first().unwrap_or(replica);
    let port = job.port(master.id.role).to_string();
    let (world, rank) = (replicas.len().to_string(), replica.rank.0.to_string());
    let mut env = vec![
        var("MASTER_PORT", &port),
        var("MASTER_ADDR", &master.name),
        var("WORLD_SIZE", &world),
        var("RANK", &rank),
        var("PYTHONUNBUFFERED", "1"),
    ];
    if replicas.len() > 1 {
        let hosts: Vec<String> = replicas
            .of(WORKER)
            .map(|worker| job.host(worker, settings))
            .collect();
        env.push(var("WORKER_PORT", job.port(WORKER).to_string()));
        env.push(var("WORKER_ADDRS", hosts.join(",")));
    }
    // Arguments of xgboost.collective.CommunicatorContext and of the tracker, under the names that its tutorial on
    // Kubernetes and Kubeflow's Trainer give them.
    let more_env = vec![
        var("DMLC_TRACKER_URI", &master.name),
        var("DMLC_TRACKER_PORT", port),
        var("DMLC_TASK_ID", rank),
        var("DMLC_NUM_WORKER", world),
    ];
    Wiring {
        env,
        more_env,
        // XGBoost gives up at once on a tracker whose name does not resolve yet.
        init_containers: build::init_container::wait_for_master("init-xgboost", replica, job, settings),
        ..Wiring::default()
    }
}
