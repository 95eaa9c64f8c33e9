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
use common::framework::{ExtraKind, GangInfo, HostNames, Stamp, Workload, variable as var};
use common::names;
use common::resolve::{self, Problems};
use common::tally::{SlotState, Tally};
use common::{Cast, Framework, KindInfo, Outcome, ResolvedJob, Role, RoleInfo, SlotId};
use k8s_openapi::api::core::v1::EnvVar;

use crate::api::Fields;

/// Runs `mpirun`.
pub const LAUNCHER: Role = Role("Launcher");
/// Where the ranks run.
pub const WORKER: Role = Role("Worker");

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
        needs: Some(WORKER),
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
    long_names: true,
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
    group: "kubeflow.org",
    version: "v1",
    stamp: Some(Stamp {
        field: api::TRANSPORT,
        value: "Exec",
    }),
    plural: "mpijobs",
    controller: "mpijob-controller",
    managers: &[names::MANAGED_BY_US, names::MANAGED_BY_MPI_OPERATOR],
    framework: "mpi",
    replicas_field: "mpiReplicaSpecs",
    container: None,
    port: None,
    role_label: names::REPLICA_TYPE,
    host_names: HostNames::No,
    roles: &[
        launcher(Workload::Pod, RestartPolicy::Never),
        RoleInfo::pods(WORKER, RestartPolicy::Never),
    ],
    scaled_role: Some(WORKER),
    default_backoff_limit: None,
    // Workers do not end by themselves: nobody can wait for all of them.
    success_policies: &[SuccessPolicy::OfKind, SuccessPolicy::Leader],
    success: "when the launcher has, which is what Leader says too",
    long_names: false,
    active_succeeds: true,
    legacy_clean_pod_policy: true,
    makes: &[
        ExtraKind::ConfigMap,
        ExtraKind::ServiceAccount,
        ExtraKind::ExecRole,
    ],
    gang: GangInfo::COMMON,
};

/// What only this kind's spec has. A spec that [`check`] refuses reads as empty.
fn fields(job: &ResolvedJob) -> Fields {
    resolve::read(&job.fields, "spec", &mut Problems::default()).unwrap_or_default()
}

/// Reads the kind's own fields, or says what is wrong with them.
fn check(job: &ResolvedJob, problems: &mut Problems) -> Option<Fields> {
    let fields = resolve::read::<Fields>(&job.fields, "spec", problems)?;
    if fields.slots_per_worker.is_some_and(|slots| slots < 0) {
        problems.add("spec.slotsPerWorker", "must not be negative");
    }
    Some(fields)
}

/// The launcher's success is the job's. The job runs when the launcher does and all workers do.
fn outcome(tally: &Tally, job: &ResolvedJob) -> Outcome {
    let count = |role| job.replica(role).map_or(0, |r| r.count);
    let (runs, done) = (
        |role| tally.count(role, &SlotState::Running),
        |role| tally.count(role, &SlotState::Succeeded),
    );
    if done(LAUNCHER) > 0 {
        Outcome::Succeeded
    } else if runs(LAUNCHER) > 0 && runs(WORKER).saturating_add(done(WORKER)) >= count(WORKER) {
        Outcome::Running
    } else {
        Outcome::Waiting
    }
}

fn leader(cast: &Cast) -> Option<SlotId> {
    cast.of(LAUNCHER).next().map(|slot| slot.id)
}

/// Keeps GPUs of the node out of a launcher that asked for none (both upstreams do so).
fn no_gpus() -> [EnvVar; 2] {
    [
        var("NVIDIA_VISIBLE_DEVICES", ""),
        var("NVIDIA_DRIVER_CAPABILITIES", ""),
    ]
}
