//! The operator's own settings, as far as planning reads them.

use crate::gang::Gang;

/// The operator's own settings that change what pods and services look like, or what becomes of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// One Service per job, or one per replica as upstream.
    pub service_mode: ServiceMode,
    /// Init container of PyTorch and XGBoost workers that waits for the master's name; off by default.
    pub init_container: Option<InitContainer>,
    /// Domain of the cluster, such as `cluster.local`, to be appended to host names that end in `.svc`; off by default.
    pub cluster_domain: Option<String>,
    /// Image of the init container that brings the exec helper into launchers of `v1` MPIJobs.
    pub exec_helper: ExecHelper,
    /// Seconds after which a node that does not answer counts as lost, with the pods on it; `None` for never.
    pub node_lost_after: Option<i64>,
    /// Whether restarts of pods that were taken away count against backoffLimit, as those of failed ones do.
    pub count_disruptions: bool,
    /// Who places the pods of a job all together.
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

/// What brings the exec helper into launchers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecHelper {
    /// Image: the operator's own, or one that works as upstream's `kubectl-delivery`.
    pub image: String,
    /// Command of the container; the image's own if empty.
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

/// What the waiting init container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitContainer {
    /// Image with `sh` and `nslookup`.
    pub image: String,
    /// Number of look-ups, 2 seconds apart, before it gives up.
    pub max_tries: u32,
}
