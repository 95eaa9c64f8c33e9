//! MPIJob's own fields and its CRD. Both versions have the fields of both, so that nothing is lost when an object of one
//! is read and written through the other (upstream: mpi-operator 0.8 `pkg/apis/kubeflow/v2beta1/types.go`,
//! training-operator 1.9 `pkg/apis/kubeflow.org/v1/mpi_types.go`).

use common::Framework;
use common::api::{CleanPodPolicy, schema};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSON, JSONSchemaProps,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DIALECTS, KIND};

/// Name of [`Fields::launcher_transport`] in JSON.
pub const TRANSPORT: &str = "launcherTransport";

/// `spec` without the run policy and the replicas.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    /// Ranks per worker in the host file; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub slots_per_worker: Option<i32>,
    /// v2beta1: ranks run in the launcher's pod too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_launcher_as_worker: Option<bool>,
    /// v2beta1: folder into which the key pair is mounted; default /root/.ssh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub ssh_auth_mount_path: Option<String>,
    /// v2beta1: when the launcher is started: AtStartup (default) or WaitForWorkersReady.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher_creation_policy: Option<LauncherCreationPolicy>,
    /// v2beta1: whose mpirun it is: OpenMPI (default), Intel or MPICH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mpi_implementation: Option<MpiImplementation>,
    /// v1: the container of the workers in which ranks run; default the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_container: Option<String>,
    /// v1: what is used where runPolicy.cleanPodPolicy is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_pod_policy: Option<CleanPodPolicy>,
    /// How the launcher reaches the workers: SSH in objects created through v2beta1, Exec in those created through v1. Filled
    /// in by the API server. What counts is the value at the operator's first sight of the job (status.dialect).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher_transport: Option<LauncherTransport>,
}

/// When the launcher is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LauncherCreationPolicy {
    /// Together with the workers.
    #[default]
    AtStartup,
    /// When all workers are ready, after a suspension too.
    WaitForWorkersReady,
}

/// Whose `mpirun` the launcher has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MpiImplementation {
    /// Open MPI 4 or 5.
    #[default]
    #[serde(rename = "OpenMPI")]
    OpenMpi,
    /// Intel MPI.
    Intel,
    /// MPICH.
    #[serde(rename = "MPICH")]
    Mpich,
}

/// How the launcher reaches the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LauncherTransport {
    /// By ssh (v2beta1).
    #[serde(rename = "SSH")]
    Ssh,
    /// By exec through the API server (v1).
    Exec,
}

/// The CRD, with both versions.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let about = "An MPI job: one Launcher that runs mpirun, and Workers on which it starts the ranks.";
    let mut crd = schema::crd::<Fields>(&KIND, "mpij", about, &[]);
    let version = crd.spec.versions.pop();
    let of = |dialect: &&'static dyn Framework| Some(dialect_version(version.clone()?, *dialect));
    crd.spec.versions = DIALECTS.iter().filter_map(of).collect();
    crd
}

/// The version of a dialect: the same schema with another stamp.
fn dialect_version(
    mut version: CustomResourceDefinitionVersion,
    dialect: &'static dyn Framework,
) -> CustomResourceDefinitionVersion {
    let info = dialect.kind();
    info.version.clone_into(&mut version.name);
    version.storage = info.version == KIND.version;
    let root = version
        .schema
        .as_mut()
        .and_then(|s| s.open_api_v3_schema.as_mut());
    if let (Some(stamp), Some(field)) = (
        info.stamp,
        root.and_then(|root| property(property(root, "spec")?, TRANSPORT)),
    ) {
        field.default = Some(JSON(stamp.value.into()));
    }
    version
}

fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}
