//! The environment of one pod. Names, values and order are upstream's (training-operator 1.8,
//! `pkg/controller.v1/mxnet/mxnet.go`).

use std::collections::BTreeMap;

use common::job::ResolvedRole;
use common::kind::WORKER;
use common::wiring::{Task, variable as var};
use common::{Replica, Replicas, ResolvedJob, Settings, Wiring};
use serde::Serialize;

use crate::{SCHEDULER, SERVER};

/// Annotation of a template: which of the kinds of devices a tuner asks for are in these pods.
const TUNER_SERVER_KEY: &str = "tuner-server-key";

/// `MX_CONFIG`.
#[derive(Serialize)]
struct Config {
    cluster: BTreeMap<String, Vec<Address>>,
    labels: BTreeMap<String, String>,
    task: Task,
}

#[derive(Serialize)]
struct Address {
    url: String,
    port: i32,
}

/// The wiring of one replica.
pub(crate) fn wiring(
    replica: &Replica,
    replicas: &Replicas,
    job: &ResolvedJob,
    settings: &Settings,
) -> Wiring {
    let role = replica.id.role;
    let scheduler = replicas.of(SCHEDULER).next();
    let (host, port) = scheduler.map_or((String::new(), 0), |s| (s.name.clone(), job.port(SCHEDULER)));
    let config = config(replica, replicas, job, settings);
    let mut env = vec![
        // There always is a text: texts and numbers below keys that are texts.
        var("MX_CONFIG", serde_json::to_string(&config).unwrap_or_default()),
        var("DMLC_PS_ROOT_PORT", port.to_string()),
        var("DMLC_PS_ROOT_URI", host),
        var("DMLC_NUM_SERVER", replicas.count(SERVER).to_string()),
        var("DMLC_NUM_WORKER", replicas.count(WORKER).to_string()),
        var("DMLC_ROLE", role.lower()),
        // The scheduler listens on all addresses: its own name is a Service's.
        var("DMLC_USE_KUBERNETES", "1"),
    ];
    if role == WORKER {
        env.push(var("DMLC_WORKER_ID", replica.id.index.0.to_string())); // BytePS's
    }
    Wiring {
        env,
        ..Wiring::default()
    }
}

fn config(replica: &Replica, replicas: &Replicas, job: &ResolvedJob, settings: &Settings) -> Config {
    let mut cluster: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    for peer in replicas.all() {
        let (url, port) = (job.host(peer, settings), job.port(peer.id.role));
        let peers = cluster.entry(peer.id.role.lower()).or_default();
        peers.push(Address { url, port });
    }
    let key = |replica: &ResolvedRole| {
        let annotations = replica.template.metadata.as_ref()?.annotations.as_ref()?;
        annotations.get(TUNER_SERVER_KEY).cloned()
    };
    let roles = job.roles.iter().filter(|replica| replica.count > 0);
    let labels = roles.map(|replica| (replica.role.lower(), key(replica).unwrap_or_default()));
    let (labels, task) = (labels.collect(), Task::of(replica));
    Config {
        cluster,
        labels,
        task,
    }
}
