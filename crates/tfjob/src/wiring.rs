//! `TF_CONFIG` of one pod. Form and order of keys are upstream's (training-operator 1.9,
//! `pkg/controller.v1/tensorflow/tensorflow.go`).

use std::collections::BTreeMap;

use common::api::RestartPolicy;
use common::kind::{MASTER, WORKER};
use common::problems::Problems;
use common::wiring::{Containers, Task};
use common::{Replica, Replicas, ResolvedJob, Role, Settings, Wiring};
use k8s_openapi::api::core::v1::EnvVar;
use serde::Serialize;

use crate::api::{CHIEF_AND_MASTER, Fields};
use crate::{CHIEF, PS};

/// What every process is told: all servers by task type.
#[derive(Serialize)]
struct Dense {
    cluster: BTreeMap<String, Vec<String>>,
    task: Task,
    environment: &'static str,
}

/// What the processes of a job with dynamic workers are told: only those that do not change.
#[derive(Serialize)]
struct Sparse {
    cluster: SparseCluster,
    task: Task,
}

#[derive(Default, Serialize)]
struct SparseCluster {
    worker: BTreeMap<u32, String>,
    ps: Vec<String>,
}

/// Whether workers come and go.
fn is_dynamic(job: &ResolvedJob) -> bool {
    job.own::<Fields>().enable_dynamic_worker == Some(true)
}

/// Whether the job goes on without workers that failed. Under `ExitCode` a low code says that another try is no use to
/// anybody, and the other policies replace what fails.
pub(crate) fn tolerates_lost_workers(job: &ResolvedJob) -> bool {
    let never = |policy| policy == RestartPolicy::Never;
    is_dynamic(job) && job.role(WORKER).is_some_and(|r| never(r.restart_policy))
}

/// Checks what the schema's rules check too, for objects that came round them.
pub(crate) fn check(job: &ResolvedJob, problems: &mut Problems) {
    job.check_own::<Fields>(problems);
    if job.replicas.count(CHIEF) > 0 && job.replicas.count(MASTER) > 0 {
        problems.add(format!("spec.{}", job.info.replicas_field), CHIEF_AND_MASTER);
    }
}

/// The wiring of one replica: nothing for a process that is alone.
pub(crate) fn wiring(
    replica: &Replica,
    replicas: &Replicas,
    job: &ResolvedJob,
    settings: &Settings,
) -> Wiring {
    if replicas.len() == 1 {
        return Wiring::default();
    }
    let task = Task::of(replica);
    let config = if is_dynamic(job) {
        let cluster = sparse_cluster(replica, replicas, job, settings);
        serde_json::to_string(&Sparse { cluster, task })
    } else {
        let mut cluster: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for peer in replicas.all() {
            let peers = cluster.entry(peer.id.role.lower()).or_default();
            peers.push(address(peer, job, settings));
        }
        let environment = "cloud";
        serde_json::to_string(&Dense {
            cluster,
            task,
            environment,
        })
    };
    let config = EnvVar {
        name: "TF_CONFIG".to_owned(),
        value: config.ok(), // there always is one: texts and numbers below keys that are texts and numbers
        value_from: None,
    };
    Wiring {
        env: vec![config],
        env_in: Containers::Training,
        ..Wiring::default()
    }
}

/// A worker knows itself and all parameter servers, a parameter server itself, all others nobody.
fn sparse_cluster(
    replica: &Replica,
    replicas: &Replicas,
    job: &ResolvedJob,
    settings: &Settings,
) -> SparseCluster {
    let all = |role: Role| {
        replicas
            .of(role)
            .map(|peer| address(peer, job, settings))
            .collect()
    };
    let own = || address(replica, job, settings);
    match replica.id.role {
        WORKER => SparseCluster {
            worker: BTreeMap::from([(replica.id.index.0, own())]),
            ps: all(PS),
        },
        PS => SparseCluster {
            ps: vec![own()],
            ..SparseCluster::default()
        },
        _ => SparseCluster::default(),
    }
}

/// `<pod>.<namespace>.svc:<port>` by a Service of the pod's own, `<pod>.<job>.<namespace>.svc:<port>` by the job's.
fn address(replica: &Replica, job: &ResolvedJob, settings: &Settings) -> String {
    let (host, namespace, port) = (
        job.host(replica, settings),
        &job.key.namespace,
        job.port(replica.id.role),
    );
    let domain = settings.cluster_domain.iter().map(|domain| format!(".{domain}"));
    format!("{host}.{namespace}.svc{}:{port}", domain.collect::<String>())
}
