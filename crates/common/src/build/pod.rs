//! The pod of a replica.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::RestartPolicy;
use crate::job::ResolvedJob;
use crate::kind::HostNames;
use crate::names::{self, Attempt, ReplicaId};
use crate::replicas::Replica;
use crate::settings::{ServiceMode, Settings};
use crate::wiring::{Containers, Wiring};

/// Builds the pod of `replica` from its role's template and the framework's wiring.
#[must_use]
pub fn pod(
    job: &ResolvedJob,
    replica: &Replica,
    attempt: Attempt,
    leader: Option<ReplicaId>,
    wiring: Wiring,
    settings: &Settings,
) -> Pod {
    let role = job.role(replica.id.role);
    let template = role.map(|r| r.template.clone()).unwrap_or_default();
    let PodTemplateSpec { metadata, spec } = template;
    let mut metadata = metadata.unwrap_or_default();
    let mut labels = metadata.labels.take().unwrap_or_default();
    // Identity labels are always the operator's, even those that it does not set.
    labels.retain(|key, _| !names::RESERVED.contains(&key.as_str()));
    labels.extend(identity(job, replica, leader, wiring.labels.clone()));
    labels.insert(names::ATTEMPT.to_owned(), attempt.0.to_string());
    let mut spec = spec.unwrap_or_default();
    wire(&mut spec, role.map_or("", |r| &r.container), wiring);
    let policy = role.map_or(RestartPolicy::Never, |r| r.restart_policy);
    spec.restart_policy = Some(job.kubelet_policy(policy).to_owned());
    let (host, domain) = (replica.name.clone(), names::job_service(&job.key.name));
    match job.info.host_names {
        HostNames::ByServiceMode if settings.service_mode == ServiceMode::Job => {
            spec.hostname.get_or_insert(host);
            spec.subdomain.get_or_insert(domain);
        }
        // The host lists contain these names.
        HostNames::OfJob => (spec.hostname, spec.subdomain) = (Some(host), Some(domain)),
        HostNames::ByServiceMode | HostNames::No => {}
    }
    Pod {
        metadata: ObjectMeta {
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            ..super::metadata(job, replica.name.clone(), labels)
        },
        spec: Some(spec),
        status: None,
    }
}

/// Labels that identify the replica and job of a pod.
fn identity(
    job: &ResolvedJob,
    replica: &Replica,
    leader: Option<ReplicaId>,
    own: Option<BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    own.unwrap_or_else(|| {
        let ReplicaId { role, index } = replica.id;
        let mut labels = names::replica_labels(job.info.controller, &job.key.name, role, index);
        if leader == Some(replica.id) {
            labels.insert(names::JOB_ROLE.to_owned(), names::JOB_ROLE_MASTER.to_owned());
        }
        labels
    })
}

/// Applies the framework's wiring to the user's pod. Variables are appended, not merged: of two entries with the same
/// name the later one takes effect, and upstream appends too.
fn wire(spec: &mut PodSpec, training: &str, wiring: Wiring) {
    let Wiring {
        env,
        more_env,
        env_in,
        init_containers,
        command,
        args,
        volumes,
        mounts,
        dns_searches,
        dns_policy,
        service_account,
        labels: _,
    } = wiring;
    for container in &mut spec.containers {
        let is_training = container.name == training;
        if (is_training || env_in == Containers::All) && !env.is_empty() {
            let of_container = container.env.get_or_insert_default();
            let theirs = |name: &str| of_container.iter().any(|variable| variable.name == name);
            let ours: Vec<EnvVar> = more_env
                .iter()
                .filter(|ours| !theirs(&ours.name))
                .cloned()
                .collect();
            of_container.extend(env.iter().cloned().chain(ours));
        }
        if !is_training {
            continue;
        }
        if let Some(command) = &command {
            container.command = Some(command.clone());
        }
        if let Some(args) = &args {
            container.args = Some(args.clone());
        }
        append(&mut container.volume_mounts, mounts.clone());
    }
    append(&mut spec.init_containers, init_containers);
    append(&mut spec.volumes, volumes);
    if !dns_searches.is_empty() {
        let dns = spec.dns_config.get_or_insert_default();
        append(&mut dns.searches, dns_searches);
    }
    if dns_policy.is_some() {
        spec.dns_policy = dns_policy;
    }
    if let Some(account) = service_account
        && spec.service_account_name.as_deref().is_none_or(str::is_empty)
    {
        spec.service_account_name = Some(account);
    }
}

fn append<T>(list: &mut Option<Vec<T>>, more: Vec<T>) {
    if !more.is_empty() {
        list.get_or_insert_default().extend(more);
    }
}
