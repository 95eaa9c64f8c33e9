//! Lists of hosts, as launchers read them, and how they come into pods.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use common::replica_states::{ReplicaPhase, ReplicaState, ReplicaStates};
use common::{Replicas, ResolvedJob, Settings, names};

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, KeyToPath, Volume, VolumeMount};

use crate::api::{Fields, MpiImplementation};
use common::kind::WORKER;

use crate::LAUNCHER;

/// Folder of the lists and scripts in launchers (and, in `v1`, workers).
pub(crate) const FOLDER: &str = "/etc/mpi";
/// All hosts, whether or not they run.
pub(crate) const HOSTFILE: &str = "hostfile";
/// A script that names the hosts that run: for elastic Horovod.
pub(crate) const DISCOVER: &str = "discover_hosts.sh";

/// Ranks per host.
pub(crate) fn slots(fields: &Fields) -> i32 {
    fields.slots_per_worker.unwrap_or(1)
}

/// Domain of the hosts of a job: `<job>.<namespace>.svc`, and the cluster's domain if the operator was told of it.
pub(crate) fn domain(job: &ResolvedJob, settings: &Settings) -> String {
    let mut domain = format!("{}.{}.svc", job.key.name, job.key.namespace);
    if let Some(cluster) = &settings.cluster_domain {
        let _ = write!(domain, ".{cluster}");
    }
    domain
}

/// `hostfile` in the dialect of an implementation: all workers, the launcher first if it runs ranks.
pub(crate) fn hostfile(
    replicas: &Replicas,
    with_launcher: bool,
    slots: i32,
    implementation: MpiImplementation,
    name: impl Fn(&str) -> String,
) -> String {
    let separator = match implementation {
        MpiImplementation::OpenMpi => " slots=",
        MpiImplementation::Intel | MpiImplementation::Mpich => ":",
    };
    let launcher = replicas.of(LAUNCHER).filter(move |_| with_launcher);
    let hosts = launcher.chain(replicas.of(WORKER));
    hosts
        .map(|replica| format!("{}{separator}{slots}\n", name(&replica.name)))
        .collect::<Vec<_>>()
        .concat()
}

/// Hosts that run now, by index (upstream sorts them as texts); a launcher that runs ranks is always among them, since
/// it is the one who asks.
pub(crate) fn running(states: &ReplicaStates, with_launcher: bool) -> Vec<&str> {
    let is_host = |replica: &&ReplicaState| match replica.role() {
        LAUNCHER => with_launcher,
        _ => replica.phase == ReplicaPhase::Running,
    };
    states
        .replicas
        .iter()
        .filter(is_host)
        .map(ReplicaState::name)
        .collect()
}

/// Label of objects that serve the whole job.
pub(crate) fn app(job: &ResolvedJob) -> BTreeMap<String, String> {
    BTreeMap::from([(names::APP.to_owned(), job.key.name.to_string())])
}

/// Mount of a volume.
pub(crate) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

/// Volume with files of the job's ConfigMap, each with its mode.
pub(crate) fn lists(job: &ResolvedJob, files: &[(&str, i32)]) -> Volume {
    let item = |(name, mode): &(&str, i32)| KeyToPath {
        key: (*name).to_owned(),
        path: (*name).to_owned(),
        mode: Some(*mode),
    };
    Volume {
        name: "mpi-job-config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::config_map(&job.key.name),
            items: Some(files.iter().map(item).collect()),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}
