//! MPIJob `v1`. Names, values and order are upstream's (training-operator 1.9, `pkg/controller.v1/mpi/mpijob_controller.go`);
//! docs/mpijob.md lists what is done otherwise.

use std::collections::BTreeMap;

use common::kind::WORKER;
use common::objects::Extra;
use common::problems::Problems;
use common::replica_states::ReplicaStates;
use common::wiring::{Containers, variable as var};
use common::{
    Framework, KindInfo, Replica, ReplicaId, Replicas, ResolvedJob, Settings, Wiring, build, names,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, Container, EmptyDirVolumeSource, EnvVar, ResourceRequirements, SeccompProfile,
    SecurityContext, Service, ServiceAccount, Volume,
};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::{self, Fields, MpiImplementation};
use crate::hosts::{self, DISCOVER, FOLDER, HOSTFILE, app, lists, mount};
use crate::{KIND_V1, LAUNCHER, fields, no_gpus};

/// What starts a command on a worker: `mpirun` calls it in the place of rsh.
const KUBEXEC: &str = "kubexec.sh";
/// Folder of the program that the script calls.
const KUBE: &str = "/opt/kube";
/// User of the operator's image.
const HELPER_USER: i64 = 65532;

/// `v1`'s contribution.
#[derive(Debug)]
pub(crate) struct Exec;

impl Framework for Exec {
    fn kind(&self) -> &'static KindInfo {
        &KIND_V1
    }

    fn crd(&self) -> CustomResourceDefinition {
        api::crd()
    }

    fn wiring(&self, replica: &Replica, _cast: &Replicas, job: &ResolvedJob, settings: &Settings) -> Wiring {
        if replica.id.role == LAUNCHER {
            launcher(job, settings)
        } else {
            worker(job)
        }
    }

    fn needs_own_service(&self, _cast: &Replicas, _job: &ResolvedJob) -> Vec<ReplicaId> {
        Vec::new()
    }

    /// The name goes into a script. Whether there is such a container shows in the pod: webhooks may add one.
    fn check(&self, job: &ResolvedJob, problems: &mut Problems) {
        let Some(main) = crate::check(job, problems).and_then(|fields| fields.main_container) else {
            return;
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !main.bytes().all(plain) || main.starts_with('-') {
            let message =
                "must be the name of a container: lower case letters, digits and '-', not at the beginning";
            problems.add("spec.mainContainer", message);
        }
    }

    /// Workers are reached by exec, by the names of their pods.
    fn services(&self, _job: &ResolvedJob, _settings: &Settings) -> Vec<Service> {
        Vec::new()
    }

    fn extras(&self, job: &ResolvedJob, states: &ReplicaStates, _settings: &Settings) -> Vec<Extra> {
        let mut extras = vec![
            Extra::ConfigMap(Box::new(config_map(job, states))),
            Extra::Role(Box::new(role(job, states))),
            Extra::RoleBinding(Box::new(role_binding(job))),
        ];
        // An account that the user names is the user's.
        if own_account(job).is_none() {
            extras.push(Extra::ServiceAccount(Box::new(ServiceAccount {
                metadata: build::metadata(job, launcher_name(job), app(job)),
                ..ServiceAccount::default()
            })));
        }
        extras
    }
}

/// Name of the launcher's pod, service account, Role and RoleBinding.
fn launcher_name(job: &ResolvedJob) -> String {
    names::only_replica(&job.key.name, LAUNCHER)
}

/// The service account that the user names for the launcher.
fn own_account(job: &ResolvedJob) -> Option<&str> {
    let spec = job.role(LAUNCHER)?.template.spec.as_ref()?;
    spec.service_account_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

/// A launcher that asks for GPUs runs ranks itself.
fn has_gpus(job: &ResolvedJob) -> bool {
    let spec = job.role(LAUNCHER).and_then(|r| r.template.spec.as_ref());
    let limits = spec
        .into_iter()
        .flat_map(|s| &s.containers)
        .filter_map(|c| c.resources.as_ref()?.limits.as_ref());
    limits.flat_map(BTreeMap::keys).any(|name| name.contains("gpu"))
}

fn config_map(job: &ResolvedJob, states: &ReplicaStates) -> ConfigMap {
    let fields = fields(job);
    let (with_launcher, slots) = (has_gpus(job), hosts::slots(&fields));
    // As upstream writes it: the launcher's line ends with a line break of its own, and the script has none at its end.
    let line = |host: &str| format!("\necho {host}:{slots}");
    let launcher = launcher_name(job);
    let mut discover = "#!/bin/sh".to_owned();
    for host in hosts::running(states, with_launcher) {
        discover.push_str(&line(host));
        if *host == *launcher {
            discover.push('\n');
        }
    }
    let open_mpi = MpiImplementation::OpenMpi;
    let data = [
        (
            HOSTFILE.to_owned(),
            hosts::hostfile(&job.replicas, with_launcher, slots, open_mpi, str::to_owned),
        ),
        (DISCOVER.to_owned(), discover),
        (KUBEXEC.to_owned(), kubexec(&fields)),
    ];
    ConfigMap {
        metadata: build::metadata(job, names::config_map(&job.key.name), app(job)),
        data: Some(data.into()),
        ..ConfigMap::default()
    }
}

/// `mpirun` calls it with a pod's name and the command.
fn kubexec(fields: &Fields) -> String {
    let container = fields.main_container.as_deref().filter(|name| !name.is_empty());
    let container = container
        .map(|name| format!(" --container {name}"))
        .unwrap_or_default();
    format!(
        "#!/bin/sh\nset -x\nPOD_NAME=$1\nshift\n{KUBE}/kubectl exec ${{POD_NAME}}{container} -- /bin/sh -c \"$*\""
    )
}

/// No more than is needed: exec into those workers that are there and the job's own, since a pod of somebody else may have
/// a worker's name. `get` is there twice: to open the connection of an exec, and because kubectl, which a user may deliver
/// instead of our helper, reads the pod first.
fn role(job: &ResolvedJob, states: &ReplicaStates) -> Role {
    let replicas = states.replicas.iter().filter(|replica| replica.role() == WORKER);
    let workers: Vec<String> = replicas
        .filter_map(|replica| Some(replica.pod.as_ref()?.name.to_string()))
        .collect();
    let rule = |resource: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(workers.clone()),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    // A rule that names no object is about all objects.
    let rules =
        (!workers.is_empty()).then(|| vec![rule("pods", &["get"]), rule("pods/exec", &["create", "get"])]);
    Role {
        metadata: build::metadata(job, launcher_name(job), app(job)),
        rules,
    }
}

fn role_binding(job: &ResolvedJob) -> RoleBinding {
    RoleBinding {
        metadata: build::metadata(job, launcher_name(job), app(job)),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "Role".to_owned(),
            name: launcher_name(job),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: own_account(job).map_or_else(|| launcher_name(job), str::to_owned),
            namespace: Some(job.key.namespace.to_string()),
            ..Subject::default()
        }]),
    }
}

fn launcher(job: &ResolvedJob, settings: &Settings) -> Wiring {
    let mut labels = names::role_labels(job.info.controller, &job.key.name, LAUNCHER);
    labels.insert(names::JOB_ROLE.to_owned(), names::JOB_ROLE_MASTER.to_owned());
    let kube = Volume {
        name: "mpi-job-kubectl".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    Wiring {
        env: launcher_env(job),
        env_in: Containers::Training,
        init_containers: vec![delivery(job, settings)],
        volumes: vec![
            kube,
            lists(job, &[(KUBEXEC, 0o555), (HOSTFILE, 0o444), (DISCOVER, 0o555)]),
        ],
        mounts: vec![mount("mpi-job-kubectl", KUBE), mount("mpi-job-config", FOLDER)],
        service_account: Some(launcher_name(job)),
        labels: Some(labels),
        ..Wiring::default()
    }
}

/// What Open MPI 5 reads comes last: it knows none of the names that Open MPI 4 reads.
fn launcher_env(job: &ResolvedJob) -> Vec<EnvVar> {
    let (agent, hostfile) = (format!("{FOLDER}/{KUBEXEC}"), format!("{FOLDER}/{HOSTFILE}"));
    let mut env = vec![
        var("OMPI_MCA_plm_rsh_agent", &agent),
        var("OMPI_MCA_orte_default_hostfile", &hostfile),
    ];
    if !has_gpus(job) {
        env.extend(no_gpus());
    }
    let container = job.role(LAUNCHER).and_then(|r| r.training_container());
    let set = |name: &str| container.is_some_and(|c| c.env.iter().flatten().any(|e| e.name == name));
    let intel = [
        ("I_MPI_HYDRA_BOOTSTRAP", "rsh"),
        ("I_MPI_HYDRA_BOOTSTRAP_EXEC", &*agent),
    ];
    env.extend(
        intel
            .into_iter()
            .filter(|(name, _)| !set(name))
            .map(|(name, value)| var(name, value)),
    );
    env.extend([
        var("PRTE_MCA_plm_ssh_agent", &agent),
        var("PRTE_MCA_prte_default_hostfile", &hostfile),
    ]);
    env
}

/// Brings the program that the script calls into the launcher's pod.
fn delivery(job: &ResolvedJob, settings: &Settings) -> Container {
    let amounts: BTreeMap<String, Quantity> = [("cpu", "100m"), ("memory", "64Mi")]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .into();
    Container {
        name: "kubectl-delivery".to_owned(),
        image: Some(settings.exec_helper.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(settings.exec_helper.command.clone()).filter(|command| !command.is_empty()),
        env: Some(vec![
            var("TARGET_DIR", KUBE),
            var("NAMESPACE", &*job.key.namespace),
        ]),
        volume_mounts: Some(vec![
            mount("mpi-job-kubectl", KUBE),
            mount("mpi-job-config", FOLDER),
        ]),
        resources: Some(ResourceRequirements {
            limits: Some(amounts.clone()),
            requests: Some(amounts),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            run_as_non_root: Some(true),
            run_as_user: Some(HELPER_USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// The script is mounted because Open MPI's daemon looks for it on every host.
fn worker(job: &ResolvedJob) -> Wiring {
    let container = job.role(WORKER).and_then(|r| r.training_container());
    let idle = container.is_some_and(|c| c.command.as_ref().is_none_or(Vec::is_empty));
    Wiring {
        command: idle.then(|| vec!["sleep".to_owned()]),
        args: idle.then(|| vec!["365d".to_owned()]),
        volumes: vec![lists(job, &[(KUBEXEC, 0o555)])],
        mounts: vec![mount("mpi-job-config", FOLDER)],
        ..Wiring::default()
    }
}
