//! The headless Services of a job.
//!
//! They publish addresses of pods that are not ready, because pods look each other up in order to become ready.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use crate::job::ResolvedJob;
use crate::names::{self, ReplicaId, Role};
use crate::settings::{ServiceMode, Settings};

/// All Services of the job. `needs_own_service` are the replicas that others address by their short name.
#[must_use]
pub fn services(job: &ResolvedJob, needs_own_service: &[ReplicaId], settings: &Settings) -> Vec<Service> {
    if job.replicas.is_empty() {
        return Vec::new();
    }
    let controller = job.info.controller;
    let of_replica = |id: ReplicaId| {
        let labels = names::replica_labels(controller, &job.key.name, id.role, id.index);
        headless(
            job,
            names::replica(&job.key.name, id.role, id.index),
            labels,
            ports(job, Some(id.role)),
        )
    };
    match settings.service_mode {
        ServiceMode::PerReplica => job
            .replicas
            .all()
            .iter()
            .map(|replica| of_replica(replica.id))
            .collect(),
        ServiceMode::Job => {
            let labels = names::job_labels(controller, &job.key.name);
            let whole = headless(job, names::job_service(&job.key.name), labels, ports(job, None));
            std::iter::once(whole)
                .chain(needs_own_service.iter().copied().map(of_replica))
                .collect()
        }
    }
}

fn headless(
    job: &ResolvedJob,
    name: String,
    labels: BTreeMap<String, String>,
    ports: Vec<ServicePort>,
) -> Service {
    Service {
        metadata: super::metadata(job, name, labels.clone()),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(labels),
            ports: Some(ports),
            publish_not_ready_addresses: Some(true),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Ports of the training containers, of one role or of all. If a Service has several ports, each must have a name, and
/// names must be unique.
fn ports(job: &ResolvedJob, role: Option<Role>) -> Vec<ServicePort> {
    let replicas = job
        .roles
        .iter()
        .filter(|r| role.is_none_or(|role| r.role == role));
    let containers = replicas.filter_map(|r| r.training_container()?.ports.as_ref());
    let mut by_number: BTreeMap<i32, String> = BTreeMap::new();
    for port in containers.flatten() {
        let name = port.name.clone().unwrap_or_else(|| unnamed(port.container_port));
        let name = if by_number.values().any(|n| *n == name) {
            unnamed(port.container_port)
        } else {
            name
        };
        by_number.entry(port.container_port).or_insert(name);
    }
    let service_port = |(port, name)| ServicePort {
        port,
        name: Some(name),
        ..ServicePort::default()
    };
    by_number.into_iter().map(service_port).collect()
}

fn unnamed(port: i32) -> String {
    format!("port-{port}")
}
