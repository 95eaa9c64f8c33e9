//! The environment of one pod. Names, values and order are upstream's (training-operator 1.9,
//! `pkg/controller.v1/paddlepaddle/envvar.go`), and after them what Paddle's launcher reads beside them
//! (paddlepaddle 3.3, `paddle/distributed/launch/context/args_envs.py`).

use common::elastic::{self, Elastic};
use common::kind::{MASTER, WORKER};
use common::wiring::variable as var;
use common::{Replica, Replicas, ResolvedJob, Wiring};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector};

/// Address of the pod itself, under upstream's name for it.
const OWN_ADDRESS: &str = "POD_IP_DUMMY";

/// The wiring of one replica.
pub(crate) fn wiring(replica: &Replica, replicas: &Replicas, job: &ResolvedJob) -> Wiring {
    let (policy, etcd) = (elastic::policy(job), has_etcd(job));
    let mut env = vec![
        var("PYTHONUNBUFFERED", "1"),
        var("PADDLE_JOB_ID", &*job.key.name),
        var(
            "PADDLE_NNODES",
            nodes(replicas, job, policy.as_ref().filter(|_| etcd)),
        ),
    ];
    if !etcd {
        env.extend(rendezvous(replica, replicas, job));
    }
    if replicas.count(MASTER) > 0 {
        let (servers, trainers) = ("PADDLE_SERVER_NUM", "PADDLE_TRAINER_NUM");
        let own = if replica.id.role == MASTER {
            servers
        } else {
            trainers
        };
        env.push(var(own, "1"));
    }
    // Else the launcher ranks its peers at random. By etcd, ranks must stay dense as peers come and go.
    let rank = (!etcd).then(|| var("PADDLE_RANK", replica.rank.0.to_string()));
    let restarts = policy.and_then(|policy| policy.max_restarts);
    let restarts = restarts.map(|restarts| var("PADDLE_MAX_RESTART", restarts.to_string()));
    Wiring {
        env,
        more_env: rank.into_iter().chain(restarts).collect(),
        ..Wiring::default()
    }
}

/// How many pods the launcher waits for. It takes a range as such by an etcd master only; else it would wait for the most.
fn nodes(replicas: &Replicas, job: &ResolvedJob, elastic: Option<&Elastic>) -> String {
    let Some(elastic) = elastic else {
        return replicas.len().to_string();
    };
    let others = replicas.len().saturating_sub(replicas.count(WORKER));
    let (min, max) = elastic.limits(job);
    let all = |workers: i32| i64::from(workers) + i64::from(others);
    format!("{}:{}", all(min), all(max))
}

/// Where rank 0 gathers the others, and by which it knows that it is the one.
fn rendezvous(replica: &Replica, replicas: &Replicas, job: &ResolvedJob) -> Vec<EnvVar> {
    let host = replicas.all().first().unwrap_or(replica);
    let port = job.port(host.id.role);
    if host.id != replica.id {
        return vec![var("PADDLE_MASTER", format!("{}:{port}", host.name))];
    }
    let address = ObjectFieldSelector {
        field_path: "status.podIP".to_owned(),
        ..ObjectFieldSelector::default()
    };
    let own = EnvVar {
        name: OWN_ADDRESS.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(address),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    vec![own, var("PADDLE_MASTER", format!("$({OWN_ADDRESS}):{port}"))]
}

/// Whether the user's templates have the launchers meet by an etcd of the user's.
pub(crate) fn has_etcd(job: &ResolvedJob) -> bool {
    let containers = job
        .roles
        .iter()
        .filter_map(|replica| replica.training_container());
    let mut env = containers.flat_map(|container| container.env.iter().flatten());
    env.any(|variable| {
        let value = variable.value.as_deref();
        variable.name == "PADDLE_MASTER"
            && value.map_or(variable.value_from.is_some(), |v| v.starts_with("etcd://"))
    })
}
