//! MPIJob: one Launcher that runs `mpirun`, and Workers on which it starts the ranks.
//!
//! The kind has two meanings, which upstream are two kinds of one name that cannot live in one cluster:
//!
//! * `kubeflow.org/v2beta1` ([`ssh`], mpi-operator): the launcher is a batch Job; it reaches the workers by ssh with a key
//!   pair of the job's own, under host names below the job's headless Service.
//! * `kubeflow.org/v1` ([`exec`], training-operator): the launcher is a pod; it reaches the workers by exec through the API
//!   server, under the names of their pods, with the rights of a service account of the job's own.
//!
//! Both are versions of one CRD, without conversion. Which one an object was created through is recorded by the schema:
//! each version has another default for `spec.launcherTransport`.

pub mod api;
mod exec;
mod hosts;
mod ssh;

use common::api::{RestartPolicy, SuccessPolicy};
use common::kind::MessageStyle;
use common::kind::{ExtraKind, GangInfo, HostNames, Stamp, WORKER, Workload};
use common::problems::Problems;
use common::wiring::variable as var;
use common::{Framework, KindInfo, ResolvedJob, Role, RoleInfo, names};
use k8s_openapi::api::core::v1::EnvVar;

use crate::api::Fields;

/// Runs `mpirun`.
pub const LAUNCHER: Role = Role("Launcher");

/// The framework, for the operator's registry.
pub static FRAMEWORK: ssh::Ssh = ssh::Ssh;

/// Both meanings.
static DIALECTS: [&dyn Framework; 2] = [&ssh::Ssh, &exec::Exec];

/// The one launcher; `workload` is what carries it.
const fn launcher(workload: Workload, policy: RestartPolicy) -> RoleInfo {
    RoleInfo {
        role: LAUNCHER,
        max_replicas: Some(1),
        min_replicas: 1,
        default_restart_policy: policy,
        only: true,
        workload,
        depends_on: Some(WORKER),
    }
}

/// Facts of version `v2beta1` (mpi-operator 0.8, `pkg/apis/kubeflow/v2beta1`).
pub static KIND: KindInfo = KindInfo {
    version: "v2beta1",
    stamp: Some(Stamp {
        field: api::TRANSPORT,
        value: "SSH",
    }),
    controller: "mpi-operator",
    role_label: names::JOB_ROLE,
    host_names: HostNames::OfJob,
    roles: &[
        launcher(Workload::BatchJob, RestartPolicy::OnFailure),
        RoleInfo::pods(WORKER, RestartPolicy::Never),
    ],
    // What a batch Job allows that states none.
    default_backoff_limit: Some(6),
    message_style: MessageStyle::Qualified,
    active_succeeds: false,
    makes: &[ExtraKind::ConfigMap, ExtraKind::KeyPair, ExtraKind::BatchJob],
    // mpi-operator 0.8, pkg/controller/podgroup.go.
    gang: GangInfo {
        tells_role: false,
        queue_annotation: Some(names::VOLCANO_QUEUE),
        default_queue: None,
        class_of_template: true,
        default_timeout: Some(0),
    },
    ..V1
};

/// Facts of version `v1` (training-operator 1.9, `pkg/apis/kubeflow.org/v1/mpi_types.go`).
pub static KIND_V1: KindInfo = V1;

const V1: KindInfo = KindInfo {
    kind: "MPIJob",
    stamp: Some(Stamp {
        field: api::TRANSPORT,
        value: "Exec",
    }),
    plural: "mpijobs",
    controller: "mpijob-controller",
    managers: &[names::MANAGED_BY_US, names::MANAGED_BY_MPI_OPERATOR],
    framework: "mpi",
    replicas_field: "mpiReplicaSpecs",
    host_names: HostNames::No,
    roles: &[
        launcher(Workload::Pod, RestartPolicy::Never),
        RoleInfo::pods(WORKER, RestartPolicy::Never),
    ],
    decides: &[LAUNCHER],
    // Workers do not end by themselves: nobody can wait for all of them.
    success_policies: &[SuccessPolicy::OfKind, SuccessPolicy::Leader],
    success: "when the launcher has, which is what Leader says too",
    legacy_clean_pod_policy: true,
    makes: &[
        ExtraKind::ConfigMap,
        ExtraKind::ServiceAccount,
        ExtraKind::ExecRole,
    ],
    ..KindInfo::COMMON
};

/// What only this kind's spec has. A spec that [`check`] refuses reads as empty.
fn fields(job: &ResolvedJob) -> Fields {
    job.own()
}

/// Reads the kind's own fields, or says what is wrong with them.
fn check(job: &ResolvedJob, problems: &mut Problems) -> Option<Fields> {
    let fields = job.check_own::<Fields>(problems)?;
    if fields.slots_per_worker.is_some_and(|slots| slots < 0) {
        problems.add("spec.slotsPerWorker", "must not be negative");
    }
    Some(fields)
}

/// Keeps GPUs of the node out of a launcher that asked for none (both upstreams do so).
fn no_gpus() -> [EnvVar; 2] {
    [
        var("NVIDIA_VISIBLE_DEVICES", ""),
        var("NVIDIA_DRIVER_CAPABILITIES", ""),
    ]
}
