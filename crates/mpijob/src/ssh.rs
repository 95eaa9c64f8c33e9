//! MPIJob `v2beta1`. Names, values and order are upstream's (mpi-operator 0.8, `pkg/controller/mpi_job_controller.go`);
//! docs/mpijob.md lists what is done otherwise.

use std::collections::BTreeMap;

use common::api::RestartPolicy;
use common::kind::{OnFailure, WORKER};
use common::names::{self, ReplicaIndex};
use common::objects::Extra;
use common::problems::Problems;
use common::replica_states::ReplicaStates;
use common::wiring::{Containers, variable as var};
use common::{Framework, KindInfo, Replica, ReplicaId, Replicas, ResolvedJob, Role, Settings, Wiring, build};
use k8s_openapi::api::core::v1::{
    ConfigMap, EnvVar, KeyToPath, Secret, SecretVolumeSource, Service, ServiceSpec, Volume,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::api::{self, Fields, LauncherCreationPolicy, MpiImplementation};
use crate::hosts::{self, DISCOVER, FOLDER, HOSTFILE, app, lists, mount};
use crate::{DIALECTS, KIND, LAUNCHER, fields, no_gpus};

/// Where the key pair is mounted unless the job says otherwise.
const ROOT_SSH: &str = "/root/.ssh";
/// Arguments that ssh gets: workers that are about to start are asked again for ten seconds.
const SSH_ARGS: &str = "-o ConnectionAttempts=10";

/// `v2beta1`'s contribution.
#[derive(Debug)]
pub struct Ssh;

impl Framework for Ssh {
    fn kind(&self) -> &'static KindInfo {
        &KIND
    }

    fn crd(&self) -> CustomResourceDefinition {
        api::crd()
    }

    fn dialects(&self) -> &'static [&'static dyn Framework] {
        &DIALECTS
    }

    fn wiring(&self, replica: &Replica, _cast: &Replicas, job: &ResolvedJob, settings: &Settings) -> Wiring {
        let fields = fields(job);
        let is_launcher = replica.id.role == LAUNCHER;
        let mut wiring = Wiring {
            env: vec![var("K_MPI_JOB_ROLE", replica.id.role.lower())],
            env_in: Containers::Training,
            volumes: vec![key_pair(job, &fields)],
            mounts: vec![mount("ssh-auth", ssh_path(&fields))],
            dns_policy: host_network(job, replica.id.role).then(|| "ClusterFirstWithHostNet".to_owned()),
            labels: Some(labels(job, replica.id, &fields)),
            ..Wiring::default()
        };
        if is_launcher {
            wiring.env.extend(launcher_env(&fields));
            if !launcher_is_worker(&fields) {
                wiring.env.extend(no_gpus());
            }
            wiring
                .volumes
                .push(lists(job, &[(HOSTFILE, 0o444), (DISCOVER, 0o555)]));
            wiring.mounts.push(mount("mpi-job-config", FOLDER));
        } else {
            let domain = settings.cluster_domain.as_deref().unwrap_or("cluster.local");
            let (name, namespace) = (&job.key.name, &job.key.namespace);
            wiring.dns_searches = vec![format!("{name}.{namespace}.svc.{domain}")];
            wiring.command = has_no_command(job).then(|| vec!["/usr/sbin/sshd".to_owned(), "-De".to_owned()]);
        }
        wiring
    }

    fn needs_own_service(&self, _cast: &Replicas, _job: &ResolvedJob) -> Vec<ReplicaId> {
        Vec::new()
    }

    fn check(&self, job: &ResolvedJob, problems: &mut Problems) {
        let Some(fields) = crate::check(job, problems) else {
            return;
        };
        if fields.ssh_auth_mount_path.is_some_and(|path| path.is_empty()) {
            problems.add("spec.sshAuthMountPath", "must not be empty");
        }
        for replica in &job.roles {
            if !matches!(
                replica.restart_policy,
                RestartPolicy::Never | RestartPolicy::OnFailure
            ) {
                let field = format!("spec.{}[{}].restartPolicy", job.info.replicas_field, replica.role);
                problems.add(field, "must be Never or OnFailure in an MPIJob of v2beta1");
            }
        }
    }

    fn services(&self, job: &ResolvedJob, _settings: &Settings) -> Vec<Service> {
        let name = names::job_service(&job.key.name);
        let selector = names::job_labels(job.info.controller, &job.key.name);
        let mut labels = selector.clone();
        labels.extend(app(job));
        vec![Service {
            metadata: build::metadata(job, name, labels),
            spec: Some(ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                selector: Some(selector),
                // A launcher that runs ranks must be found before it is ready.
                publish_not_ready_addresses: Some(launcher_is_worker(&fields(job))).filter(|yes| *yes),
                ..ServiceSpec::default()
            }),
            status: None,
        }]
    }

    fn extras(&self, job: &ResolvedJob, states: &ReplicaStates, settings: &Settings) -> Vec<Extra> {
        let fields = fields(job);
        let (with_launcher, slots) = (launcher_is_worker(&fields), hosts::slots(&fields));
        let domain = hosts::domain(job, settings);
        let full = |host: &str| format!("{host}.{domain}");
        let implementation = fields.mpi_implementation.unwrap_or_default();
        let running = hosts::running(states, with_launcher);
        let discover: Vec<String> = running
            .into_iter()
            .map(|host| format!("echo {}\n", full(host)))
            .collect();
        let discover = discover.concat();
        let data = [
            (
                HOSTFILE.to_owned(),
                hosts::hostfile(&job.replicas, with_launcher, slots, implementation, full),
            ),
            (DISCOVER.to_owned(), format!("#!/bin/sh\n{discover}")),
        ];
        let config_map = ConfigMap {
            metadata: build::metadata(job, names::config_map(&job.key.name), app(job)),
            data: Some(data.into()),
            ..ConfigMap::default()
        };
        let secret = Secret {
            metadata: build::metadata(job, names::ssh_secret(&job.key.name), app(job)),
            type_: Some("kubernetes.io/ssh-auth".to_owned()),
            ..Secret::default()
        };
        vec![
            Extra::KeyPair(Box::new(secret)),
            Extra::ConfigMap(Box::new(config_map)),
        ]
    }

    /// A worker does not end by itself: whatever its restart policy, the launcher needs it.
    fn on_failure(&self, role: Role, _job: &ResolvedJob) -> OnFailure {
        if role == WORKER {
            OnFailure::Replace
        } else {
            OnFailure::ByPolicy
        }
    }

    fn waits_for_dependency(&self, job: &ResolvedJob) -> bool {
        fields(job).launcher_creation_policy == Some(LauncherCreationPolicy::WaitForWorkersReady)
    }
}

fn launcher_is_worker(fields: &Fields) -> bool {
    fields.run_launcher_as_worker == Some(true)
}

fn ssh_path(fields: &Fields) -> &str {
    fields.ssh_auth_mount_path.as_deref().unwrap_or(ROOT_SSH)
}

/// Kueue takes the index for the pod's rank: where the launcher runs ranks, it is the first.
fn labels(job: &ResolvedJob, id: ReplicaId, fields: &Fields) -> BTreeMap<String, String> {
    let mut labels = names::job_labels(job.info.controller, &job.key.name);
    labels.insert(names::JOB_ROLE.to_owned(), id.role.lower());
    let ReplicaIndex(index) = id.index;
    let rank = match (id.role == LAUNCHER, launcher_is_worker(fields)) {
        (true, false) => None,
        (true, true) => Some(0),
        (false, false) => Some(index),
        (false, true) => Some(index.saturating_add(1)),
    };
    labels.extend(rank.map(|rank| (names::REPLICA_INDEX.to_owned(), rank.to_string())));
    labels
}

fn host_network(job: &ResolvedJob, role: Role) -> bool {
    let spec = job.role(role).and_then(|r| r.template.spec.as_ref());
    spec.is_some_and(|spec| spec.host_network == Some(true))
}

fn has_no_command(job: &ResolvedJob) -> bool {
    let container = job.role(WORKER).and_then(|r| r.training_container());
    container.is_some_and(|c| {
        c.command.as_ref().is_none_or(Vec::is_empty) && c.args.as_ref().is_none_or(Vec::is_empty)
    })
}

fn item(key: &str, path: &str, mode: Option<i32>) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path: path.to_owned(),
        mode,
    }
}

/// Keys of root are for root alone, as ssh wants them; for any other user the kubelet's default mode must do, since the
/// files belong to root.
fn key_pair(job: &ResolvedJob, fields: &Fields) -> Volume {
    let items = [
        item("ssh-privatekey", "id_rsa", None),
        item("ssh-publickey", "id_rsa.pub", None),
        item("ssh-publickey", "authorized_keys", None),
    ];
    Volume {
        name: "ssh-auth".to_owned(),
        secret: Some(SecretVolumeSource {
            default_mode: (ssh_path(fields) == ROOT_SSH).then_some(0o600),
            items: Some(items.into()),
            secret_name: Some(names::ssh_secret(&job.key.name)),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Open MPI 5 has PRRTE in the place of ORTE and does not read one variable of the old names: without the new ones it runs
/// all ranks in the launcher and reports success (mpi-operator#842). The names were tried with 5.0.8.
fn launcher_env(fields: &Fields) -> Vec<EnvVar> {
    let (hostfile, slots) = (format!("{FOLDER}/{HOSTFILE}"), hosts::slots(fields).to_string());
    match fields.mpi_implementation.unwrap_or_default() {
        MpiImplementation::OpenMpi => vec![
            var("OMPI_MCA_orte_keep_fqdn_hostnames", "true"),
            var("OMPI_MCA_orte_default_hostfile", &hostfile),
            var("OMPI_MCA_plm_rsh_args", SSH_ARGS),
            var("OMPI_MCA_orte_set_default_slots", &slots),
            var("PRTE_MCA_prte_keep_fqdn_hostnames", "true"),
            var("PRTE_MCA_prte_default_hostfile", &hostfile),
            var("PRTE_MCA_plm_ssh_args", SSH_ARGS),
            var("PRTE_MCA_prte_set_default_slots", &slots),
        ],
        MpiImplementation::Intel => vec![
            var("I_MPI_HYDRA_HOST_FILE", &hostfile),
            var("I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS", SSH_ARGS),
            var("I_MPI_PERHOST", &slots),
        ],
        MpiImplementation::Mpich => vec![
            var("HYDRA_HOST_FILE", &hostfile),
            var("HYDRA_LAUNCH_EXTRA_ARGS", SSH_ARGS),
        ],
    }
}
