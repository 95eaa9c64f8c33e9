//! Settings of the operator that decisions read.

use crate::gang::Gang;

/// Settings of the operator that change the content of pods and Services, or decisions about them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Shape of the headless Services.
    pub service_mode: ServiceMode,
    /// Init container of PyTorch and XGBoost workers that waits for the master's name; off by default.
    pub init_container: Option<InitContainer>,
    /// Domain of the cluster, such as `cluster.local`, that is appended to host names that end in `.svc`; off by
    /// default.
    pub cluster_domain: Option<String>,
    /// Init container that copies the exec helper into launchers of `v1` MPIJobs.
    pub exec_helper: ExecHelper,
    /// Seconds after which an unreachable node and its pods are presumed dead; `None` for never.
    pub node_lost_after: Option<i64>,
    /// True if restarts of pods that were removed count against backoffLimit, as those of failed pods do.
    pub count_disruptions: bool,
    /// Gang scheduler.
    pub gang: Gang,
}

/// Shape of the headless Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceMode {
    /// One Service for the job, and one for each replica that is reached by a short name.
    #[default]
    Job,
    /// One Service per replica, as upstream.
    PerReplica,
}

/// Init container that copies the exec helper into launchers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecHelper {
    /// Image: the operator's own, or one that behaves as upstream's `kubectl-delivery`.
    pub image: String,
    /// Command of the container; empty for the image's own.
    pub command: Vec<String>,
}

impl Default for ExecHelper {
    fn default() -> Self {
        Self {
            image: concat!("docker.io/trainyard/operator:", env!("CARGO_PKG_VERSION")).to_owned(),
            command: vec!["/trainyard-operator".to_owned(), "deliver".to_owned()],
        }
    }
}

/// Init container that waits for the master's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitContainer {
    /// Image with `sh` and `nslookup`.
    pub image: String,
    /// Maximum number of look-ups, 2 seconds apart.
    pub max_tries: u32,
}
