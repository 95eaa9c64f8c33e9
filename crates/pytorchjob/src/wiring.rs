//! The environment of one pod. Names, values and order are upstream's
//! (training-operator 1.9, `pkg/controller.v1/pytorch/envvar.go`, `elastic.go`, `initcontainer.go`).

use common::kind::{MASTER, WORKER};
use common::names::{self, ReplicaIndex};
use common::problems::Problems;
use common::wiring::variable as var;
use common::{Replica, Replicas, ResolvedJob, Settings, Wiring, build, elastic};
use k8s_openapi::api::core::v1::EnvVar;

use crate::api::{ElasticPolicy, Fields};

/// Checks what the schema's rules check too, for objects that came round them.
pub(crate) fn check(job: &ResolvedJob, problems: &mut Problems) {
    let Some(fields) = job.check_own::<Fields>(problems) else {
        return;
    };
    elastic::check(job, problems);
    let deprecated = fields.elastic_policy.and_then(|elastic| elastic.n_proc_per_node);
    if deprecated.is_some() && fields.nproc_per_node.is_some() {
        problems.add(
            "spec.elasticPolicy.nProcPerNode",
            "must not be used with spec.nprocPerNode",
        );
    }
}

/// The wiring of one replica.
pub(crate) fn wiring(
    replica: &Replica,
    replicas: &Replicas,
    job: &ResolvedJob,
    settings: &Settings,
) -> Wiring {
    let fields: Fields = job.own();
    let mut env = vec![var("PYTHONUNBUFFERED", "1")];
    if let Some(leader) = static_leader(replicas, job, &fields) {
        env.extend(static_env(replica, leader, replicas, job, &fields));
    }
    env.extend(nproc_per_node(&fields).map(|n| var("PET_NPROC_PER_NODE", n)));
    match &fields.elastic_policy {
        None => env.push(var("PET_NNODES", replicas.len().to_string())),
        Some(elastic) => env.extend(elastic_env(elastic, job)),
    }
    Wiring {
        env,
        init_containers: build::init_container::wait_for_master("init-pytorch", replica, job, settings),
        ..Wiring::default()
    }
}

/// Who hosts the store of a static rendezvous. Upstream names nobody where there is no Master, so that plain `torchrun`
/// could not connect; here worker 0 does it. An elastic job without Master has its own rendezvous.
fn static_leader<'a>(replicas: &'a Replicas, job: &ResolvedJob, fields: &Fields) -> Option<&'a Replica> {
    let master = job.role(MASTER).is_some_and(|master| master.count > 0);
    replicas
        .all()
        .first()
        .filter(|_| master || fields.elastic_policy.is_none())
}

fn static_env(
    replica: &Replica,
    leader: &Replica,
    replicas: &Replicas,
    job: &ResolvedJob,
    fields: &Fields,
) -> [EnvVar; 7] {
    let port = job.port(leader.id.role).to_string();
    let rank = replica.rank.0.to_string();
    // A number multiplies the world; auto, cpu and gpu leave it at one process per pod, as far as is known here.
    let processes = fields
        .nproc_per_node
        .as_deref()
        .and_then(|n| n.parse::<u32>().ok())
        .unwrap_or(1);
    [
        var("MASTER_PORT", &*port),
        var("PET_MASTER_PORT", port),
        var("MASTER_ADDR", &leader.name),
        var("PET_MASTER_ADDR", &leader.name),
        var("WORLD_SIZE", replicas.len().saturating_mul(processes).to_string()),
        var("RANK", &*rank),
        var("PET_NODE_RANK", rank),
    ]
}

/// `spec.nprocPerNode`, whose default is `auto` unless the deprecated field of the elastic policy is used.
fn nproc_per_node(fields: &Fields) -> Option<&str> {
    let deprecated = fields
        .elastic_policy
        .as_ref()
        .is_some_and(|e| e.n_proc_per_node.is_some());
    fields
        .nproc_per_node
        .as_deref()
        .or((!deprecated).then_some("auto"))
}

fn elastic_env(elastic: &ElasticPolicy, job: &ResolvedJob) -> Vec<EnvVar> {
    let (min, max) = elastic::policy(job).unwrap_or_default().limits(job);
    let host = elastic.rdzv_host.clone();
    let host = host.unwrap_or_else(|| names::replica(&job.key.name, WORKER, ReplicaIndex(0)));
    let port = elastic.rdzv_port.unwrap_or_else(|| job.port(WORKER));
    let mut env = vec![
        var("PET_RDZV_ENDPOINT", format!("{host}:{port}")),
        var(
            "PET_RDZV_BACKEND",
            elastic.rdzv_backend.as_deref().unwrap_or("c10d"),
        ),
        var("PET_NNODES", format!("{min}:{max}")),
    ];
    env.extend(
        elastic
            .max_restarts
            .map(|n| var("PET_MAX_RESTARTS", n.to_string())),
    );
    env.extend(
        elastic
            .n_proc_per_node
            .map(|n| var("PET_NPROC_PER_NODE", n.to_string())),
    );
    env.extend(elastic.rdzv_id.as_deref().map(|id| var("PET_RDZV_ID", id)));
    let conf: Vec<String> = elastic
        .rdzv_conf
        .iter()
        .flatten()
        .map(|c| format!("{}={}", c.key, c.value))
        .collect();
    if !conf.is_empty() {
        env.push(var("PET_RDZV_CONF", conf.join(",")));
    }
    if elastic.standalone == Some(true) {
        env.push(var("PET_STANDALONE", ""));
    }
    env
}
